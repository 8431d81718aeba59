"""Iceberg tables: catalogs, tables, and committing to them exactly once.

Nothing is imported here: PyIceberg costs 30 MB, and most uses of frazil do not need all of it.
"""
