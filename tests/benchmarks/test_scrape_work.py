"""A scrape writes what moved since the last one and no more: counted by numbers written, and by calls."""

import sys
from collections.abc import Callable
from types import FrameType

import pytest
from p2pledger.metrics import Metrics
from p2pledger.metrics.exposition import Exposition
from p2pledger.metrics.labels import Labelled
from prometheus_client import Counter, Gauge
from prometheus_client.utils import floatToGoString
from tests.benchmarks.counted import calls

MOVES: dict[str, tuple[Callable[[Metrics], object], int]] = {
    "nothing": (lambda metrics: None, 0),
    "a gauge is set to what it was": (lambda metrics: metrics.chain_height.set(0), 0),
    "a gauge": (lambda metrics: metrics.chain_height.set(8), 1),
    "one series of a family": (lambda metrics: metrics.p2p_bytes_total.at("inbound", "gossip").inc(9), 1),
    "two families": (lambda metrics: (metrics.chain_height.set(9), metrics.chain_finalized_height.set(1)), 2),
}
"""What happens between two scrapes, and how many values move by it."""


@pytest.fixture
def metrics() -> Metrics:
    """A node's series, as many as of a ledger of ten authorities."""
    return Metrics(
        version="1",
        chain_id="city",
        node="north",
        authorities=[f"authority-{number}" for number in range(10)],
        kinds=[f"kind.{number}" for number in range(40)],
        codes=[f"code_{number}" for number in range(120)],
        routes=["/v1/status", "/v1/transactions"],
    )


def formatted(work: Callable[[], object]) -> int:
    """How many numbers `work` writes as text."""
    counted, code = 0, floatToGoString.__code__

    def note(frame: FrameType, event: str, argument: object) -> None:
        nonlocal counted
        counted += event == "call" and frame.f_code is code

    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
    return counted


def told_anew(text: bytes) -> int:
    """Series that are written at each scrape: of the process, Python, the build, and the time of scrapes."""
    always = ("process_", "python_", "p2pledger_build_info")
    lines = [line for line in text.decode().splitlines() if not line.startswith("#")]
    return sum(line.startswith(always) or 'stage="scrape"' in line for line in lines)


@pytest.mark.parametrize("what", MOVES)
def test_a_second_scrape_writes_what_moved(metrics: Metrics, what: str) -> None:
    exposition = metrics.exposition()
    at_first = formatted(exposition.render)
    assert at_first > 400 and formatted(exposition.render) == told_anew(exposition.render())
    move, moved = MOVES[what]
    move(metrics)
    assert formatted(exposition.render) == told_anew(exposition.render()) + moved


def test_an_observation_writes_its_own_histogram(metrics: Metrics) -> None:
    exposition = metrics.exposition()
    head = b"\np2pledger_finality_latency_seconds_"
    lines = exposition.render().count(head)
    metrics.finality_latency_seconds.observe(0.3)
    assert formatted(exposition.render) == told_anew(exposition.render()) + lines
    assert lines == exposition.render().count(head) > 10


def test_a_series_that_comes_writes_its_own_family() -> None:
    guests = Labelled(Gauge("guests", "Who is there.", ["name"], registry=None), ())
    others = Labelled(
        Counter("others", "And `other`.", ["name"], registry=None), [str(n) for n in range(100)]
    )
    exposition = Exposition([guests, others], [])
    assert formatted(exposition.render) == 101
    guests.rename(["one", "two"])
    assert [formatted(exposition.render) for _ in range(2)] == [2, 0]


def test_where_nothing_moved_a_thousand_series_cost_no_more_calls_than_one() -> None:
    costs = []
    for number in (1, 1_000):
        names = [str(n) for n in range(number)]
        exposition = Exposition([Labelled(Gauge("many", "Many.", ["name"], registry=None), names)], [])
        exposition.render()
        costs.append(calls(exposition.render))
    assert costs[0] == costs[1] < 20
