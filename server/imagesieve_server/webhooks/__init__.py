"""Tells other services of decisions by signed webhooks.

``endpoints`` reads who is told, ``sender`` makes one attempt, ``courier`` delivers to one endpoint
in order per item, ``post_office`` has a courier for each endpoint in force. What was told and what
is tried again is the store's (``review_queue/webhook_delivery.py``).
"""
