"""Every series on real nodes: there with its type and labels, at 0 before, and fed by what should feed it.

The list is the table of docs/OPERATIONS.md, which is held against the source. What cannot come about on a
sound network in a minute is shown by the test that is named.
"""

import math
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpx
import pytest
import trio
from libp2p.exceptions import BaseLibp2pError
from p2pledger.network.seam import PeerAddress
from p2pledger.testnet.fault import Kind
from p2pledger.types import PeerId
from prometheus_client.parser import text_string_to_metric_families
from tests.collecting import Collector, collecting, said
from tests.faults.fleet import Troubled, troubled, until, with_parameters
from tests.faults.history import History
from tests.faults.load import load
from tests.net.attackers import attacker_at

ROOT = Path(__file__).resolve().parents[2]
EPOCH_BLOCKS = 20
WRONG_BY_MS = 400
"""Less than a header may be ahead: the node goes on, and only its figure tells."""

SHOWN_ELSEWHERE = {
    "access_total": "tests/unit/node/test_census.py",
    "chain_conflicting_finality_total": "tests/unit/node/test_pool.py",
    "consent_erasures_open": "tests/unit/node/test_census.py",
    "custody_discrepancies_open": "tests/unit/node/test_census.py",
    "divergence_total": "tests/unit/node/test_loop.py",
    "governance_proposals_open": "tests/unit/node/test_census.py",
    "log_suppressed_total": "tests/unit/node/test_logs.py",
    "programs_points_total": "tests/unit/node/test_census.py",
    "signer_refusals_total": "tests/unit/node/test_loop.py",
    "store_pruned_height": "tests/net/test_pruning.py",
}


@pytest.fixture
def tmp_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """By a short name: a path to the socket has 107 bytes at most."""
    return tmp_path_factory.mktemp("s")


def table() -> dict[str, tuple[str, set[str]]]:
    """Type and labels of each series, as they are documented."""
    rows = re.findall(
        r"^\| `(\w+)` \| (info|gauge|counter|histogram) \| ([\w, ]*?) ?\| ",
        (ROOT / "docs" / "OPERATIONS.md").read_text().partition("\n## Metrics\n")[2],
        re.MULTILINE,
    )
    return {
        name: (kind, {label.strip() for label in labels.split(",")} - {""}) for name, kind, labels in rows
    }


MOMENTARY = {"consensus_evidence_pending"}
"""What is recorded in the next block is pending for less time than passes between two looks."""

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


class Exported:
    """What one node answers to a scrape."""

    def __init__(self, text: str) -> None:
        families = list(text_string_to_metric_families(text))
        self.kinds: dict[str, str] = {}
        self.samples: Samples = {}
        for family in families:
            name = family.name.removeprefix("p2pledger_") + ("_total" if family.type == "counter" else "")
            self.kinds[name] = family.type
            for sample in family.samples:
                labels = frozenset(sample.labels.items())
                self.samples[sample.name.removeprefix("p2pledger_"), labels] = sample.value

    def of(self, series: str) -> Samples:
        """A family's samples; of a histogram how many were observed, by labels."""
        name = f"{series}_count" if self.kinds[series] == "histogram" else series
        return {key: value for key, value in self.samples.items() if key[0] == name}

    def value(self, series: str, **labels: str) -> float:
        """The sum of a family's samples that have these labels."""
        wanted = set(labels.items())
        return sum(value for (_, found), value in self.of(series).items() if wanted <= found)


async def scraped(fleet: Troubled, name: str) -> Exported:
    return Exported((await fleet._http.get(fleet.nodes[name].metrics_url)).text)


