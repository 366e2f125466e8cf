"""Train the demo model: one command, from the npm packages to a checkpoint folder.

Knows the model, its losses and its optimizer; the loop is ``offline/training``'s. Interrupted, it
goes on from its last state with the very batches it would have seen; on one machine with one
number of threads, one seed is one model.
"""

from __future__ import annotations

import argparse
import contextlib
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from imagesieve_server.extras import need
from imagesieve_server.offline.demo_model import architecture, emoji_art, vocabulary
from imagesieve_server.offline.demo_model.batches import Batch, BatchMaker
from imagesieve_server.offline.demo_model.options import STEPS, THREADS, Options
from imagesieve_server.offline.folders import make_folder
from imagesieve_server.offline.training import loop
from imagesieve_server.offline.training.losses import contrastive_loss
from imagesieve_server.offline.training.schedule import learning_rate

CHECKPOINT = "checkpoint"
"""Folder below ``out`` with the finished model (architecture.save_folder)."""

_MAX_LOGIT_SCALE = math.log(100.0)


def train(options: Options, report: Callable[[str], None] = print) -> Path:
    """Train to the end and return the checkpoint folder.

    Raises MissingExtra without torch, open_clip and scikit-image; ConfigError for a folder that
    cannot be written (see ``fetch``, too).
    """
    need("torch").set_num_threads(options.threads)
    loop.keep_freed_memory()
    folder = options.out / CHECKPOINT
    make_folder(folder)
    vocabulary.write_merges(folder / vocabulary.FILE)
    maker = BatchMaker(options, vocabulary.make_tokenizer(folder / vocabulary.FILE))
    learner = DemoLearner(options, maker)
    done = loop.train(
        learner,
        loop.Run(
            out=options.out,
            steps=options.steps,
            pictures=options.batch,
            save_every=options.save_every,
            stop_after=options.stop_after,
            resume=options.resume,
        ),
        rate=lambda step: learning_rate(
            step, peak=options.rate, warm_up=options.warm_up, steps=options.steps
        ),
        report=report,
        saved=lambda: architecture.save_folder(learner.model, folder),
    )
    facts = {
        "artists": list(options.artists),
        "steps": options.steps,
        "batch": options.batch,
        "seed": options.seed,
    }
    loop.write_log(options.out, facts, done)
    return folder


def muon(model: Any, *, rate: float, weight_decay: float) -> Any:
    """Muon for matrices and convolutions, AdamW for embeddings, gains, biases and the scale.

    After 350 steps of the same schedule top-1 was .07 with Muon (arXiv:2502.16982) and .025 with
    AdamW alone.
    """
    matrices, embeddings, others = [], [], []
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
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
        lr=rate,
        weight_decay=weight_decay,
        nesterov=True,
        betas=(0.9, 0.98),
    )


class DemoLearner:
    """The model, its optimizer and the loss.

    Beside the captions of its batch, each picture is told from the names of *all* concepts: a
    batch alone seldom holds both of two that look alike. The names' vectors are a few steps old
    and carry no gradient.
    """

    def __init__(self, options: Options, maker: BatchMaker) -> None:
        """Random weights from the seed."""
        self.model = architecture.build_model(options.seed)
        self.optimizer = muon(self.model, rate=options.rate, weight_decay=options.weight_decay)
        self._options, self._maker = options, maker
        self._names: Any = None

    def step(self, number: int, rate: float) -> float:
        """Learn from the batch of step ``number``; its loss."""
        if number % self._options.names_every == 0:
            self._remember_names(self._maker.names(number))
        self.model.train()
        loss = self._loss(self._maker.make(number))
        value = loop.descend(loss, self.optimizer, self.model.parameters(), rate=rate)
        with need("torch").no_grad():
            self.model.logit_scale.clamp_(0.0, _MAX_LOGIT_SCALE)
        return value

    def _remember_names(self, tokens: Any) -> None:
        with need("torch").no_grad(), _fast():
            self._names = architecture.encode_text(self.model, tokens).float()

    def _loss(self, batch: Batch) -> Any:
        with _fast():
            pictures = self.model.encode_image(
                architecture.normalised(batch.pixels), normalize=True
            ).float()
            texts = architecture.encode_text(self.model, batch.tokens).float()
        scale = self.model.logit_scale.exp()
        within = contrastive_loss(scale * pictures @ texts.T, batch.matches)
        among_all = need("torch").nn.functional.cross_entropy(
            scale * pictures @ self._names.T, batch.concepts
        )
        return (within + among_all) / 2

    def state(self) -> dict[str, Any]:
        """Weights and the optimizer's state; names are encoded anew where a state is saved."""
        return {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take up what ``state`` gave."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])


@contextlib.contextmanager
def _fast() -> Iterator[None]:
    """bfloat16; and for texts this short torch's fused attention is the slower one on a CPU."""
    attention = need("torch.nn.attention")
    bfloat16 = need("torch").autocast("cpu", need("torch").bfloat16)
    with attention.sdpa_kernel(attention.SDPBackend.MATH), bfloat16:
        yield


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
