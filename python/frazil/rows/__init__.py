"""Streams of single Python objects: made by `Stream.rows`."""
