"""What a failed connection most likely means, for people. Nothing decides by it.

gRPC tells why a connection failed in its own words only, and those change; where none is
known, nothing is added.
"""

from __future__ import annotations

_HINTS = (
    (
        "certificate has expired",
        "the server's certificate is over",
    ),
    (
        "CERTIFICATE_VERIFY_FAILED",
        "the server's certificate was not signed by an authority that is trusted here; "
        "give the right one as ca_file",
    ),
    (
        "Hostname Verification Check failed",
        "the server's certificate is for another name than the one called",
    ),
    (
        "WRONG_VERSION_NUMBER",
        "the server speaks without TLS",
    ),
    (
        "Socket closed",
        "if the server speaks TLS, use it; if it asks for a client certificate, show one "
        "that it accepts and that is not over (cert_file and key_file)",
    ),
)


def with_hint(message: str) -> str:
    """The message of a failed connection, and what to look at first."""
    for words, hint in _HINTS:
        if words in message:
            return f"{hint} ({message})"
    return message
