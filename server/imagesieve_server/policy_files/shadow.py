"""Shadow policies: a folder of artefacts, each beside the live policy of the same name.

A shadow never answers, so nothing about one is an error of the server: what does not fit is
counted, said in the log, and left out. A bad file leaves the shadow that it held before.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from imagesieve_server.core.errors import PolicyError
from imagesieve_server.core.policy import Policy
from imagesieve_server.core.ports import EncoderSpec, PolicySource
from imagesieve_server.policy_files.reload import Stamps, read_for, scan

log = logging.getLogger(__name__)


class ShadowMetrics(Protocol):
    """What is counted here; ``metrics/recorder.py`` has the series."""

    def shadow_reload(self, *, ok: bool) -> None: ...

    def shadows(self, shadows: Sequence[Policy]) -> None: ...


class ShadowFolder:
    """The shadows of the policies in force."""

    def __init__(
        self, *, folder: Path, live: PolicySource, spec: EncoderSpec, metrics: ShadowMetrics
    ) -> None:
        """Reads nothing yet; ``reload`` does."""
        self._folder = folder
        self._live = live
        self._spec = spec
        self._metrics = metrics
        self._in_force: Mapping[str, Policy] = {}
        self._by_file: dict[Path, Policy] = {}
        self._seen: tuple[Stamps, Mapping[str, str]] = ({}, {})

    def of(self, name: str) -> Policy | None:
        """The shadow of the live policy of that name."""
        return self._in_force.get(name)

    def reload(self) -> tuple[str, ...]:
        """Read the folder again; one line for each artefact that was left out. Never raises."""
        self._seen = self._look()
        problems = [] if self._folder.is_dir() else [f"{self._folder}: there is no such folder"]
        by_file: dict[Path, Policy] = {}
        found: dict[str, Policy] = {}
        for path in sorted(self._seen[0]):
            try:
                by_file[path] = read_for(path, self._spec)
            except PolicyError as error:
                problems.append(str(error))
                if path in self._by_file:
                    by_file[path] = self._by_file[path]
            if path in by_file:
                policy = by_file[path]
                if problem := self._why_not(policy, found):
                    problems.append(f"{path}: {problem}")
                else:
                    found[policy.name] = policy
        self._by_file, self._in_force = by_file, found
        for problem in problems:
            log.error("shadow policy left out", extra={"problem": problem})
        self._metrics.shadow_reload(ok=not problems)
        self._metrics.shadows([found[name] for name in sorted(found)])
        return tuple(problems)

    async def watch(self, *, every_s: float) -> None:
        """Reload whenever a file changed, or a live policy. Runs until cancelled."""
        while True:
            await asyncio.sleep(every_s)
            if await asyncio.to_thread(self._look) != self._seen:
                await asyncio.to_thread(self.reload)
                log.info("shadow policies reloaded", extra={"shadows": len(self._in_force)})

    def _look(self) -> tuple[Stamps, Mapping[str, str]]:
        return scan(self._folder), {policy.name: policy.version for policy in self._live.all()}

    def _why_not(self, shadow: Policy, found: Mapping[str, Policy]) -> str:
        """Why this cannot be a shadow; "" where it can."""
        live = {policy.name: policy for policy in self._live.all()}.get(shadow.name)
        if live is None:
            return f"no policy {shadow.name!r} is in force that it could be a shadow of"
        if shadow.name in found:
            return f"policy {shadow.name!r} has two shadows"
        ours, theirs = (f"{p.coverage.value}, max_views {p.max_views}" for p in (shadow, live))
        if ours != theirs:
            return (
                f"shadow {shadow.name!r} looks at other views ({ours}) than the policy in force "
                f"({theirs}), whose embeddings it would be scored on"
            )
        return ""
