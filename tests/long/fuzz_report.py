"""What a fuzz run counts, what of it is a violation, and the table that it prints."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

NEVER = ("INTERNAL", "UNKNOWN", "UNDECIDED", "no status")
"""Begins of outcomes that no image may have: faults, and answers that are none."""

GROWTH_LIMIT_MIB = 200  # of the server's memory over a run
FD_LIMIT = 8  # more open files than before: connections come and go, leaks add up
_DEATHS = "imagesieve_decode_worker_deaths_total"
_HANDLED = "grpc_server_handled_total"


@dataclass(slots=True, kw_only=True)
class Report:
    """The counts of one run. Times are in seconds, memory in MiB."""

    n: int
    seed: int
    first: int
    begun: float = field(default_factory=time.monotonic)
    seconds: float = 0.0
    outcomes: Counter[str] = field(default_factory=Counter)
    slowest: dict[str, tuple[float, str]] = field(default_factory=dict)
    good_s: list[float] = field(default_factory=list)
    good_wrong: Counter[str] = field(default_factory=Counter)
    respawn_s: list[float] = field(default_factory=list)
    deaths: dict[str, float] = field(default_factory=dict)
    codes: dict[str, float] = field(default_factory=dict)
    memory: list[float] = field(default_factory=list)
    files: list[int] = field(default_factory=list)
    exit_code: int = 0

    def answered(self, kind: str, outcome: str, seconds: float) -> bool:
        """Count one answer. Returns True for one that no image may have, or that cost a worker."""
        self.outcomes[outcome] += 1
        self.slowest[kind] = max(self.slowest.get(kind, (0.0, "")), (seconds, outcome))
        worker_lost = outcome.endswith(("WORKER_KILLED", "TIMED_OUT"))
        return outcome.startswith(NEVER) or worker_lost

    def good(self, right: bool, verdict: str, seconds: float) -> None:
        """Count the answer to a good image."""
        self.good_s.append(seconds)
        if not right:
            self.good_wrong[verdict] += 1

    def at_start(self, pid: int) -> None:
        """Note what the server holds before the run."""
        self._note(pid)

    def at_end(self, pid: int, metrics: dict[str, float]) -> None:
        """Note what the server holds and has counted after it."""
        self.seconds = time.monotonic() - self.begun
        self._note(pid)
        self.deaths = _by_label(metrics, _DEATHS, "reason")
        self.codes = _by_label(metrics, _HANDLED, "grpc_code")

    def _note(self, pid: int) -> None:
        status = Path(f"/proc/{pid}/status").read_text()
        self.memory.append(int(status.partition("VmRSS:")[2].split()[0]) / 1024)
        self.files.append(len(list(Path(f"/proc/{pid}/fd").iterdir())))

    def violations(self) -> list[str]:
        """What must not be, in words; empty for a good run."""
        found = [
            f"{n} answers {name}" for name, n in self.outcomes.items() if name.startswith(NEVER)
        ]
        found += [
            f"{n:.0f} calls {c}" for c, n in self.codes.items() if c in ("INTERNAL", "UNKNOWN")
        ]
        found += [
            f"a good image was answered {name}, {n} times" for name, n in self.good_wrong.items()
        ]
        if sum(self.outcomes.values()) != self.n:
            found.append(f"{self.n} images, {sum(self.outcomes.values())} answers")
        if not self.good_s:
            found.append("no good image was sent")
        if self.exit_code:
            found.append(f"the server ended with {self.exit_code}")
        if self.memory[-1] - self.memory[0] > GROWTH_LIMIT_MIB:
            found.append("the server's memory grew")
        if self.files[-1] - self.files[0] > FD_LIMIT:
            found.append("the server left files open")
        return found

    def figures(self) -> dict[str, object]:
        """Everything, for a machine."""
        names = ("n", "seed", "first", "seconds", "outcomes", "slowest", "good_s", "good_wrong",
                 "respawn_s", "deaths", "codes", "memory", "files", "exit_code")  # fmt: skip
        return {name: getattr(self, name) for name in names} | {"violations": self.violations()}

    def table(self) -> str:
        """Everything, for a person."""
        slow = sorted(self.slowest.items(), key=lambda row: -row[1][0])
        lines = [
            f"fuzz: N={self.n} seed={self.seed} first={self.first} {self.seconds:.0f} s, "
            f"{self.n / max(self.seconds, 1e-9):.0f} images/s",
            "answers",
            *(f"  {count:7} {name}" for name, count in self.outcomes.most_common()),
            "slowest answer by kind, s",
            *(f"  {seconds:7.2f} {kind}: {outcome}" for kind, (seconds, outcome) in slow),
            f"good images: {len(self.good_s)}, slowest {max(self.good_s, default=0):.2f} s, "
            f"wrong {sum(self.good_wrong.values())}",
            f"workers killed from outside: {len(self.respawn_s)}, all there again after at most "
            f"{max(self.respawn_s, default=0):.2f} s",
            f"worker deaths: {_words(self.deaths)}",
            f"calls by status: {_words(self.codes)}",
            f"server: memory {self.memory[0]:.0f} to {self.memory[-1]:.0f} MiB, open files "
            f"{self.files[0]} to {self.files[-1]}, exit code {self.exit_code}",
            *(f"VIOLATION: {what}" for what in self.violations()),
        ]
        return "\n".join(lines)


def _by_label(metrics: dict[str, float], series: str, label: str) -> dict[str, float]:
    """A counter's samples summed by one label."""
    total: Counter[str] = Counter()
    for name, value in metrics.items():
        if name.startswith(series + "{"):
            total[name.partition(f'{label}="')[2].partition('"')[0]] += int(value)
    return dict(total)


def _words(counts: dict[str, float]) -> str:
    return ", ".join(f"{name} {count:.0f}" for name, count in sorted(counts.items())) or "none"
