"""Logging as one JSON object a line. Called once, by a command; importing does nothing.

Only named extra fields are written, so image bytes cannot slip into a log by accident.
"""

from __future__ import annotations

import functools
import json
import logging
import sys
import time
from typing import Any, TextIO

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_MAX_TEXT = 2000
_ENCODER = json.JSONEncoder(ensure_ascii=False)


class JsonFormatter(logging.Formatter):
    """time, level, logger, message, the record's extra fields, and an exception's text."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, Any] = {
            "time": f"{_second(int(record.created))}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        for key, value in vars(record).items():
            if key not in _STANDARD:
                entry[key] = _bounded(value)
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return _ENCODER.encode(entry)


@functools.lru_cache(maxsize=4)  # many lines are of one second
def _second(at: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at))


def _bounded(value: Any) -> Any:
    if type(value) is str:  # nearly all are
        return value[:_MAX_TEXT]
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, bytes | bytearray | memoryview):
        return f"<{len(value)} bytes>"
    return str(value)[:_MAX_TEXT]


def set_up(*, level: str, style: str, stream: TextIO = sys.stderr, process: str = "") -> None:
    """Send the root logger to ``stream``; ``style`` is "json" or "text". ``process`` names one of
    several that share a log, in the field ``part`` where a record has none."""
    handler = logging.StreamHandler(stream)
    if process:
        handler.addFilter(lambda record: _name_part(record, process))
    if style == "json":
        handler.setFormatter(JsonFormatter())
    else:
        handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.getLogger("alembic").setLevel("WARNING")  # says only that it looked


def _name_part(record: logging.LogRecord, process: str) -> bool:
    record.part = getattr(record, "part", process)
    return True
