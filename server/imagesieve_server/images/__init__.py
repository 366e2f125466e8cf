"""Bytes to views: sniffing, limits, decoding, preprocessing, and the worker processes."""
