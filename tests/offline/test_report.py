"""The HTML report: one file that fetches nothing, escapes everything and spares the reader."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from helpers.labelled import angle_category, angle_policy, at_angles, labelled_set
from imagesieve_server.commands import main
from imagesieve_server.core.policy import Method, Scale, Threshold, Thresholds
from imagesieve_server.core.views import Preprocessing, ViewPlan
from imagesieve_server.demo_data import DEMO_IMAGES
from imagesieve_server.offline.evaluation import as_html, comparisons, wording
from imagesieve_server.offline.evaluation.evaluate import evaluate
from imagesieve_server.offline.evaluation.results import AtThreshold, Evaluation
from imagesieve_server.offline.evaluation.sections import sections
from imagesieve_server.offline.labelled.labelled_set import LabelledSet, LeftOut
from imagesieve_server.offline.measures.bootstrap import Resampling
from imagesieve_server.offline.measures.figures import Figure, proportion
from imagesieve_server.offline.report import numbers, plots
from imagesieve_server.offline.report.page import CONTENT_POLICY, page
from imagesieve_server.offline.report.section import Section
from imagesieve_server.offline.report.svg import Axis, Chart, Line, Mark, share_axis
from imagesieve_server.offline.report.thumbnails import SIDE, Thumbnail, Thumbnails, make
from imagesieve_server.offline.report.thumbnails import thumbnails as thumbnails_of

QUICK = Resampling(count=100)
EVIL = "<script>alert(1)</script>\"'&"
VOID = {"meta", "img", "br", "input"}
FETCHING = {"src", "href", "action", "data", "poster", "srcset", "background", "xlink:href"}


class Reader(HTMLParser):
    """Every tag, attribute and text; fails where tags do not close in order."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def evaluation(**changes: Any) -> Evaluation:
    """Two categories, one of them without labels enough, with everything a file can bring."""
    chance = np.random.default_rng(5)
    angles = np.concatenate([chance.normal(38, 8, 60), chance.normal(60, 8, 140)]).clip(0, 90)
    labelled = labelled_set(
        at_angles(angles.tolist()),
        {"weapons": [1] * 60 + [0] * 140, "death": [1] + [-1] * 199},
        columns={EVIL: [EVIL, "b"] * 100},
    )
    labelled = replace(
        labelled,
        files=tuple(f"{n}{EVIL}.png" for n in range(200)),
        left_out=(LeftOut(file=f"cut{EVIL}", reason="TRUNCATED"),),
        notes=(f"note {EVIL}",),
    )
    weapons = angle_category(
        title=f"Weapons {EVIL}",
        thresholds=Thresholds(
            review_at=Threshold(value=0.5), block_at=Threshold(value=2.0, scale=Scale.LOGIT)
        ),
    )
    policy = angle_policy(weapons, angle_category("death", title="Death"))
    compared = [comparisons.pooling(policy, labelled, QUICK)]
    return evaluate(policy, labelled, model="m", resampling=QUICK, compared=compared, **changes)


def written(found: Evaluation, thumbnails: dict[int, Thumbnail] | None = None) -> str:
    aid = Section(
        id="words", title="Words", text="", data=None, html=lambda: as_html.reading_aid(found)
    )
    parts = [*sections(found, thumbnails), aid]
    return page(title=f"T {EVIL}", subtitle=EVIL, sections=parts, footer=EVIL)


def test_nothing_is_fetched_and_nothing_runs() -> None:
    pixels = np.zeros((8, 8, 3), dtype=np.uint8)
    found = evaluation()
    views = {view: make(pixels, Thumbnails.REVEAL) for view in range(200)}
    html = written(found, views)
    reader = Reader(html)
    for tag, attributes in reader.tags:
        assert tag not in ("script", "link", "iframe", "object", "embed", "base", "form", "use")
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            if name in FETCHING:
                assert (value or "").startswith(("#", "data:image/jpeg;base64,")), (tag, value)
    policy = next(a for t, a in reader.tags if t == "meta" and "http-equiv" in a)
    assert policy["content"] == CONTENT_POLICY
    assert "script-src" not in CONTENT_POLICY
    assert CONTENT_POLICY.startswith("default-src 'none'")
    style = html.partition("<style>")[2].partition("</style>")[0]
    assert not re.search(r"url\(|@import|expression\(", style)
    assert not re.search(r"https?:", html)


