"""An evaluation as the sections of a report. Further sections are added behind these."""

from __future__ import annotations

from imagesieve_server.offline.evaluation import as_json, as_text
from imagesieve_server.offline.evaluation.results import Evaluation
from imagesieve_server.offline.report.section import Section


def sections(evaluation: Evaluation) -> list[Section]:
    """The parts in reading order."""
    found = [
        Section(
            id="verdicts",
            title="In short",
            text="\n\n".join([as_text.summary(evaluation), as_text.verdicts(evaluation)]),
            data=as_json.verdicts(evaluation.verdicts),
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
            entries=[
                (f"category-{c.category.id}", c.category.title) for c in evaluation.categories
            ],
        ),
        Section(
            id="slices",
            title="Slices",
            text=as_text.slices(evaluation),
            data=as_json.slices(evaluation.slices),
        ),
    ]
    if evaluation.comparisons:
        found.append(
            Section(
                id="comparisons",
                title="What the policy's choices are worth",
                text="\n\n".join(map(as_text.comparison, evaluation.comparisons)),
                data=[as_json.comparison(one) for one in evaluation.comparisons],
                entries=[(f"comparison-{c.id}", c.question) for c in evaluation.comparisons],
            )
        )
    return found
