"""What words on an item say about how well people decide, and how it is counted."""

from __future__ import annotations

import dataclasses

from imagesieve_server.core.agreement import Table
from imagesieve_server.core.quality import Case, Fact, GoldenAnswer, Judged, Pair, Said, facts_of
from imagesieve_server.core.quality_report import MIN_COUNT, MIN_PAIRS, Counts, QualityTally
from imagesieve_server.core.review import Cause, Outcome

APPROVE, REJECT, ESCALATE = Outcome.APPROVE, Outcome.REJECT, Outcome.ESCALATE


def word(name: str, outcome: Outcome, **fields: object) -> Said:
    plain = Said(
        decision_id=name, reviewer=name, round=1, tier=1, outcome=outcome, cause=Cause.DECIDE,
        effective=True, supersedes="", decided_at=0.0,
    )  # fmt: skip
    return dataclasses.replace(plain, **fields)  # type: ignore[arg-type]


def first(name: str, outcome: Outcome, **fields: object) -> Said:
    return word(name, outcome, cause=Cause.REVIEW_AGAIN, effective=False, **fields)


def case(*said: Said, **fields: object) -> Case:
    plain = Case(category="red", round=1, said=said)
    return dataclasses.replace(plain, **fields)  # type: ignore[arg-type]


def facts(found: Case) -> list[Fact]:
    return [fact for said in found.said for fact in facts_of(found, said.decision_id)]


def pair(first_rejects: bool, second_rejects: bool) -> Pair:
    return Pair(
        category="red", first="ann", second="ben", first_rejects=first_rejects,
        second_rejects=second_rejects,
    )  # fmt: skip


def judged(*names: str, contested: bool = False, overturned: bool = False) -> Judged:
    return Judged(category="red", reviewers=names, contested=contested, overturned=overturned)


def test_two_words_of_one_round_are_a_pair_and_a_decision_of_both() -> None:
    agreed = case(first("ann", REJECT), word("ben", REJECT))
    assert facts(agreed) == [pair(True, True), judged("ann", "ben")]


def test_a_difference_is_a_pair_and_the_leads_word_alone_takes_effect() -> None:
    differ = word("ben", APPROVE, cause=Cause.ESCALATE, effective=False)
    lead = word("lea", APPROVE, tier=2)
    assert facts(case(first("ann", REJECT), differ, lead)) == [pair(True, False), judged("lea")]


def test_words_on_what_was_contested_are_no_pair() -> None:
    """Both people saw what was said before, and no draw chose the item."""
    appealed = case(
        word("cat", REJECT), first("ann", REJECT, round=2), word("ben", REJECT, round=2), round=2
    )
    assert facts(appealed) == [judged("cat"), judged("ann", "ben")]


def test_who_escalates_says_neither_yes_nor_no() -> None:
    passed = word("ben", ESCALATE, cause=Cause.ESCALATE, effective=False)
    assert facts(case(first("ann", REJECT), passed)) == []
    assert facts(case(word("ann", ESCALATE, cause=Cause.ESCALATE, effective=False))) == []


def test_a_third_word_makes_no_second_pair() -> None:
    three = case(first("ann", REJECT), first("ben", REJECT), word("cat", REJECT))
    assert facts(three) == [pair(True, True), judged("ann", "ben", "cat")]


def test_what_another_persons_later_decision_reverses_is_overturned() -> None:
    for outcome, overturned in ((APPROVE, True), (REJECT, False)):
        later = word("ben", outcome, round=2, supersedes="ann")
        found = facts(case(word("ann", REJECT), later, round=2))
        assert found == [judged("ann", contested=True, overturned=overturned), judged("ben")]


def test_what_one_says_oneself_again_is_not_overturned_nor_is_an_erasure() -> None:
    again = word("a2", APPROVE, reviewer="ann", round=2, supersedes="ann")
    erased = word("law", REJECT, cause=Cause.LEGAL_DELETE, round=2, supersedes="ann")
    for later in (again, erased):
        found = facts(case(word("ann", APPROVE), later, round=2))
        assert found[0] == judged("ann")


def test_decisions_that_nobody_spoke_in_hand_are_nobodys() -> None:
    for cause in (Cause.FOLLOW, Cause.REUSE_DECISION, Cause.LEGAL_DELETE):
        assert facts(case(word("ann", REJECT, cause=cause))) == []


def test_a_known_answer_is_compared_and_makes_neither_pair_nor_decision() -> None:
    for outcome, right in ((REJECT, True), (APPROVE, False)):
        found = facts(case(word("ann", outcome), known=REJECT))
        assert found == [GoldenAnswer(category="red", reviewer="ann", right=right)]
    passed = word("ann", ESCALATE, cause=Cause.ESCALATE, effective=False)
    assert facts(case(passed, known=REJECT)) == [
        GoldenAnswer(category="red", reviewer="ann", right=None)
    ]


def test_an_answer_that_was_taken_back_does_not_count() -> None:
    again = word("a2", REJECT, reviewer="ann", round=2, supersedes="ann")
    found = facts(case(word("ann", APPROVE), again, round=2, known=REJECT))
    assert found == [GoldenAnswer(category="red", reviewer="ann", right=True)]


def test_facts_are_counted_for_all_for_the_category_and_for_each_person() -> None:
    tally = QualityTally()
    for fact in (
        pair(True, False),
        judged("ann", "ben", contested=True, overturned=True),
        GoldenAnswer(category="blue", reviewer="ann", right=True),
        GoldenAnswer(category="blue", reviewer="ann", right=None),
    ):
        tally.add(fact)
    report = tally.report(since=0.0, until=1.0)
    assert report.total == Counts(
        table=Table(only_first=1), golden=1, golden_right=1, golden_passed=1, decisions=1,
        contested=1, overturned=1,
    )  # fmt: skip
    assert list(report.categories) == ["blue", "red"]
    assert report.reviewers["ann"].table == Table(only_first=1), "ann is stricter"
    assert report.reviewers["ben"].table == Table(only_second=1)
    assert report.reviewers["ben"].golden == 0


def test_too_few_give_no_figure() -> None:
    few = Counts(
        table=Table(both_reject=MIN_PAIRS - 2, neither=1), golden=MIN_COUNT - 1,
        golden_right=MIN_COUNT - 1, decisions=MIN_COUNT - 1,
    )  # fmt: skip
    assert (few.agreement, few.kappa, few.golden_accuracy, few.overturn_rate) == (None,) * 4
    enough = Counts(
        table=Table(both_reject=MIN_PAIRS - 1, neither=1), golden=MIN_COUNT,
        golden_right=MIN_COUNT, decisions=MIN_COUNT,
    )  # fmt: skip
    assert enough.kappa is not None
    assert enough.agreement is not None
    assert enough.golden_accuracy is not None
    assert enough.golden_accuracy.low < 0.84, "twenty of twenty prove no more than that"
    assert enough.overturn_rate is not None
    assert enough.overturn_rate.value == 0.0