def test_everything_that_comes_from_outside_is_text() -> None:
    html = written(evaluation())
    assert "<script" not in html
    text = Reader(html).text
    for brought in (f"T {EVIL}", f"Weapons {EVIL}", f"cut{EVIL}", f"note {EVIL}"):
        assert brought in text
    assert f"By {EVIL}" in text
    assert re.search(r"\d" + re.escape(f"{EVIL}.png"), text)


def test_neither_a_terminal_nor_the_direction_of_text_is_steered() -> None:
    evil = "\x1b]0;x\x07 \x9b31m \u202egnp.\u2066 \x00"
    html = page(title=evil, subtitle=f"é 👩\u200d🚀 1{numbers.THIN}%\n", sections=[], footer=evil)
    assert not set(evil) - {*" 031];gmnpx."} & set(html)
    assert f"é 👩\u200d🚀 1{numbers.THIN}%\n" in html


def test_how_many_flags_are_right_where_it_is_rare_is_no_more_certain_than_the_labels() -> None:
    """No wrong flag among 370 pictures leaves room for one in a hundred."""
    at = AtThreshold(
        name="block_at",
        threshold=Threshold(value=0.9),
        hits=17,
        misses=13,
        false_alarms=0,
        passed=370,
        recall=proportion(17, 30),
        false_positive_rate=proportion(0, 370),
        precision=proportion(17, 17),
    )
    found = wording.right_when_rare(at)
    assert found is not None
    assert found.value == found.high == 1.0
    assert found.low == pytest.approx(0.0362, abs=0.0005)  # .374 ÷ (.374 + 999 × .00992)
    nothing = replace(at, hits=0, misses=30, recall=proportion(0, 30), precision=None)
    assert wording.right_when_rare(nothing) is None


@settings(deadline=None, max_examples=20)
@given(st.text(min_size=1, max_size=30))
def test_any_text_leaves_the_page_whole(text: str) -> None:
    found = evaluation_with(text)
    reader = Reader(written(found))
    known = {"html", "head", "body", "main", "nav", "svg", "table", "article", "title"}
    assert known <= {tag for tag, _ in reader.tags}
    assert {tag for tag, _ in reader.tags} <= ALLOWED


ALLOWED = {
    "html", "head", "meta", "title", "style", "body", "div", "nav", "ol", "ul", "li", "a", "main",
    "header", "h1", "h2", "h3", "h4", "p", "section", "footer", "span", "b", "i", "br", "small",
    "table", "thead", "tbody", "tr", "th", "td", "article", "code", "figure", "figcaption", "svg",
    "line", "text", "polyline", "circle", "rect", "details", "summary", "dl", "dt", "dd", "label",
    "input", "img",
}  # fmt: skip


def evaluation_with(text: str) -> Evaluation:
    if not hasattr(evaluation_with, "base"):
        evaluation_with.base = evaluation()  # type: ignore[attr-defined]
    found: Evaluation = evaluation_with.base  # type: ignore[attr-defined]
    labelled: LabelledSet = replace(found.labelled, left_out=(LeftOut(file=text, reason=text),))
    first, second = found.categories
    named = replace(
        first,
        category=replace(first.category, title=text),
        misses=tuple(replace(one, file=text) for one in first.misses),
    )
    tables = tuple(
        replace(table, column=text, rows=tuple(replace(row, value=text) for row in table.rows))
        for table in found.slices.tables
    )
    return replace(
        found,
        labelled=labelled,
        categories=(named, second),
        slices=replace(found.slices, tables=tables, notes=(text,)),
        notes=(text,),
    )


