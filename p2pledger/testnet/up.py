"""`p2pledger testnet up`: makes a testnet or opens one, runs it, replays, judges, and cleans up. Floor 8.

Interrupted once (Ctrl-C, SIGTERM), it ends in order: nothing more is submitted, what is under way gets its
end, the nodes are compared, then stopped. Interrupted twice, it skips to the stopping.
"""

import json
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx
import trio
from rich.console import Console

from p2pledger.client import AsyncClient
from p2pledger.client.readings import ReadingsFile
from p2pledger.errors import Fatal
from p2pledger.signer.keyfile import KeyFileRefused
from p2pledger.testnet import control
from p2pledger.testnet.agreement import Agreement, agreement_of, heights_of
from p2pledger.testnet.directory import (
    Charter,
    Directory,
    NotATestnet,
    Plan,
    create_directory,
    find_plan,
    open_directory,
)
from p2pledger.testnet.display import ReplayDisplay, endpoint_table, sum_of
from p2pledger.testnet.faults import Faults
from p2pledger.testnet.link import ClientLink
from p2pledger.testnet.nodes import Nodes
from p2pledger.testnet.ports import NoPorts, claimed_ports
from p2pledger.testnet.processes import NodeDied
from p2pledger.testnet.proxy import Links, open_links
from p2pledger.testnet.replay import EnrolmentRefused, Replay
from p2pledger.testnet.sources import REPLAYS
from p2pledger.testnet.tally import Tally

AUTHORITIES = 4
GATEWAYS = 1
DISPLAY_S = 1.0
TRY_S = 0.2
REQUEST_S = 5.0


EXPECTED = (NotATestnet, NoPorts, NodeDied, EnrolmentRefused, KeyFileRefused, Fatal, control.NoTestnet)
"""What may keep a testnet from running, and says itself what to do."""


@dataclass(frozen=True)
class Options:
    """What was asked for on the command line; None where nothing was."""

    authorities: int | None
    gateways: int | None
    directory: Path | None
    replay: str
    rate: float
    duration_s: float | None
    is_json: bool
    has_faults: bool = False
    """Nodes reach each other through links that can be broken."""


@dataclass(frozen=True)
class Report:
    """What `--json` prints."""

    authorities: int
    gateways: int
    height: int
    agree: bool
    transactions_final: int
    transactions_refused: dict[str, int]
    readings_final: int
    latency_ms: dict[str, float | None]
    duration_s: float


def run(options: Options) -> int:
    """Run a testnet to its end and return the exit code: 0 when all nodes agree and something became final.

    Raises: those of EXPECTED.
    """
    console = Console(stderr=options.is_json)
    with opened(options, console) as directory:
        report = trio.run(Run(directory, options, console).run)
        if report is None:
            return 130  # interrupted before there was anything to judge
        if options.is_json:
            print(json.dumps(asdict(report)), flush=True)
        return 0 if report.agree and (report.transactions_final > 0 or options.replay == "none") else 1


@contextmanager
def opened(
    options: Options, console: Console, charter: Charter | None = None, newcomers_max: int = 0
) -> Iterator[Directory]:
    """The testnet's directory with its ports claimed; a temporary one is removed unless a node died.

    A testnet that is made here is made by `charter`, with ports for so many nodes that come later.
    """
    kept = options.directory
    path = Path(tempfile.mkdtemp(prefix=control.TEMPORARY)) if kept is None else kept.absolute()
    is_worth_a_look = False
    try:
        plan = find_plan(path)
        if plan is not None and plan.hosts is not None:
            raise NotATestnet(f"the nodes of {path} have a host each: choose another --dir")
        authorities = options.authorities or (plan.authorities if plan else AUTHORITIES)
        gateways = options.gateways or (plan.gateways if plan else GATEWAYS)
        if plan is not None and (plan.authorities, plan.gateways) != (authorities, gateways):
            raise NotATestnet(
                f"{path} has {plan.authorities} authorities and {plan.gateways} gateways: leave out"
                " --authorities and --gateways, or choose another --dir"
            )
        founders = authorities + gateways
        count = founders + (len(plan.newcomers) if plan is not None else newcomers_max)
        with claimed_ports(count, plan.base_port if plan else None) as ports:
            if plan is None:
                console.print(f"Making keys and a genesis file in {path} ...")
                yield create_directory(path, Plan(authorities, gateways, ports.base), charter)
            else:
                yield open_directory(path)
    except NodeDied:
        is_worth_a_look = True
        console.print(f"What is left of it: {path}")
        raise
    finally:
        if kept is None and not is_worth_a_look:
            shutil.rmtree(path, ignore_errors=True)


