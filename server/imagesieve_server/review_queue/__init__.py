"""The durable review queue: rules over rows, two stores, evidence, and the writer thread.

Knows the tables and the files. Does not know images, policies, gRPC or settings: what it
needs is injected, and what it keeps are the values of ``core/review.py``.
"""
