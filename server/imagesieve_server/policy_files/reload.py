"""The policies in force: a folder of artefacts, read at start and again whenever it changes.

A bad artefact leaves the old policy in force and is counted. The swap is one assignment, so
a request sees either the old set or the new one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from imagesieve_server.core.errors import PolicyError, UnknownPolicy
from imagesieve_server.core.policy import Policy
from imagesieve_server.core.ports import EncoderSpec, Metrics
from imagesieve_server.policy_files import compiled

log = logging.getLogger(__name__)

Stamps = dict[Path, tuple[int, int, int]]
"""Time of change, size and inode of each artefact."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReloadResult:
    """What is in force after a reload, and one line per artefact that was refused."""

    policies: tuple[Policy, ...]
    problems: tuple[str, ...]


class PolicyFolder:
    """Implements the PolicySource port over ``*.policy.npz`` files of one folder."""

    def __init__(self, *, folder: Path, default: str, spec: EncoderSpec, metrics: Metrics) -> None:
        """``default`` names the policy of requests that name none; "" where there is only one.

        Reads nothing yet; ``load`` does.
        """
        self._folder = folder
        self._default = default
        self._spec = spec
        self._metrics = metrics
        self._in_force: Mapping[str, Policy] = {}
        self._by_file: dict[Path, str] = {}
        self._stamps: Stamps = {}

    def load(self) -> None:
        """First load: any problem is an error. Raises PolicyError."""
        result = self.reload()
        if result.problems:
            raise PolicyError("; ".join(result.problems))
        if not result.policies:
            raise PolicyError(
                f"no {compiled.SUFFIX} file here; make one with `imagesieve-server policy compile`",
                file=str(self._folder),
            )
        if not self._default and len(result.policies) > 1:
            names = ", ".join(policy.name for policy in result.policies)
            raise PolicyError(f"several policies ({names}) and no default named in the settings")
        if self._default and self._default not in self._in_force:
            raise PolicyError(f"the default policy {self._default!r} is not in the folder")
        self._default = self._default or result.policies[0].name

    @property
    def default(self) -> str:
        """The name of the policy of requests that name none."""
        return self._default

    def get(self, name: str) -> Policy:
        policy = self._in_force.get(name or self._default)
        if policy is None:
            raise UnknownPolicy(f"no policy named {name!r} is loaded", metadata={"policy": name})
        return policy

    def all(self) -> Sequence[Policy]:
        return tuple(self._in_force[name] for name in sorted(self._in_force))

    def reload(self) -> ReloadResult:
        """Read the folder again. Never raises for a bad artefact; it stays as it was."""
        self._stamps = scan(self._folder)
        found: dict[str, Policy] = {}
        by_file: dict[Path, str] = {}
        problems: list[str] = []
        for path in sorted(self._stamps):
            try:
                policy = read_for(path, self._spec)
                if policy.name in found:
                    raise PolicyError(f"policy {policy.name!r} stands in two files", file=str(path))
            except PolicyError as error:
                problems.append(str(error))
                old = self._by_file.get(path, "")
                if old in self._in_force and old not in found:
                    found[old] = self._in_force[old]
                    by_file[path] = old
                continue
            found[policy.name] = policy
            by_file[path] = policy.name
        if self._default in self._in_force and self._default not in found:
            problems.append(f"the default policy {self._default!r} is gone; it stays in force")
            found[self._default] = self._in_force[self._default]
        self._in_force, self._by_file = found, by_file
        for problem in problems:
            log.error("policy refused", extra={"problem": problem})
        self._metrics.policy_reload(ok=not problems)
        self._metrics.policies(self.all())
        return ReloadResult(policies=tuple(self.all()), problems=tuple(problems))

    async def watch(self, *, every_s: float) -> None:
        """Reload whenever a file of the folder appeared, went or changed. Runs until cancelled."""
        while True:
            await asyncio.sleep(every_s)
            if await asyncio.to_thread(scan, self._folder) != self._stamps:
                result = self.reload()
                log.info("policies reloaded", extra={"in_force": len(result.policies)})


def scan(folder: Path) -> Stamps:
    """What tells whether an artefact of the folder changed; a folder that cannot be read is
    logged."""
    stamps: Stamps = {}
    try:
        for path in folder.glob(f"*{compiled.SUFFIX}"):
            if not path.name.startswith("."):
                about = path.stat()
                stamps[path] = (about.st_mtime_ns, about.st_size, about.st_ino)
    except OSError as error:
        log.error("policy folder unreadable", extra={"problem": error.strerror})
    return stamps


def read_for(path: Path, spec: EncoderSpec) -> Policy:
    """Read one artefact, which must be of this model. Raises PolicyError."""
    result = compiled.read(path)
    policy = result.policy
    if policy.model_fingerprint != spec.fingerprint:
        raise PolicyError(
            f"policy {policy.name!r} was compiled for model "
            f"{policy.model_fingerprint[:12]}, but this server runs "
            f"{spec.fingerprint[:12]} ({spec.name}); compile it again",
            file=str(path),
        )
    for warning in result.warnings:
        log.warning("policy warning", extra={"policy": policy.name, "problem": warning})
    return policy
