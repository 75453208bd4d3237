"""When the city's ledger begins: early enough that last month and last week can be rewarded."""

from hypothesis import given
from hypothesis import strategies as st
from p2pledger.chain.period import Period, period_at
from p2pledger.node.config import CLOCK_OFFSET_MS_MAX
from p2pledger.testnet.city.cast import ORGANISATIONS, OWNERS, charter, eve_of
from p2pledger.types import Millis

DAY_MS = 86_400_000


@given(st.integers(365 * DAY_MS, 2**43))
def test_last_week_and_last_month_begin_after_the_eve(now_ms: int) -> None:
    now, eve = Millis(now_ms), eve_of(Millis(now_ms))
    for period in Period:
        # A minute of deciding later it is the same period still.
        assert period_at(period, now) - 1 > period_at(period, Millis(eve + 60_000))
    assert now - eve < CLOCK_OFFSET_MS_MAX


def test_eight_organisations_of_which_the_charter_knows_all_but_the_one_that_is_registered() -> None:
    made = charter(Millis(1_800_000_000_000))
    assert len(ORGANISATIONS) == 8 and set(OWNERS.values()) <= set(ORGANISATIONS)
    assert {*made.owners.values(), *made.others} == set(made.kinds)
    assert set(ORGANISATIONS) - set(made.kinds) == {"vehicle-maker"}