class Watch:
    """Remembers of every series what was seen of it that is not 0, on any node."""

    def __init__(self, fleet: Troubled) -> None:
        self._fleet = fleet
        self.fed: set[str] = set()

    async def look(self) -> None:
        for name in self._fleet.nodes:
            if self._fleet.is_alive(name):
                try:
                    exported = await scraped(self._fleet, name)
                except httpx.TransportError:  # it is paused, or on its way up or down
                    continue
                self.fed |= {series for series in table() if any(exported.of(series).values())}

    async def keep_looking(self) -> None:
        while True:
            await self.look()
            await trio.sleep(0.5)

    async def until_fed(self, *series: str) -> None:
        try:
            await until(lambda: _is(set(series) <= self.fed))
        except trio.TooSlowError:
            pytest.fail(f"never fed: {set(series) - self.fed}")


async def _is(so: bool) -> bool:
    return so


@asynccontextmanager
async def watched(path: Path) -> AsyncIterator[tuple[Troubled, Watch]]:
    change = with_parameters(epoch_blocks=EPOCH_BLOCKS, idle_interval_ms=1_000)
    async with troubled(path / "net", change) as fleet, trio.open_nursery() as nursery:
        watch = Watch(fleet)
        for name in fleet.nodes:
            check_table(await scraped(fleet, name))
        nursery.start_soon(watch.keep_looking)
        async with load(fleet, History()):
            yield fleet, watch
        nursery.cancel_scope.cancel()


def check_table(exported: Exported) -> None:
    """Every series is there with its type, its labels, and a value for what has not happened yet."""
    documented = table()
    assert len(documented) > 60
    foreign = ("process_", "python_")
    assert {name for name in exported.kinds if not name.startswith(foreign)} == documented.keys()
    for name, (kind, labels) in documented.items():
        assert exported.kinds[name] == {"info": "gauge"}.get(kind, kind), name
        found = exported.of(name)
        assert found, f"{name} is not there before something happened"
        for _, one in found:
            assert {label for label, _ in one} == labels, name
    for never in ("consensus_equivocations_total", "p2p_peers_banned_total", "divergence_total"):
        assert set(exported.of(never).values()) == {0.0}, never


async def test_every_series_is_there_and_fed_by_what_should_feed_it_and_spans_arrive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with collecting() as collector:
        monkeypatch.setenv("P2PLEDGER_TRACES_ENDPOINT", collector.url)
        monkeypatch.setenv("P2PLEDGER_TRACES_ONE_IN", "1")
        await every_series(tmp_path)
    check_traces(collector)


def check_traces(collector: Collector) -> None:
    """A transaction's trace has its id and the height, and a block's trace has spans of all nodes."""
    final = [said(span) for span in collector.named("transaction") if "p2pledger.block.height" in said(span)]
    assert len(final) > 50
    blocks: dict[bytes, set[str]] = {}
    heights: dict[bytes, object] = {}
    for sender, span in collector.sent_by:
        if span.name == "block":
            blocks.setdefault(span.trace_id, set()).add(sender)
            heights[span.trace_id] = said(span)["p2pledger.block.height"]
            assert "block.commit" in collector.parts_of(span)
    assert {one["p2pledger.block.height"] for one in final} <= set(heights.values())
    assert max(map(len, blocks.values())) >= 5, "all nodes tell of one block under one trace id"
    assert collector.named("block.propose") and collector.named("block.execute")


async def every_series(path: Path) -> None:
    async with watched(path) as (fleet, watch):
        own = set(table()) - SHOWN_ELSEWHERE.keys() - MOMENTARY - {"build_info"}
        by_faults = {
            "consensus_proposals_missed_total", "consensus_views_skipped_total", "consensus_trouble",
            "consensus_equivocations_total", "consensus_evidence_recorded_total",
            "gossip_queue_drops_total", "p2p_peers_banned_total", "api_subscribers",
        }  # fmt: skip
        await allocators(fleet)
        async with events(fleet, "gateway-1"):
            await watch.until_fed("api_subscribers")
        await watch.until_fed(*(own - by_faults))
        await clock_that_is_wrong(fleet)
        await stranger(fleet)
        await watch.until_fed("p2p_peers_banned_total")
        await two_dead_authorities(fleet)
        await watch.until_fed("consensus_proposals_missed_total", "consensus_views_skipped_total")
        await watch.until_fed("consensus_trouble", "gossip_queue_drops_total")
        await fleet.make(Kind.TWIN, "authority-2")
        await watch.until_fed("consensus_equivocations_total", "consensus_evidence_recorded_total")
        await fleet.make(Kind.HEAL)
        await fleet.until_ready()
        await restarted(fleet)
    assert own <= watch.fed


