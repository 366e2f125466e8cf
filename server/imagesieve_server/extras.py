"""Imports of what only an extra installs, or a MissingExtra that names what to install.

Imported late, so that a server needs nothing that it does not use.
"""

from __future__ import annotations

import importlib
from typing import Any

from imagesieve_server.core.errors import MissingExtra

_EXTRAS = {
    "sklearn": "evaluate",
    "scipy": "evaluate",
    "pyarrow": "embeddings",
    "psycopg": "postgres",
    "obstore": "s3",
    "openvino": "openvino",
}
"""The extra of each package that is not in ``export``."""


def need(module: str) -> Any:
    """Import a module of an extra. Raises MissingExtra."""
    try:
        return importlib.import_module(module)
    except ImportError as problem:
        package = module.partition(".")[0]
        extra = _EXTRAS.get(package, "export")
        raise MissingExtra(f"this needs {package}: pip install 'imagesieve[{extra}]'") from problem
