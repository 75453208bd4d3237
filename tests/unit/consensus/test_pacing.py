"""Patience grows with each deadline that passes, up to a bound, and is gone once something is final."""

from p2pledger.chain.genesis import LAN
from p2pledger.consensus.pacing import DELTA_GROWTH_MAX, Pacing
from p2pledger.types import Millis


def test_patience_grows_by_half_up_to_eight_times_its_base() -> None:
    pacing = Pacing(LAN, Millis(0))
    seen = []
    for _ in range(20):
        pacing.lapse(Millis(0))
        seen.append(pacing.delta_ms)
    assert seen[:3] == [150, 225, 338]
    assert seen[-1] == DELTA_GROWTH_MAX * LAN.delta_ms == 800
    assert seen == sorted(seen)


def test_it_is_gone_once_something_is_final() -> None:
    pacing = Pacing(LAN, Millis(0))
    pacing.lapse(Millis(0))
    pacing.calm()
    assert pacing.delta_ms == LAN.delta_ms


def test_whoever_was_silent_is_heard_anew() -> None:
    pacing = Pacing(LAN, Millis(0))
    assert pacing.hear(1, Millis(10))
    assert not pacing.hear(1, Millis(20))
    assert pacing.hear(1, Millis(21 + LAN.leader_silence_ms))
