"""Thresholds chosen from labelled pictures, with a promise; probabilities from scores."""
