"""Generated from proto/imagesieve/v1; do not edit (``make proto`` writes it)."""
