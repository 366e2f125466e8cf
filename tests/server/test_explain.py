"""``policy explain``: the server's verdict for the same file, as text, JSON and picture."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imagesieve_server.audit_sampling import AuditSampler
from imagesieve_server.commands import main
from imagesieve_server.content_cache import ContentCache
from imagesieve_server.core.errors import ConfigError, ImageUndecodable, PolicyError
from imagesieve_server.core.explaining import explain
from imagesieve_server.core.policy import Mode, OnUndecodable, Policy, Probe
from imagesieve_server.core.request import ModerationRequest
from imagesieve_server.core.verdict import ReasonCode, Verdict
from imagesieve_server.core.views import ViewKind, ViewPlan
from imagesieve_server.demo_data import (
    DEMO_BUNDLE,
    DEMO_IMAGES,
    DEMO_POLICY,
    DEMO_POLICY_SOURCE,
)
from imagesieve_server.encoders.batcher import Batcher, BatcherOptions
from imagesieve_server.encoders.bundle import load_bundle
from imagesieve_server.encoders.onnx import OnnxImageEncoder
from imagesieve_server.encoders.runtime import RuntimeOptions
from imagesieve_server.encoders.text import OnnxTextEncoder
from imagesieve_server.images.decoder_pool import DecoderPool
from imagesieve_server.images.limits import Limits
from imagesieve_server.offline.compile_policy import compile_policy
from imagesieve_server.offline.explain import text, wording
from imagesieve_server.offline.explain.as_json import as_json
from imagesieve_server.offline.explain.canvas import Fonts
from imagesieve_server.offline.explain.looking import Looker, Report
from imagesieve_server.offline.explain.picture import WIDTH, Style, draw
from imagesieve_server.pipeline import Pipeline
from imagesieve_server.policy_files import compiled
from imagesieve_server.policy_files.probe_file import ProbeFile, write_probe
from imagesieve_server.recent_answers import RecentAnswers
from imagesieve_server.review_queue.evidence import MemoryEvidence
from imagesieve_server.review_queue.memory import memory_store
from imagesieve_server.review_queue.writer import QueueWriter
from imagesieve_server.testing import FreePlace, RecordingMetrics, StaticPolicies
from imagesieve_server.undecodable_quota import UndecodableQuota

Printed = pytest.CaptureFixture[str]
PICTURES = sorted(p for p in DEMO_IMAGES.iterdir() if p.suffix not in (".csv", ".md"))
OPTIONS = RuntimeOptions(threads=1)


@pytest.fixture(scope="module")
def encoder() -> OnnxImageEncoder:
    return OnnxImageEncoder(bundle=load_bundle(DEMO_BUNDLE), options=OPTIONS)


@pytest.fixture(scope="module")
def looker(encoder: OnnxImageEncoder) -> Looker:
    return Looker(encoder=encoder, limits=Limits(), frame_key=b"")


@pytest.fixture(scope="module")
def rules() -> Policy:
    return compiled.read(DEMO_POLICY).policy


def report(looker: Looker, rules: Policy, name: str, **how: bool) -> Report:
    return looker.explain((DEMO_IMAGES / name).read_bytes(), file=name, policy=rules, **how)


# --- the same as the server ------------------------------------------------------------------


@pytest.fixture
async def decoder(encoder: OnnxImageEncoder) -> AsyncIterator[DecoderPool]:
    pool = DecoderPool(
        preprocessing=encoder.spec.preprocessing, metrics=RecordingMetrics(), workers=1
    )
    await pool.start()
    yield pool
    await pool.close()


async def test_every_demo_picture_is_explained_as_the_server_judges_it(
    decoder: DecoderPool, encoder: OnnxImageEncoder, rules: Policy
) -> None:
    """Verdict, reasons and every score to the last bit, through the pipeline itself."""
    metrics = RecordingMetrics()
    batcher = Batcher(encoder=encoder, metrics=metrics, options=BatcherOptions())
    await batcher.start()
    queue = QueueWriter(
        store=memory_store(clock=time.time), evidence=MemoryEvidence(), metrics=metrics
    )
    pipeline = Pipeline(
        decoder=decoder,
        encoder=batcher,
        policies=StaticPolicies(rules),
        queue=queue,
        metrics=metrics,
        recent=RecentAnswers(),
        content=ContentCache(max_bytes=1 << 20, max_age_s=60, metrics=metrics),
        undecodable=UndecodableQuota(per_hour=2),
        audit=AuditSampler(key=b"k" * 32, queue=queue, metrics=metrics),
    )
    plan = ViewPlan(coverage=rules.coverage, max_views=rules.max_views)
    verdicts = set()
    for path in PICTURES:
        deadline = time.monotonic() + 60
        request = ModerationRequest(
            tenant="t", request_id=path.name, image=path.read_bytes(), dry_run=True
        )
        answer = await pipeline.moderate(request, place=FreePlace(), deadline=deadline)
        image = await decoder.decode(path.read_bytes(), plan=plan, deadline=deadline)
        found = explain(
            policy=rules,
            embeddings=await batcher.encode(image.pixels, deadline=deadline),
            views=image.views,
            coverage=image.coverage,
            truncated=image.truncated,
        )
        assert found.judgement == answer.judgement, path.name
        assert found.views == answer.views
        verdicts.add(answer.judgement.verdict)
    assert verdicts == set(Verdict)
    await queue.close()
    await batcher.close()


def test_a_late_frame_is_named_and_its_whole_frame_is_fetched(
    looker: Looker, rules: Policy
) -> None:
    found = report(looker, rules, "evasion_late_frame.gif", with_picture=True)
    assert found.judgement.verdict is Verdict.REVIEW
    assert found.image is not None
    assert found.explanation is not None
    assert found.explanation.leading is not None
    view = found.image.views[found.explanation.leading.score.view]
    assert (view.kind, view.frame > 0) == (ViewKind.FRAME, True)
    assert found.whole is not None
    with Image.open(DEMO_IMAGES / "evasion_late_frame.gif") as gif:
        gif.seek(view.frame)
        side = found.whole.shape[0]
        expected = np.asarray(gif.convert("RGB").resize((side, side), Image.Resampling.BICUBIC))
    difference = np.abs(found.whole.astype(int) - expected.astype(int))
    assert difference.mean() < 3


def test_the_whole_of_a_strip_keeps_its_shape(looker: Looker, rules: Policy) -> None:
    found = report(looker, rules, "evasion_strip_end.jpg", with_picture=True)
    assert found.whole is not None
    height, width = found.whole.shape[:2]
    assert width / height == pytest.approx(15, rel=0.02)
    assert found.explanation is not None
    assert found.explanation.leading is not None
    assert found.explanation.leading.score.view == len(found.image.views) - 1  # type: ignore[union-attr]


def test_an_undecodable_file_gets_the_policys_answer(looker: Looker, rules: Policy) -> None:
    data = (DEMO_IMAGES / "weapons_bomb.png").read_bytes()[:3000]
    found = looker.explain(data, file="half.png", policy=rules)
    assert found.judgement.verdict is Verdict.REVIEW
    assert found.judgement.reasons[0].code is ReasonCode.UNDECODABLE
    assert found.explanation is None
    strict = dataclasses.replace(rules, on_undecodable=OnUndecodable.REJECT)
    with pytest.raises(ImageUndecodable):
        looker.explain(data, file="half.png", policy=strict)


def test_a_policy_of_another_model_is_refused(looker: Looker, rules: Policy) -> None:
    other = dataclasses.replace(rules, model_fingerprint="f" * 64)
    with pytest.raises(PolicyError, match="was compiled for model ffffffffffff, but --model is"):
        looker.explain(b"GIF89a", file="x.gif", policy=other)


# --- text and JSON ---------------------------------------------------------------------------


def test_the_text_shows_the_sum_that_adds_up(looker: Looker, rules: Policy) -> None:
    found = report(looker, rules, "weapons_knife.webp")
    told = "\n".join(text.lines(found))
    assert found.explanation is not None
    assert found.explanation.leading is not None
    terms = found.explanation.leading.terms
    assert terms.prompts is not None
    assert f"{rules.logit_scale * terms.prompts.pooled:.2f} − logaddexp(" in told
    assert f"= {wording.signed(terms.log_odds)}, score {terms.score:.3f}" in told
    assert "a kitchen knife" in told
    assert "the whole picture" in told
    assert "without the prompt “a kitchen knife”" in told
    assert "gambling (Gambling)" not in told  # clear: in the table only
    assert "gambling (Gambling)" in "\n".join(text.lines(found, only=["gambling"]))


def test_names_and_prompts_cannot_move_the_terminals_cursor(looker: Looker, rules: Policy) -> None:
    data = (DEMO_IMAGES / "photo_cat.jpg").read_bytes()
    found = looker.explain(data, file="a\x1b[2Jb\r.jpg", policy=rules)
    assert not any("\x1b" in line or "\r" in line for line in text.lines(found))


def test_the_json_holds_every_number(looker: Looker, rules: Policy) -> None:
    found = report(looker, rules, "evasion_strip_end.jpg")
    told = json.loads(json.dumps(as_json(found), allow_nan=False))
    assert told["verdict"] == "REVIEW"
    assert len(told["views"]) == 15
    first = told["categories"][0]
    assert first["id"] == "gambling"
    assert len(first["log_odds_by_view"]) == 15
    at = first["at_the_view"]
    scale = told["logit_scale"]
    told_sum = scale * at["prompts"]["pooled"] - at["against"]
    assert told_sum == pytest.approx(at["log_odds"], abs=1e-9)
    assert first["what_if"][0]["change"] == "without_prompt"


# --- the command -----------------------------------------------------------------------------


def test_the_command_writes_text_and_a_picture(tmp_path: Path, capsys: Printed) -> None:
    out = tmp_path / "out.png"
    image = str(DEMO_IMAGES / "alcohol_wine.jpg")
    assert main(["policy", "explain", image, "--picture", str(out), "--blur"]) == 0
    assert "alcohol_tobacco" in capsys.readouterr().out
    with Image.open(out) as drawn:
        assert (drawn.format, drawn.width) == ("PNG", WIDTH)


def test_a_policys_yaml_is_explained_as_its_artefact(tmp_path: Path, capsys: Printed) -> None:
    image = str(DEMO_IMAGES / "drugs_pill.jpg")
    assert main(["policy", "explain", image, "--policy", str(DEMO_POLICY_SOURCE)]) == 0
    by_source = capsys.readouterr().out
    assert main(["policy", "explain", image]) == 0
    assert by_source == capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["{tmp}/none.jpg"], "none.jpg: No such file"),
        (["{tmp}/text.jpg"], "text.jpg: the bytes do not begin as an allowed format does"),
        (["{tmp}/empty.jpg"], "empty.jpg: the image has no bytes"),
        (["{cat}", "--category", "nope"], "has no category 'nope'"),
        (["{cat}", "--policy", "{tmp}/none.policy.npz"], "none.policy.npz: cannot be read"),
        (["{cat}", "--policy", "{tmp}/text.jpg"], "text.jpg"),
        (["{cat}", "--policy", "{tmp}/other.policy.npz"], "was compiled for another model (0000"),
        (["{cat}", "--model", "{tmp}"], "bundle.json"),
        (["{cat}", "--picture", "{tmp}/no/out.png"], "--picture: there is no folder"),
        (["{cat}", "--picture", "{tmp}/out.png", "--font", "{tmp}/text.jpg"], "not a font"),
    ],
)
def test_the_command_says_what_is_wrong(
    tmp_path: Path, capsys: Printed, arguments: list[str], told: str
) -> None:
    (tmp_path / "text.jpg").write_text("this is text")
    (tmp_path / "empty.jpg").write_bytes(b"")
    _policy_of_another_model(tmp_path / "other.policy.npz")
    names = {"tmp": str(tmp_path), "cat": str(DEMO_IMAGES / "photo_cat.jpg")}
    assert main(["policy", "explain", *(part.format(**names) for part in arguments)]) == 1
    assert told in capsys.readouterr().err


def _policy_of_another_model(path: Path) -> None:
    bundle = load_bundle(DEMO_BUNDLE)
    other = dataclasses.replace(bundle, fingerprint="0" * 64)
    source = path.with_suffix(".yaml")
    source.write_text(SMALL)
    encode = OnnxTextEncoder(bundle=bundle, threads=1).encode
    compile_policy(source_path=source, bundle=other, encode_texts=encode, out=path)


SMALL = """
name: small
neutral: [a photograph]
categories:
  - {id: knives, severity: 2, prompts: [a kitchen knife], review_at: 0.5}
