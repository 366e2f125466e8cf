"""From a caught exception to what its caller is told; logs the ones nobody named.

The table itself is ``status_codes.py``'s.
"""

from __future__ import annotations

import logging
import secrets

from imagesieve_server.grpc_api.status_codes import Failure, failure_of, is_named

log = logging.getLogger(__name__)


def describe(error: Exception, *, request_id: str) -> Failure:
    """The failure of one call or item.

    An exception without a row in the table is a defect of the server: it is logged with its
    traceback under a fresh incident number, and the caller learns that number only.
    """
    if is_named(error):
        return failure_of(error)
    incident = secrets.token_hex(8)
    log.error(
        "unexpected error", exc_info=error, extra={"incident": incident, "request_id": request_id}
    )
    return failure_of(error, incident=incident)
