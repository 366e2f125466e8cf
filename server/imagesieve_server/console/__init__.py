"""The reviewers' web pages: sign-in, the claim-review-next loop, pictures that are safe to show.

Beside ``grpc_api``: another edge over the same core ports. It never reads the queue's tables,
never shows an uploaded file itself, and loads nothing from elsewhere.
"""
