"""Steps, saved states, going on after an interruption, the log.

A run that was interrupted goes on from its last saved state. A learner whose step depends on its
state and the step's number alone (no hidden random state) then ends at the very weights of an
uninterrupted run. Knows neither data nor models.
"""

from __future__ import annotations

import ctypes
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from imagesieve_server.extras import need

STATE = "state.pt"
"""Below a run's folder: the learner's state and how many steps are done."""

LOG = "train.json"
_REPORT_EVERY = 50  # steps
_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD = -3, -1  # glibc's malloc.h


class Learner(Protocol):
    """What is trained."""

    def step(self, number: int, rate: float) -> float:
        """Learn from the batch of step ``number`` at this learning rate; the batch's loss."""

    def state(self) -> dict[str, Any]:
        """Everything the next step depends on, as torch.save can write it."""

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take up what ``state`` gave."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """How far, and how often to save."""

    out: Path  # folder of the state; exists
    steps: int
    pictures: int  # a step, for the rate in the log
    save_every: int = 200  # steps
    stop_after: int | None = None  # steps; the schedule stays that of ``steps``
    resume: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What a run did after it began or went on."""

    losses: Sequence[float]  # of each step
    seconds: float
    pictures: int  # a step

    def as_json(self) -> dict[str, Any]:
        """Seconds, pictures a second, mean loss of the last steps (None where there were none)."""
        last = self.losses[-_REPORT_EVERY:]
        return {
            "seconds": round(self.seconds, 1),
            "images_per_second": round(len(self.losses) * self.pictures / self.seconds, 1),
            "final_loss": round(float(np.mean(last)), 4) if last else None,
        }


def train(
    learner: Learner,
    run: Run,
    *,
    rate: Callable[[int], float],
    report: Callable[[str], None],
    saved: Callable[[], None] = lambda: None,
) -> Done:
    """Train to the end of ``run``.

    ``rate`` gives the learning rate of a step; ``saved`` is called whenever a state was saved.
    """
    first = _restore(learner, run)
    last = run.steps if run.stop_after is None else run.stop_after
    began, losses = time.monotonic(), list[float]()
    for step in range(first, last):
        losses.append(learner.step(step, rate(step)))
        done = step + 1
        if done % _REPORT_EVERY == 0:
            speed = (done - first) * run.pictures / (time.monotonic() - began)
            loss = np.mean(losses[-_REPORT_EVERY:])
            report(f"step {done} loss {loss:.3f} {speed:.0f} images/s")
        if done % run.save_every == 0 or done == last:
            _save(learner, run, done)
            saved()
    return Done(losses=losses, seconds=time.monotonic() - began, pictures=run.pictures)


def descend(
    loss: Any,
    optimizer: Any,
    parameters: Any,
    *,
    rate: float,
    shared: Callable[[], None] = lambda: None,
) -> float:
    """One step of the optimizer, the gradient's norm clipped at 1; the loss.

    ``shared`` is called when the gradients are there, to average them with other processes'.
    """
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.zero_grad()
    loss.backward()
    shared()
    need("torch").nn.utils.clip_grad_norm_(parameters, 1.0)
    optimizer.step()
    return float(loss.detach())


def write_log(out: Path, facts: Mapping[str, Any], done: Done) -> None:
    """Write ``train.json``: what was trained, and how it went."""
    (out / LOG).write_text(json.dumps({**facts, **done.as_json()}, indent=2) + "\n")


def keep_freed_memory() -> None:
    """Let glibc reuse large blocks: mapping them anew at every step took half the time."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, 1 << 30)
        mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1)


def _save(learner: Learner, run: Run, step: int) -> None:
    """A kill in the middle leaves the last state whole."""
    part = run.out / f"{STATE}.part"
    need("torch").save({**learner.state(), "step": step}, part)
    part.replace(run.out / STATE)


def _restore(learner: Learner, run: Run) -> int:
    """The number of steps already done."""
    path = run.out / STATE
    if not run.resume or not path.is_file():
        return 0
    state = need("torch").load(path, weights_only=True)
    learner.load_state(state)
    return int(state["step"])