"""


# --- the picture -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["weapons_knife.webp", "photo_cat.jpg", "evasion_late_frame.gif", "evasion_strip_end.jpg"],
)
def test_the_picture_shows_the_image_and_blur_hides_it(
    looker: Looker, rules: Policy, name: str
) -> None:
    found = report(looker, rules, name, with_picture=True)
    sharp = np.asarray(draw(found, style=Style()).image).astype(int)
    blurred = np.asarray(draw(found, style=Style(blur=True)).image).astype(int)
    assert sharp.shape == blurred.shape
    left, right = slice(None, 600), slice(620, None)
    assert _detail(blurred[:, left]) < _detail(sharp[:, left])
    if name != "evasion_strip_end.jpg":  # its image goes across the page
        assert (sharp[:, right] == blurred[:, right]).all()


def _detail(pixels: np.ndarray) -> float:
    return float(np.abs(np.diff(pixels, axis=0)).mean())


def test_the_box_of_the_view_is_drawn_around_what_it_shows(looker: Looker, rules: Policy) -> None:
    """The last of fifteen tiles: amber at the right end of the strip, none at its left end."""
    found = report(looker, rules, "evasion_strip_end.jpg", with_picture=True)
    drawn = np.asarray(draw(found, style=Style()).image).astype(int)
    amber = (np.abs(drawn - np.array([0xD9, 0x77, 0x06])).max(axis=2) < 12).sum(axis=1)
    strip = np.flatnonzero(amber > 80)
    top = strip[strip > 150][0]  # below the verdict
    columns = np.flatnonzero(np.abs(drawn[top] - np.array([0xD9, 0x77, 0x06])).max(axis=1) < 12)
    assert columns.min() > 1240
    assert columns.max() < 1370


def test_an_undecodable_file_has_a_picture_of_its_own(looker: Looker, rules: Policy) -> None:
    data = (DEMO_IMAGES / "weapons_bomb.png").read_bytes()[:3000]
    found = looker.explain(data, file="half.png", policy=rules, with_picture=True)
    assert draw(found, style=Style()).image.width == WIDTH


def test_probe_cosine_and_observed_categories_are_drawn(looker: Looker, tmp_path: Path) -> None:
    bundle = load_bundle(DEMO_BUNDLE)
    texts = OnnxTextEncoder(bundle=bundle, threads=1)
    knife, photograph = texts.encode(["a kitchen knife", "a photograph"])
    head = Probe(weights=60 * (knife - photograph), bias=-1.0)
    write_probe(tmp_path / "head.json", ProbeFile(model_fingerprint=bundle.fingerprint, probe=head))
    (tmp_path / "p.yaml").write_text(MIXED, encoding="utf-8")
    result = compile_policy(
        source_path=tmp_path / "p.yaml",
        bundle=bundle,
        encode_texts=texts.encode,
        out=tmp_path / "p.policy.npz",
    )
    found = report(looker, result.policy, "weapons_knife.webp", with_picture=True)
    assert {score.mode for score in found.judgement.scores} == set(Mode)
    told = "\n".join(text.lines(found))
    assert "log-odds = w·v + β" in told
    assert "the highest cosine: 0.1" in told
    assert draw(found, style=Style()).missing == frozenset()


MIXED = """
name: mixed
neutral: [a photograph, an empty background]
categories:
  - {id: blades, severity: 4, method: probe, probe: head.json, review_at: 0.7}
  - {id: near, severity: 2, method: cosine, prompts: [a kitchen knife, a dagger], review_at: 0.1}
  - {id: kitchen, severity: 2, mode: observe, prompts: [a kitchen knife], review_at: {logit: -2}}
  - {id: counted, severity: 1, mode: observe, prompts: [a dagger]}
"""


def test_letters_that_no_font_has_are_replaced_and_named() -> None:
    fonts = Fonts()
    _, drawn = fonts.pick("− plain ×", 20)
    assert (drawn, fonts.missing) == ("- plain x", set())
    _, drawn = fonts.pick("a\U00012000b\n", 20)  # a cuneiform sign, and what is not printable
    assert drawn == "a?b?"
    assert fonts.missing == {"\U00012000"}


def test_a_font_that_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "font.ttf"
    path.write_bytes(b"no font")
    with pytest.raises(ConfigError, match=r"font\.ttf: not a font"):
        Fonts(extra=path)
