"""Messages of ``imagesieve.v1`` to core values and back. Pure; no calls, no I/O."""
