"""``imagesieve-server policy explain``: why one image gets its verdict."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

from imagesieve_server import config
from imagesieve_server.assembly import limits_of
from imagesieve_server.config import Settings
from imagesieve_server.core.errors import ConfigError, ImagesieveError
from imagesieve_server.core.policy import Policy
from imagesieve_server.demo_data import DEMO_BUNDLE, DEMO_POLICY
from imagesieve_server.encoders.bundle import Bundle, load_bundle
from imagesieve_server.encoders.opening import open_encoder
from imagesieve_server.encoders.runtime import Provider, RuntimeOptions
from imagesieve_server.offline.explain import text
from imagesieve_server.offline.explain.as_json import as_json
from imagesieve_server.offline.explain.canvas import Fonts
from imagesieve_server.offline.explain.looking import Looker, Report
from imagesieve_server.offline.explain.picture import Style, draw
from imagesieve_server.offline.read_policy import read_policy
from imagesieve_server.server_secret import Purpose, load_secret


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "explain",
        help="explain the verdict of one image",
        description="Judge one image as the server would and say why: scores and distances to "
        "the thresholds, the prompts behind them, the view that decided, and what would have "
        "changed the verdict. The file is decoded in a worker process under the server's limits.",
    )
    add = parser.add_argument
    add("image", type=Path, help="an image file")
    add(
        "--policy", type=Path, default=DEMO_POLICY, metavar="FILE",
        help="a .policy.npz file, or a policy's YAML (default: the demo's)",
    )  # fmt: skip
    add("--model", type=Path, metavar="DIR", help="bundle (default: the one in the settings)")
    add("--config", type=Path, metavar="FILE", help="the server's settings (TOML)")
    add(
        "--category", action="append", default=[], metavar="ID",
        help="details of this category only; may be given several times",
    )  # fmt: skip
    add("--picture", type=Path, metavar="OUT.png", help="also write the explanation as a picture")
    add("--blur", action="store_true", help="blur the image in that picture")
    add(
        "--font", type=Path, metavar="FILE",
        help="TrueType font for prompts that the picture's own fonts lack letters for",
    )  # fmt: skip
    add("--json", action="store_true", help="print JSON instead of text")
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    settings = config.load(args.config, os.environ)
    _check_picture(args)
    bundle = load_bundle(args.model or Path(settings.model.bundle or DEMO_BUNDLE))
    policy = read_policy(args.policy, bundle=bundle).policy
    policy.subset(tuple(args.category))  # an unknown one is refused before any work
    report = _explain(args, settings, bundle, policy)
    if args.json:
        print(json.dumps(as_json(report), indent=1, ensure_ascii=False))
    else:
        for line in text.lines(report, only=args.category):
            print(line)
    if args.picture:
        _write_picture(args, report)
    return 0


def _check_picture(args: argparse.Namespace) -> None:
    """Before the work. Raises ConfigError."""
    if args.picture and not args.picture.parent.is_dir():
        raise ConfigError(f"--picture: there is no folder {args.picture.parent}")
    Fonts(extra=args.font)


def _explain(
    args: argparse.Namespace, settings: Settings, bundle: Bundle, policy: Policy
) -> Report:
    data = _bytes(args.image, settings)
    model = settings.model
    encoder = open_encoder(
        bundle, RuntimeOptions(provider=Provider(model.provider), threads=model.threads)
    )
    encoder.check_canary()  # a server would not answer either
    looker = Looker(
        encoder=encoder,
        limits=limits_of(settings),
        frame_key=load_secret(settings.server.secret_file).key(Purpose.FRAMES),
    )
    try:
        return looker.explain(
            data,
            file=args.image.name,
            policy=policy,
            with_picture=bool(args.picture),
            about=args.category,
        )
    except ImagesieveError as error:
        error.message = f"{args.image}: {error.message}"
        raise


def _bytes(path: Path, settings: Settings) -> bytes:
    """The file, or as much of it as is enough to see that it is too large."""
    try:
        with path.open("rb") as file:
            return file.read(limits_of(settings).bytes + 1)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None


def _write_picture(args: argparse.Namespace, report: Report) -> None:
    drawn = draw(report, style=Style(blur=args.blur, font=args.font), only=args.category)
    try:
        drawn.image.save(args.picture, format="PNG")
    except OSError as error:
        raise ConfigError(f"{args.picture}: {error.strerror or error}") from None
    if not args.json:
        print(f"\n{args.picture}: the explanation as a picture")
        if drawn.missing:
            print(f"note: no font here has {' '.join(sorted(drawn.missing))}; name one with --font")
