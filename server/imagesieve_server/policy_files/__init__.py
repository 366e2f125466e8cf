"""Policies on disk: the YAML that people write, the artefact that servers load, and reloading."""
