"""The one training loop: losses by hand, and a run that was interrupted."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from imagesieve_server.offline.training import loop
from imagesieve_server.offline.training.schedule import learning_rate

pytestmark = pytest.mark.torch


def test_the_loss_shares_the_target_among_true_captions() -> None:
    import torch

    from imagesieve_server.offline.training.losses import contrastive_loss

    matches = torch.tensor([[True, True, False], [True, True, False], [False, False, True]])
    perfect = torch.where(matches, 50.0, -50.0)
    # Two true captions leave one bit in two of three rows and columns.
    assert float(contrastive_loss(perfect, matches)) == pytest.approx(math.log(2) * 2 / 3)
    assert float(contrastive_loss(-perfect, matches)) > 50


def test_the_sigmoid_loss_is_open_clips_where_each_picture_has_one_caption() -> None:
    import torch
    from open_clip.loss import SigLipLoss

    from imagesieve_server.offline.training.losses import sigmoid_loss

    torch.manual_seed(3)
    pictures, texts = (torch.nn.functional.normalize(torch.randn(6, 4), dim=1) for _ in range(2))
    scale, bias = torch.tensor(10.0), torch.tensor(-5.0)
    expected = SigLipLoss()(pictures, texts, scale, bias)
    logits = scale * pictures @ texts.T + bias
    assert float(sigmoid_loss(logits, torch.eye(6).bool())) == pytest.approx(float(expected))
    assert float(sigmoid_loss(logits, torch.ones(6, 6).bool())) != pytest.approx(float(expected))


def test_the_rate_climbs_then_falls_to_zero() -> None:
    rates = [learning_rate(step, peak=1.0, warm_up=4, steps=20) for step in range(21)]
    assert rates[:4] == [0.25, 0.5, 0.75, 1.0]
    assert rates[3:] == sorted(rates[3:], reverse=True)
    assert rates[20] == pytest.approx(0.0)


class _Line:
    """Learns the slope 3 from points that depend on the step's number."""

    def __init__(self) -> None:
        import torch

        self.slope = torch.nn.Parameter(torch.zeros(1))
        self.optimizer = torch.optim.Adam([self.slope])

    def step(self, number: int, rate: float) -> float:
        x = 1.0 + number % 5
        loss = ((self.slope - 3.0) * x).square().sum()
        return loop.descend(loss, self.optimizer, [self.slope], rate=rate)

    def state(self) -> dict[str, Any]:
        return {"slope": self.slope.detach().clone(), "optimizer": self.optimizer.state_dict()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.slope.data.copy_(state["slope"])
        self.optimizer.load_state_dict(state["optimizer"])


def _train(out: Path, **limits: Any) -> tuple[_Line, loop.Done]:
    out.mkdir(exist_ok=True)
    learner = _Line()
    run = loop.Run(out=out, steps=60, pictures=1, save_every=20, **limits)
    return learner, loop.train(learner, run, rate=lambda _: 0.2, report=lambda _: None)


def test_a_run_saves_as_often_as_it_is_told(tmp_path: Path) -> None:
    saves = list[int]()
    run = loop.Run(out=tmp_path, steps=50, pictures=1, save_every=20)
    loop.train(
        _Line(), run, rate=lambda _: 0.1, report=lambda _: None, saved=lambda: saves.append(1)
    )
    assert len(saves) == 3  # after 20, 40 and the last


def test_an_interrupted_run_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    whole, done = _train(tmp_path / "whole")
    assert float(whole.slope.detach()) == pytest.approx(3.0, abs=0.1)
    assert len(done.losses) == 60
    _train(tmp_path / "cut", stop_after=27)
    resumed, rest = _train(tmp_path / "cut", resume=True)
    assert len(rest.losses) == 33
    assert float(resumed.slope.detach()) == float(whole.slope.detach())


def test_without_resume_a_run_begins_anew(tmp_path: Path) -> None:
    _train(tmp_path, stop_after=10)
    assert len(_train(tmp_path)[1].losses) == 60


def test_the_log_of_a_run_that_had_nothing_to_do(tmp_path: Path) -> None:
    _train(tmp_path)
    _, nothing = _train(tmp_path, resume=True)
    loop.write_log(tmp_path, {"seed": 1}, nothing)
    log = json.loads((tmp_path / loop.LOG).read_text())
    assert (log["seed"], log["final_loss"]) == (1, None)
