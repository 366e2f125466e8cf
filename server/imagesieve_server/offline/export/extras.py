"""The export's heavy imports, or a MissingExtra that names what to install."""

from __future__ import annotations

import importlib
from typing import Any

from imagesieve_server.core.errors import MissingExtra


def need(module: str) -> Any:
    """Import a module of the ``export`` extra. Raises MissingExtra."""
    try:
        return importlib.import_module(module)
    except ImportError as problem:
        raise MissingExtra(
            f"this command needs {module.partition('.')[0]}: pip install 'imagesieve[export]'"
        ) from problem
