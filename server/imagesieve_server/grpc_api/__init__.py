"""The gRPC edge: the only package that speaks ``imagesieve.v1``.

Below it everything is core values; above it is ``assembly``, which builds it.
"""
