"""Train the small ViT: one command, from the npm packages to a checkpoint folder.

    python -m benchmarks.small_vit.train --cache DIR --out DIR [--steps N] [--seed S] [--resume]

The loop, the optimizer and the losses are the demo model's. Beside them, once most of the steps
are done, what two uploads of one scene are to the model is drawn together. Until then half of the
patches are left out of each picture, which makes a step half as dear (arXiv:2212.00794).
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.small_vit import towers
from benchmarks.small_vit.batches import UploadMaker, Uploads
from imagesieve_server.demo_data import DEMO_BUNDLE
from imagesieve_server.encoders.manifest import TEXT_ENCODER
from imagesieve_server.extras import need
from imagesieve_server.offline.demo_model import architecture
from imagesieve_server.offline.demo_model.options import Options
from imagesieve_server.offline.demo_model.train import CHECKPOINT, muon
from imagesieve_server.offline.training import loop
from imagesieve_server.offline.training.losses import contrastive_loss
from imagesieve_server.offline.training.schedule import learning_rate

STEPS = 310
PROCESSES = 2
SCENES, PAIRS = 96, 32  # a step, in each process
RATE, WARM_UP = 4e-3, 60
LEFT_OUT = 0.5  # of the patches
SPARSE = 0.85  # share of the steps with patches left out
TOGETHER = 20.0  # weight of 1 − cos between two uploads of one scene
_MAX_LOGIT_SCALE = math.log(100.0)


class SmallVitLearner:
    """The image tower, its optimizer and the loss."""

    def __init__(self, model: Any, maker: UploadMaker, *, steps: int, process: int) -> None:
        """``steps``: of the whole run; ``process``: the number of this one."""
        self.model = model
        self.optimizer = muon(model, rate=RATE, weight_decay=0.1)
        self._maker, self._steps, self._process = maker, steps, process
        self._dropout = need("open_clip.transformer").PatchDropout(LEFT_OUT)
        self._names = self._encode(maker.names(0))

    def step(self, number: int, rate: float) -> float:
        """Learn from the batch of step ``number``; its loss."""
        sparse = number < SPARSE * self._steps
        own = number * PROCESSES + self._process
        need("torch").manual_seed(own)  # which patches are left out
        self.model.train()
        self.model.visual.patch_dropout = self._dropout if sparse else need("torch").nn.Identity()
        loss = self._loss(self._maker.uploads(own), apart=sparse)
        trained = [one for one in self.model.parameters() if one.requires_grad]
        value = loop.descend(
            loss, self.optimizer, trained, rate=rate, shared=lambda: _average(trained)
        )
        with need("torch").no_grad():
            self.model.logit_scale.clamp_(0.0, _MAX_LOGIT_SCALE)
        return value

    def _loss(self, batch: Uploads, *, apart: bool) -> Any:
        torch = need("torch")
        with torch.autocast("cpu", torch.bfloat16):
            pixels = architecture.normalised(batch.pixels)
            pictures = self.model.encode_image(pixels, normalize=True).float()
        scale, count = self.model.logit_scale.exp(), len(batch.tokens)
        texts = self._encode(batch.tokens)
        within = contrastive_loss(scale * pictures[:count] @ texts.T, batch.matches)
        among_all = torch.nn.functional.cross_entropy(
            scale * pictures @ self._names.T, batch.concepts
        )
        if apart:
            return (within + among_all) / 2
        again = pictures[count:]
        apart_by = (1.0 - (pictures[: len(again)] * again).sum(dim=1)).mean()
        return (within + among_all) / 2 + TOGETHER * apart_by

    def _encode(self, tokens: Any) -> Any:
        with need("torch").no_grad():
            return architecture.encode_text(self.model, tokens)

    def state(self) -> dict[str, Any]:
        """Weights and the optimizer's state."""
        return {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take up what ``state`` gave."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])


def _average(parameters: Sequence[Any]) -> None:
    """Give every process the mean of all processes' gradients."""
    torch = need("torch")
    gradients = [one.grad for one in parameters if one.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    torch.distributed.all_reduce(flat)
    flat /= PROCESSES
    for gradient, mean in zip(
        gradients, flat.split([gradient.numel() for gradient in gradients]), strict=True
    ):
        gradient.copy_(mean.view_as(gradient))


def train(*, cache: Path, out: Path, steps: int, seed: int, resume: bool) -> Path:
    """Train to the end and return the checkpoint folder."""
    out.mkdir(parents=True, exist_ok=True)
    meeting = out / "meeting"
    meeting.unlink(missing_ok=True)
    arguments = (meeting, cache, out, steps, seed, resume)
    need("torch.multiprocessing").spawn(_process, arguments, nprocs=PROCESSES)
    return out / CHECKPOINT


def _process(
    number: int, meeting: Path, cache: Path, out: Path, steps: int, seed: int, resume: bool
) -> None:
    """All begin with the same weights and take the same steps; the first writes the model."""
    torch, first = need("torch"), number == 0
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{meeting.resolve()}", rank=number, world_size=PROCESSES
    )
    torch.set_num_threads(1)
    loop.keep_freed_memory()
    own = out if first else out / f"process-{number}"
    folder = own / CHECKPOINT
    maker = UploadMaker(
        Options(cache=cache, out=own, batch=SCENES, seed=seed),
        towers.tokenizer(folder),
        pairs=PAIRS,
    )
    model = towers.build_model(seed, DEMO_BUNDLE / TEXT_ENCODER)
    learner = SmallVitLearner(model, maker, steps=steps, process=number)
    pictures = (SCENES + PAIRS) * PROCESSES
    done = loop.train(
        learner,
        loop.Run(out=own, steps=steps, pictures=pictures, save_every=50, resume=resume),
        rate=lambda step: learning_rate(step, peak=RATE, warm_up=WARM_UP, steps=steps),
        report=lambda line: print(line, flush=True) if first else None,
        saved=lambda: towers.save_folder(model, folder),
    )
    loop.write_log(own, {"steps": steps, "scenes": SCENES * PROCESSES, "seed": seed}, done)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, required=True, help="folder of the npm packages")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--resume", action="store_true", help="go on from the last saved state")
    print(f"wrote {train(**vars(parser.parse_args()))}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
