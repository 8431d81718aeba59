"""Real services for the tests: Kafka, S3, an Iceberg REST catalog, databases, independent readers.

Everything is fetched once from public package registries into the user's cache (the databases are
Debian packages), runs on 127.0.0.1 only, and is ended by its process handle. Nothing here is part
of the frazil package.
"""