@asynccontextmanager
async def _links(options: Options) -> AsyncIterator[Links | None]:
    """What nodes reach each other through: each other's own ports, unless faults are wanted."""
    if not options.has_faults:
        yield None
        return
    async with open_links() as links:
        yield links


def foreseen_in(group: ExceptionGroup[Exception], kinds: tuple[type[Exception], ...]) -> Exception:
    """The one foreseen failure in a group that trio's nurseries made; else the group itself."""
    foreseen, others = group.split(kinds)
    if foreseen is None or others is not None:
        return group
    error: Exception = foreseen
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error


class Run:
    """One run of a testnet: its nodes are there while `conduct` lasts, and gone afterwards."""

    foreseen: tuple[type[Exception], ...] = (NodeDied, EnrolmentRefused, control.NoTestnet)
    """What may go wrong in it, and says itself what to do."""

    def __init__(self, directory: Directory, options: Options, console: Console) -> None:
        self._directory = directory
        self._options = options
        self._console = console
        self._tally = Tally()
        self._stop = trio.Event()
        self._is_ready = False
        self._urls = {node.name: node.http_url for node in directory.nodes}

    async def run(self) -> Report | None:
        """Run it to its end; None when it was interrupted before it was ready, or twice."""
        report = None
        try:
            async with (
                _links(self._options) as links,
                self._nodes_behind(links) as nodes,
                trio.open_nursery() as nursery,
            ):
                nursery.start_soon(self._interrupts, nursery.cancel_scope)
                faults = Faults(nodes, links, nursery)
                await nursery.start(control.serve, self._directory.path, faults)
                report = await self.conduct(nodes, nursery)
                nursery.cancel_scope.cancel()
        except ExceptionGroup as group:
            raise foreseen_in(group, self.foreseen) from None
        return report

    @asynccontextmanager
    async def _nodes_behind(self, links: Links | None) -> AsyncIterator[Nodes]:
        nodes = Nodes(self._directory, links)
        try:
            yield nodes
        finally:
            for name in await nodes.stop():
                self._console.print(f"{name} did not stop by itself and was killed", style="red")

    async def _interrupts(self, scope: trio.CancelScope) -> None:
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async for _ in signals:
                if self._stop.is_set():
                    scope.cancel()
                    return
                self._stop.set()
                if not self._is_ready:
                    scope.cancel()
                    return
                self._console.print("Stopping; once more to stop at once.")

    async def conduct(self, nodes: Nodes, nursery: trio.Nursery) -> Report | None:
        """Start the nodes and do with them what this run is for. `nursery` ends with the run."""
        async with httpx.AsyncClient(timeout=REQUEST_S, trust_env=False) as http:
            await nodes.launch()
            await nodes.wait_until_ready(http)
            self._is_ready = True
            self._console.print(endpoint_table(self._directory.nodes))
            self._console.print(f"Logs: {self._directory.path}/*/node.log", soft_wrap=True)
            nursery.start_soon(self._watch, nodes)
            began_s = trio.current_time()
            await self._replay(http)
            duration_s = trio.current_time() - began_s
            agreement = await agreement_of(http, self._urls)
        return self._report(agreement, duration_s)

    async def _watch(self, nodes: Nodes) -> None:
        while True:
            for process, how in nodes.ended():
                self._console.print(f"{process.name} {how}; see {process.log}", style="red")
            await trio.sleep(DISPLAY_S)

    async def _replay(self, http: httpx.AsyncClient) -> None:
        """Replay until there is nothing more to do, the time is over, or an interrupt came."""
        options, genesis = self._options, self._directory.genesis
        async with trio.open_nursery() as nursery, AsyncExitStack() as open_until_the_end:
            if options.duration_s is not None:
                nursery.start_soon(self._stop_after, options.duration_s)
            nursery.start_soon(self._say_what_to_try, http)
            links = []
            for gateway in self._directory.gateways():
                client = await open_until_the_end.enter_async_context(
                    AsyncClient([gateway.http_url], genesis)
                )
                readings = ReadingsFile(self._directory.path / gateway.name / "readings.db")
                open_until_the_end.callback(readings.close)
                links.append((ClientLink(gateway, client), readings))
            replay = Replay(genesis, links, REPLAYS[options.replay], options.rate, self._tally)
            with ReplayDisplay(self._console) as display:
                nursery.start_soon(self._display, display, replay, http)
                await replay.run(self._stop, passes=1 if options.duration_s is None else None)
                if options.duration_s is None and not self._stop.is_set():
                    self._say_that_it_stays(replay)
                await self._stop.wait()
            nursery.cancel_scope.cancel()

    async def _stop_after(self, duration_s: float) -> None:
        await trio.sleep(duration_s)
        self._stop.set()

    async def _display(self, display: ReplayDisplay, replay: Replay, http: httpx.AsyncClient) -> None:
        while True:
            heights = await heights_of(http, self._urls)
            display.update(replay.passes, replay.progress(), replay.size, self._tally, heights)
            await trio.sleep(DISPLAY_S)

    def _report(self, agreement: Agreement, duration_s: float) -> Report:
        for fault in agreement.faults:
            self._console.print(fault, style="red")
        verdict = "All nodes agree" if agreement.agree else "The nodes do NOT agree"
        self._console.print(
            f"{verdict} at height {agreement.height:,}. {sum_of(self._tally)}", soft_wrap=True
        )
        return Report(
            authorities=self._directory.plan.authorities,
            gateways=self._directory.plan.gateways,
            height=agreement.height,
            agree=agreement.agree,
            transactions_final=self._tally.transactions_final,
            transactions_refused=dict(sorted(self._tally.refused.items())),
            readings_final=self._tally.readings_final,
            latency_ms=self._tally.latency_ms(),
            duration_s=round(duration_s, 1),
        )

    async def _say_what_to_try(self, http: httpx.AsyncClient) -> None:
        """Commands that work as they stand: so, with a replay, not before there is a block."""
        node = self._directory.nodes[self._directory.plan.authorities]
        has_replay = self._options.replay != "none"
        heights: dict[str, int] = {}
        while has_replay and not heights.get(node.name):
            await trio.sleep(TRY_S)
            heights = await heights_of(http, {node.name: node.http_url})
        self._console.print("Try next, in another terminal:")
        for command in (
            f"curl {node.http_url}/v1/status",
            f"curl {node.http_url}/v1/{'blocks/1' if has_replay else 'genesis'}",
            f"curl -N {node.http_url}/v1/events",
            f"curl -s {node.metrics_url} | grep txs_finalized",
        ):
            self._console.print(f"  {command}", highlight=False, soft_wrap=True)
        if self._options.has_faults:
            where = f" --dir {self._directory.path}" if self._options.directory is not None else ""
            command = f"p2pledger testnet fault kill authority-1 --for 5{where}"
            self._console.print(f"  {command}", highlight=False, soft_wrap=True)

    def _say_that_it_stays(self, replay: Replay) -> None:
        url = self._directory.nodes[self._directory.plan.authorities].http_url
        if replay.last_final is not None:
            self._console.print(f"The replay is done: {sum_of(self._tally)}", soft_wrap=True)
            self._console.print("Try next, for the proof of one transaction:")
            command = f"curl {url}/v1/transactions/{replay.last_final.hex()}/receipt"
            self._console.print(f"  {command}", highlight=False, soft_wrap=True)
        self._console.print("The testnet stays up until Ctrl-C.")
