"""What goes into a policy's YAML, and where, with every other character left alone."""