def test_each_category_has_its_card_and_its_place_in_the_contents() -> None:
    found = evaluation()
    html = written(found)
    reader = Reader(html)
    ids = [a["id"] for _, a in reader.tags if "id" in a]
    assert len(ids) == len(set(ids))
    links = {(a["href"] or "")[1:] for t, a in reader.tags if t == "a"}
    assert links <= set(ids)
    assert {"category-weapons", "category-death", "comparison-pooling", "slices"} <= links
    death = html.partition('id="category-death"')[2].partition("</article>")[0]
    assert "label 9 more that show it" in death
    assert "<svg" not in death
    weapons = html.partition('id="category-weapons"')[2].partition("</article>")[0]
    assert weapons.count("<svg") == 3
    assert weapons.count('class="limit"') == 2
    assert "If one upload in" in weapons


def test_light_dark_and_print_are_styled() -> None:
    html = written(evaluation())
    assert "prefers-color-scheme: dark" in html
    assert "@media print" in html


def test_an_odd_category_still_has_a_card() -> None:
    """Cosines, no thresholds, all scores alike."""
    labelled = labelled_set(at_angles([40.0] * 40), {"weapons": [1, 0] * 20})
    for changes in ({"method": Method.COSINE}, {"thresholds": Thresholds(review_at=None)}):
        found = evaluate(
            angle_policy(angle_category(**changes)), labelled, model="m", resampling=QUICK
        )
        assert 'id="category-weapons"' in written(found)


# --- thumbnails ---------------------------------------------------------------------------------


def shown(thumbnail: Thumbnail) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(thumbnail.data)).convert("RGB"), dtype=np.float64)


def test_a_blurred_thumbnail_holds_no_detail() -> None:
    """A board of one-pixel squares is all grey, and half a picture moved within a cell is too."""
    board = (np.indices((96, 96)).sum(axis=0) % 2 * 255).astype(np.uint8)
    pixels = np.stack([board] * 3, axis=2)
    assert shown(make(pixels, Thumbnails.BLURRED)).std() < 3
    assert make(pixels, Thumbnails.BLURRED).covered is False
    sharp = make(np.kron(pixels[:8, :8], np.ones((18, 18, 1), np.uint8)), Thumbnails.REVEAL)
    assert sharp.covered is True
    assert shown(sharp).std() > 60
    assert shown(sharp).shape == (SIDE, SIDE, 3)


def test_a_covered_thumbnail_opens_without_a_script() -> None:
    thumbnail = make(np.zeros((8, 8, 3), dtype=np.uint8), Thumbnails.REVEAL)
    html = thumbnail.html(EVIL)
    assert '<input type="checkbox"' in html
    assert "<script" not in html
    data = re.search(r"base64,([^\"]+)", html)
    assert data is not None
    assert base64.b64decode(data[1]) == thumbnail.data


def test_thumbnails_are_of_the_view_that_decided_and_a_changed_file_has_none(
    tmp_path: Path,
) -> None:
    import hashlib

    Image.new("RGB", (120, 60), (255, 0, 0)).save(tmp_path / "red.png")
    wide = Image.new("RGB", (120, 60), (255, 0, 0))
    wide.paste((0, 0, 255), (60, 0, 120, 60))
    wide.save(tmp_path / "wide.png")
    digests = [
        hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()
        for name in ("red.png", "wide.png")
    ]
    tiles = labelled_set(at_angles([1] * 4), {"w": [1, 1]}, views=[[], []], sha256=digests)
    tiles = replace(
        tiles, files=("red.png", "wide.png"), image_of=np.array([0, 0, 1, 1]), views=tiles.views
    )
    (tmp_path / "red.png").write_bytes(b"another")

    def find(kind: Thumbnails) -> dict[int, Thumbnail]:
        return thumbnails_of(
            tiles, [0, 3], images=tmp_path, preprocessing=Preprocessing(size=32),
            plan=ViewPlan(), kind=kind,
        )  # fmt: skip

    found = find(Thumbnails.REVEAL)
    assert set(found) == {3}
    assert shown(found[3]).mean(axis=(0, 1)) == pytest.approx((0, 0, 255), abs=8)
    assert find(Thumbnails.NONE) == {}


