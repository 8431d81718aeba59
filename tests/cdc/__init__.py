"""Tables of real databases through Debezium into Iceberg: equal at the end."""
