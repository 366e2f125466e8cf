"""Train the demo model: one command, from the npm packages to a checkpoint folder.

Knows the batch, the loss and the schedule. Interrupted, it goes on from its last state with the
very batches it would have seen; on one machine with one number of threads, one seed is one model.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from imagesieve_server.extras import need
from imagesieve_server.offline.demo_model import architecture, emoji_art, vocabulary
from imagesieve_server.offline.demo_model.batches import Batch, BatchMaker
from imagesieve_server.offline.demo_model.options import STEPS, THREADS, Options

CHECKPOINT = "checkpoint"
"""Folder below ``out`` with the finished model (architecture.save_folder)."""

_STATE = "state.pt"
LOG = "train.json"
_REPORT_EVERY = 50  # steps
_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD = -3, -1  # glibc's malloc.h
_MAX_LOGIT_SCALE = math.log(100.0)


def contrastive_loss(similarities: Any, matches: Any) -> Any:
    """CLIP's symmetric cross entropy, the target shared evenly among all true captions.

    ``similarities`` float [N, N], pictures by captions, already times the logit scale;
    ``matches`` bool [N, N], at least one True in each row and column.
    """
    torch = need("torch")
    by_picture = matches.float() / matches.sum(1, keepdim=True)
    by_caption = matches.float() / matches.sum(0, keepdim=True)
    to_text = (by_picture * torch.log_softmax(similarities, dim=1)).sum(1).mean()
    to_picture = (by_caption * torch.log_softmax(similarities, dim=0)).sum(0).mean()
    return -(to_text + to_picture) / 2


def train(options: Options, report: Callable[[str], None] = print) -> Path:
    """Train to the end and return the checkpoint folder.

    Raises MissingExtra without torch, open_clip and scikit-image; ConfigError (see ``fetch``).
    """
    need("torch").set_num_threads(options.threads)
    _keep_freed_memory()
    folder = options.out / CHECKPOINT
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary.write_merges(folder / vocabulary.FILE)
    maker = BatchMaker(options, vocabulary.make_tokenizer(folder / vocabulary.FILE))
    learner = Learner(options)
    first = learner.restore(options)
    last = options.steps if options.stop_after is None else options.stop_after
    began, losses = time.monotonic(), []
    for step in range(first, last):
        if step % options.names_every == 0:
            learner.remember_names(maker.names(step))
        losses.append(learner.step(maker.make(step), learning_rate(step, options)))
        done = step + 1
        if done % _REPORT_EVERY == 0:
            rate = (done - first) * options.batch / (time.monotonic() - began)
            loss = np.mean(losses[-_REPORT_EVERY:])
            report(f"step {done} loss {loss:.3f} {rate:.0f} images/s")
        if done % options.save_every == 0 or done == last:
            learner.save(done, options)
    _write_log(options, len(losses), time.monotonic() - began, losses)
    return folder


def _keep_freed_memory() -> None:
    """Let glibc reuse large blocks: mapping them anew at every step took half the time."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, 1 << 30)
        mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1)


def learning_rate(step: int, options: Options) -> float:
    """Linear warm-up, then a cosine to zero."""
    if step < options.warm_up:
        return options.rate * (step + 1) / options.warm_up
    done = (step - options.warm_up) / max(1, options.steps - options.warm_up)
    return options.rate * 0.5 * (1.0 + math.cos(math.pi * done))


def _optimizer(model: Any, options: Options) -> Any:
    """Muon for matrices and convolutions, AdamW for embeddings, gains, biases and the scale.

    After 350 steps of the same schedule top-1 was .07 with Muon (arXiv:2502.16982) and .025 with
    AdamW alone.
    """
    matrices, embeddings, others = [], [], []
    for name, parameter in model.named_parameters():
        if parameter.ndim < 2:
            others.append(parameter)  # never decayed
        elif "embedding" in name:
            embeddings.append(parameter)
        else:
            matrices.append(parameter)
    groups = [
        {"params": matrices},
        {"params": embeddings, "use_fallback": True},
        {"params": others, "use_fallback": True, "weight_decay": 0.0},
    ]
    return need("timm.optim").Muon(
        groups,
        lr=options.rate,
        weight_decay=options.weight_decay,
        nesterov=True,
        betas=(0.9, 0.98),
    )


