"""What a limit allows after what was used."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notify.domain.limit import Allowance, Usage, allowance, bulk_limit

LIMITS = st.integers(min_value=0, max_value=100_000)
COUNTS = st.integers(min_value=0, max_value=200_000)


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    """Bulk is part of the total."""
    total = draw(COUNTS)
    return Usage(total, draw(st.integers(min_value=0, max_value=total)))


@given(LIMITS, usages())
def test_never_beyond_the_limit(limit: int, usage: Usage) -> None:
    """What was used and what is allowed never exceed the limit together, unless it was lowered meanwhile."""
    allowed = allowance(limit, usage)
    assert allowed.total is not None
    assert allowed.total >= 0
    assert usage.total + allowed.total == max(limit, usage.total)


@given(LIMITS, usages())
def test_bulk_never_beyond_its_share(limit: int, usage: Usage) -> None:
    """Bulk gets at most 80 % of the slots, rounded down, and never more than is left of all."""
    allowed = allowance(limit, usage)
    assert allowed.bulk is not None
    assert allowed.total is not None
    assert 0 <= allowed.bulk <= allowed.total
    assert allowed.bulk == 0 or (usage.bulk + allowed.bulk) * 10 <= max(limit * 8, 10)


@given(st.integers(min_value=1, max_value=100_000))
def test_share_is_exact(limit: int) -> None:
    """The share is 80 % rounded down for every limit, whatever binary fractions make of it."""
    assert bulk_limit(limit) == max(1, limit * 8 // 10)


@given(st.integers(min_value=2, max_value=100_000))
def test_bulk_leaves_room(limit: int) -> None:
    """However much bulk there is, a normal message still finds a slot."""
    share = bulk_limit(limit)
    remaining = allowance(limit, Usage(total=share, bulk=share))
    assert remaining.bulk == 0
    assert remaining.total == limit - share > 0


def test_limit_of_one_does_not_hold_bulk_for_ever() -> None:
    """With one slot an hour, bulk may use it."""
    assert allowance(1, Usage(0, 0)) == Allowance(1, 1)


@given(usages())
def test_no_slots_hold_everything(usage: Usage) -> None:
    """A pool without slots allows nothing, bulk or not."""
    assert allowance(0, usage) == Allowance(0, 0)


@given(st.integers(max_value=-1), usages(), COUNTS, st.booleans())
def test_negative_is_no_limit(limit: int, usage: Usage, wanted: int, bulk: bool) -> None:
    """A negative number of slots caps nothing, however much is taken."""
    allowed = allowance(limit, usage)
    assert allowed == Allowance(None, None)
    assert allowed.cap(wanted, bulk=bulk) == wanted
    assert allowed.less(wanted) == allowed


@given(LIMITS, usages(), COUNTS, st.booleans())
def test_cap_is_the_smaller(limit: int, usage: Usage, wanted: int, bulk: bool) -> None:
    """A cap is what is wanted or what is allowed, whichever is less."""
    allowed = allowance(limit, usage)
    assert allowed.cap(wanted, bulk=bulk) == min(wanted, allowed.bulk if bulk else allowed.total)


@given(LIMITS, usages(), st.data())
def test_one_claim_of_both_kinds(limit: int, usage: Usage, data: st.DataObject) -> None:
    """Normal messages first and bulk from what remains: together they stay within the limit and the share."""
    allowed = allowance(limit, usage)
    normal = allowed.cap(data.draw(COUNTS), bulk=False)
    bulk = allowed.less(normal).cap(data.draw(COUNTS), bulk=True)
    assert usage.total + normal + bulk <= max(limit, usage.total)
    assert bulk == 0 or usage.bulk + bulk <= bulk_limit(limit)


@pytest.mark.parametrize(("limit", "share"), [(-1, 0), (0, 0), (1, 1), (5, 4), (10, 8), (100, 80), (999, 799)])
def test_share_of_limits(limit: int, share: int) -> None:
    """The share of some limits, spelt out."""
    assert bulk_limit(limit) == share