def test_what_is_shown_elsewhere_is_shown_there() -> None:
    assert SHOWN_ELSEWHERE.keys() <= table().keys()
    for series, path in SHOWN_ELSEWHERE.items():
        assert series in (ROOT / path).read_text(), (series, path)


@asynccontextmanager
async def events(fleet: Troubled, name: str) -> AsyncIterator[None]:
    """Somebody is told of each final block."""
    async with (
        httpx.AsyncClient(trust_env=False, timeout=60) as http,
        http.stream("GET", f"{fleet.nodes[name].http_url}/v1/events") as answer,
    ):
        assert answer.status_code == 200
        yield


async def allocators(fleet: Troubled) -> None:
    """Who carries the load has jemalloc; a gateway is to be small."""
    for name, allocator in (("authority-1", "jemalloc"), ("gateway-1", "pymalloc")):
        assert (await scraped(fleet, name)).value("build_info", allocator=allocator) == 1, name


async def clock_that_is_wrong(fleet: Troubled) -> None:
    """A node that is ahead says so, and what the others say hardly changes."""
    await fleet.make(Kind.CLOCK, "authority-3", ms=WRONG_BY_MS)
    await fleet.until_ready("authority-3")

    def ahead(name: str) -> Callable[[], Awaitable[bool]]:
        async def is_ahead() -> bool:
            offset_s = (await scraped(fleet, name)).value("clock_offset_seconds")
            return offset_s >= WRONG_BY_MS / 1_000

        return is_ahead

    await until(ahead("authority-3"))
    assert (await scraped(fleet, "authority-1")).value("clock_offset_seconds") < WRONG_BY_MS / 1_000
    await fleet.make(Kind.CLOCK, "authority-3", ms=0)
    await fleet.until_ready("authority-3")


async def stranger(fleet: Troubled) -> None:
    """One that is not on the ledger wants what it may not have."""
    peer = PeerId((await fleet.status("gateway-1"))["peer"])
    door = PeerAddress(peer, (fleet.nodes["gateway-1"].p2p,))
    async with attacker_at("stranger", door) as enemy:
        with suppress(BaseLibp2pError):
            await enemy.open("/ipfs/id/1.0.0")


async def two_dead_authorities(fleet: Troubled) -> None:
    """Nothing becomes final, and those that are left say so."""
    await fleet.make(Kind.KILL, "authority-1", "authority-4")

    async def is_in_trouble() -> bool:
        return (await scraped(fleet, "authority-2")).value("consensus_trouble", cause="no_quorum_heard") == 1

    await until(is_in_trouble)
    assert (await scraped(fleet, "authority-2")).value("p2p_dials_total", result="error") > 0
    await fleet.make(Kind.RESTART, "authority-1", "authority-4")
    await fleet.until_ready()


async def restarted(fleet: Troubled) -> None:
    """What is a state is right at once after a restart, not only once the next block came."""
    height = await fleet.height("gateway-1")
    await fleet.make(Kind.RESTART, "gateway-1")
    await fleet.until_ready("gateway-1")

    async def is_counted() -> bool:
        """What is open is read out of the chain beside all else, and NaN until that is done."""
        return not math.isnan((await scraped(fleet, "gateway-1")).value("custody_discrepancies_open"))

    await until(is_counted)
    exported = await scraped(fleet, "gateway-1")
    assert exported.value("chain_finalized_height") >= height
    assert exported.value("chain_best_known_height") >= height
    assert exported.value("chain_head_timestamp_seconds") > 0
    assert exported.value("registry_gateways") == 1
    assert exported.value("custody_discrepancies_open") == 0
