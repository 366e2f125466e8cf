"""Which claims get a golden item: by chance, and by nothing that a caller may choose."""

from __future__ import annotations

from imagesieve_server.core import golden

KEY = bytes(32)


def drawn(*, item_id: str, claim_id: str = "c", share: float = 0.5) -> bool:
    return golden.is_drawn(
        key=KEY, tenant="t", reviewer="ann", claim_id=claim_id, item_id=item_id, share=share
    )


def test_a_claim_that_is_repeated_is_drawn_alike() -> None:
    assert len({drawn(item_id="i", claim_id="c") for _ in range(3)}) == 1


def test_a_claim_id_that_drew_nothing_is_drawn_anew_for_the_next_item() -> None:
    """Or a caller who found such a one would use no other."""
    results = [drawn(item_id=f"i{number}", claim_id="always the same") for number in range(400)]
    assert 150 < sum(results) < 250, "400 draws at 0.5: five standard deviations are 50"


def test_a_share_of_nothing_draws_nothing_and_of_all_draws_all() -> None:
    results = {share: {drawn(item_id=str(n), share=share) for n in range(50)} for share in (0, 1)}
    assert results == {0: {False}, 1: {True}}
