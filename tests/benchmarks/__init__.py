"""Benchmarks: each prints a ratio of two figures measured interleaved in one run."""
