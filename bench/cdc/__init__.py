"""Change data capture: a log of Debezium's events into a table that has one row for each key."""
