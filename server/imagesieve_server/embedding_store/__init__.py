"""Embeddings kept for judging again: Parquet files by model, tenant and day.

Needs pyarrow (the extra ``embeddings``), which is imported only where a store is opened.
"""
