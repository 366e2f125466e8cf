"""A server of several processes: front ends that share a port, and one encoder process.

``supervisor`` keeps them running, ``child`` is what each of them runs.
"""
