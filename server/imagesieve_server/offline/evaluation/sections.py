"""An evaluation as the sections of a report. Further sections are added behind these."""

from __future__ import annotations

from collections.abc import Mapping

from imagesieve_server.offline.evaluation import as_html, as_json, as_text, html_categories
from imagesieve_server.offline.evaluation.results import Evaluation
from imagesieve_server.offline.report.section import Section
from imagesieve_server.offline.report.thumbnails import Thumbnail


def sections(
    evaluation: Evaluation, thumbnails: Mapping[int, Thumbnail] | None = None
) -> list[Section]:
    """The parts in reading order. ``thumbnails`` are of views, by their number in the set."""
    found = [
        Section(
            id="verdicts",
            title="In short",
            text="\n\n".join([as_text.summary(evaluation), as_text.verdicts(evaluation)]),
            data=as_json.verdicts(evaluation.verdicts),
            html=lambda: as_html.summary(evaluation),
        ),
        Section(
            id="categories",
            title="Categories",
            text="\n\n".join(
                part
                for part in (as_text.figures(evaluation), as_text.thresholds(evaluation))
                if part
            ),
            data=[as_json.category(one) for one in evaluation.categories],
            html=lambda: html_categories.categories(evaluation, thumbnails or {}),
            entries=[
                (f"category-{c.category.id}", c.category.title) for c in evaluation.categories
            ],
        ),
        Section(
            id="slices",
            title="Slices",
            text=as_text.slices(evaluation),
            data=as_json.slices(evaluation.slices),
            html=lambda: as_html.slices(evaluation),
        ),
    ]
    if evaluation.comparisons:
        found.append(
            Section(
                id="comparisons",
                title="What the policy's choices are worth",
                text="\n\n".join(map(as_text.comparison, evaluation.comparisons)),
                data=[as_json.comparison(one) for one in evaluation.comparisons],
                html=lambda: as_html.comparisons(evaluation),
                entries=[(f"comparison-{c.id}", c.question) for c in evaluation.comparisons],
            )
        )
    return found
