"""Benchmarks: Frazil beside other systems on the same data. See bench/README.md."""