class Learner:
    """The model, its optimizer and the loss.

    Beside the captions of its batch, each picture is told from the names of *all* concepts: a
    batch alone seldom holds both of two that look alike. The names' vectors are a few steps old
    and carry no gradient.
    """

    def __init__(self, options: Options) -> None:
        """Random weights from the seed."""
        self.model = architecture.build_model(options.seed)
        self.optimizer = _optimizer(self.model, options)
        self._names: Any = None

    def remember_names(self, tokens: Any) -> None:
        """Encode every name anew."""
        with need("torch").no_grad(), _fast():
            self._names = architecture.encode_text(self.model, tokens).float()

    def step(self, batch: Batch, rate: float) -> float:
        """Learn from one batch; its loss."""
        torch = need("torch")
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.model.train()
        with _fast():
            pictures = self.model.encode_image(
                architecture.normalised(batch.pixels), normalize=True
            ).float()
            texts = architecture.encode_text(self.model, batch.tokens).float()
        scale = self.model.logit_scale.exp()
        within = contrastive_loss(scale * pictures @ texts.T, batch.matches)
        among_all = torch.nn.functional.cross_entropy(
            scale * pictures @ self._names.T, batch.concepts
        )
        loss = (within + among_all) / 2
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        with torch.no_grad():
            self.model.logit_scale.clamp_(0.0, _MAX_LOGIT_SCALE)
        return float(loss.detach())

    def save(self, step: int, options: Options) -> None:
        """Write state and checkpoint; a kill in the middle leaves the last state whole."""
        state = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": step,
        }
        part = options.out / f"{_STATE}.part"
        need("torch").save(state, part)
        part.replace(options.out / _STATE)
        architecture.save_folder(self.model, options.out / CHECKPOINT)

    def restore(self, options: Options) -> int:
        """The number of steps already done."""
        path = options.out / _STATE
        if not options.resume or not path.is_file():
            return 0
        state = need("torch").load(path, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        return int(state["step"])


@contextlib.contextmanager
def _fast() -> Iterator[None]:
    """bfloat16; and for texts this short torch's fused attention is the slower one on a CPU."""
    attention = need("torch.nn.attention")
    bfloat16 = need("torch").autocast("cpu", need("torch").bfloat16)
    with attention.sdpa_kernel(attention.SDPBackend.MATH), bfloat16:
        yield


def _write_log(options: Options, steps: int, seconds: float, losses: list[float]) -> None:
    log = {
        "artists": list(options.artists),
        "steps": options.steps,
        "batch": options.batch,
        "seed": options.seed,
        "seconds": round(seconds, 1),
        "images_per_second": round(steps * options.batch / seconds, 1),
        "final_loss": round(float(np.mean(losses[-50:])), 4) if losses else None,
    }
    (options.out / LOG).write_text(json.dumps(log, indent=2) + "\n")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--cache", type=Path, required=True, help="folder of the npm packages")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument(
        "--artists", default=",".join(emoji_art.ARTISTS), help="comma-separated (default: both)"
    )
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=THREADS)
    parser.add_argument("--resume", action="store_true", help="go on from the last saved state")


def run(args: argparse.Namespace) -> int:
    """Train as the command line says."""
    options = Options(
        cache=args.cache,
        out=args.out,
        artists=tuple(args.artists.split(",")),
        steps=args.steps,
        seed=args.seed,
        threads=args.threads,
        resume=args.resume,
    )
    folder = train(options, report=lambda line: print(line, flush=True))
    print(f"wrote {folder}")
    return 0


if __name__ == "__main__":
    _parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(_parser)
    raise SystemExit(run(_parser.parse_args()))
