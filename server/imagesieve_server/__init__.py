"""The imagesieve server: everything between an uploaded image and a verdict that is kept.

Importing this package has no side effects: no logging set-up, no metrics, no network.
"""
