"""Logging as one JSON object a line, or as text. Called once, by a command; importing does nothing.

Only named extra fields are written, so image bytes cannot slip into a log by accident.
"""

from __future__ import annotations

import functools
import json
import logging
import sys
import time
from collections.abc import Iterator
from typing import Any, TextIO

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_MAX_TEXT = 2000
_ENCODER = json.JSONEncoder(ensure_ascii=False)


class TextFormatter(logging.Formatter):
    """Level, logger, message, the record's extra fields as key=value, an exception's text below."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # the library's name
        extra = "".join(f" {key}={value!r}" for key, value in _extra_fields(record))
        return f"{record.levelname} {record.name}: {record.message}{extra}"


class JsonFormatter(logging.Formatter):
    """time, level, logger, message, the record's extra fields, and an exception's text."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, Any] = {
            "time": f"{_second(int(record.created))}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        entry.update(_extra_fields(record))
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return _ENCODER.encode(entry)


def _extra_fields(record: logging.LogRecord) -> Iterator[tuple[str, Any]]:
    return ((k, _bounded(v)) for k, v in vars(record).items() if k not in _STANDARD)


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
        handler.setFormatter(TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.getLogger("alembic").setLevel("WARNING")  # says only that it looked


def _name_part(record: logging.LogRecord, process: str) -> bool:
    record.part = getattr(record, "part", process)
    return True