def test_the_command_writes_the_page(tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    given = ["--labels", str(DEMO_IMAGES / "labels.csv"), "--images", str(DEMO_IMAGES)]
    assert main(["evaluate", *given, "--no-cache", "--html", str(out)]) == 0
    html = out.read_text(encoding="utf-8")
    Reader(html)
    assert "How the policy “demo” does" in html
    assert html.count('class="notice"') == 6  # no category of the demo pictures has ten


# --- numbers and drawings -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("share", "text"),
    [(0, "0 %"), (1, "100 %"), (0.848, "84.8 %"), (0.0432, "4.3 %"), (0.00517, "0.52 %"),
     (0.99634, "99.63 %"), (0.00001, "<0.01 %")],
)  # fmt: skip
def test_shares_have_the_digits_they_deserve(share: float, text: str) -> None:
    assert numbers.percent(share).replace(numbers.THIN, " ") == text


def test_differences_have_a_sign_and_nothing_is_nothing() -> None:
    assert [numbers.signed(v) for v in (0.105, -0.0004, 0.0, -0.02)] == ["+.105", "0", "0", "−.020"]
    assert [numbers.points(v) for v in (0.0123, -0.0047, 0.00001)] == ["+1.2", "−0.47", "0"]
    assert numbers.index(1.0) == "1.000"
    assert numbers.log_odds(-1.5) == "−1.50"


@settings(deadline=None)
@given(
    st.lists(st.floats(-30, 30), max_size=20),
    st.lists(st.floats(-30, 30), min_size=1, max_size=20),
    st.lists(st.floats(-40, 40), max_size=2),
)
def test_a_histogram_of_anything_stays_in_its_frame(
    above: list[float], below: list[float], limits: list[float]
) -> None:
    svg = plots.two_histograms(
        np.array(above), np.array(below), names=("a", "b"),
        limits=[plots.Limit(at=at, name="x") for at in limits], label="l",
    )  # fmt: skip
    places = [float(x) for x in re.findall(r' (?:x|x1|x2)="([-\d.]+)"', svg)]
    assert min(places) >= 0
    assert max(places) <= 660
    (height,) = (float(found) for found in re.findall(r'viewBox="0 0 660 ([\d.]+)"', svg))
    lines = [float(y) for y in re.findall(r'<text[^>]* y="([-\d.]+)"', svg)]
    assert max(lines) + 4 <= height  # what hangs below a line of text is not cut off
    counted = sum(int(n) for n in re.findall(r"<title>[ab]: (\d+) ", svg))
    assert counted == len(above) + len(below)


def test_a_chart_places_points_by_its_axes() -> None:
    log = Axis(low=0.01, high=1.0, ticks=[(0.1, "10")], label="x", log=True)
    assert [log.at(v) for v in (0.0, 0.01, 0.1, 1.0, 5.0)] == pytest.approx([0, 0, 0.5, 1, 1])
    svg = Chart(
        x=log,
        y=share_axis("y"),
        about="a <b>",
        lines=[Line(points=[(0.01, 0.0), (1.0, 1.0)])],
        marks=[Mark(x=0.1, y=0.5, label="here", about="<i>", low=0.25, high=0.75)],
    ).svg()
    assert 'points="44,220 298,10"' in svg
    assert 'cx="171" cy="115"' in svg
    assert "&lt;i&gt;" in svg
    assert "a &lt;b&gt;" in svg


def test_a_forest_does_not_magnify_next_to_nothing() -> None:
    small = Figure(value=0.0001, low=0.00005, high=0.0002)
    svg = plots.forest([("x", small, "0")], label="l", least=0.02)
    mark = float(re.findall(r'cx="([\d.]+)"', svg)[0])
    assert abs(mark - (140 + (660 - 290) / 2)) < 3
