"""The demo of `make demo`: a stream of events into a table, killed on the way, and nothing lost."""
