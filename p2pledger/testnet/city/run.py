"""`p2pledger testnet up --replay city`: a day in the city, judged by what its nodes answer. Floor 8.

The eve. The ledger begins on the day before last month: programs judge whole periods that begin after they
were decided on. For that the nodes' clocks are put back; then all are stopped and start again on the same
chain, with the clocks right. So a month has gone by, and last month and last week can be settled.

The day. The real data comes in through two gateways, one department's each, while the chapters play beside
it. Then the nodes are compared, and everybody looks.
"""

import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

import httpx
import trio
from rich.console import Console
from rich.table import Table

from p2pledger.chain.payloads import OrgRegister
from p2pledger.client import AsyncClient
from p2pledger.client.readings import ReadingsFile
from p2pledger.crypto import KeySigner
from p2pledger.signer.keyfile import SecretRole, create_secret, write_key_file
from p2pledger.testnet import up
from p2pledger.testnet.agreement import agreement_of
from p2pledger.testnet.city import cast, council, newcomers
from p2pledger.testnet.city.cast import COLLECTOR, LEAVING, MAKER, PLANT, REGISTRY, TRANSPORT, UTILITY
from p2pledger.testnet.city.chapters import consent, data, driving, energy, offices, programs, theft, waste
from p2pledger.testnet.city.stage import Check, NotAsWritten, Payload, Stage
from p2pledger.testnet.directory import ORGANISATIONS, PASSPHRASE, QUOTA, NotATestnet
from p2pledger.testnet.display import endpoint_table
from p2pledger.testnet.link import ClientLink
from p2pledger.testnet.nodes import Nodes
from p2pledger.testnet.replay import Replay
from p2pledger.testnet.sources import SOURCES, Source, source_of
from p2pledger.types import Height, Millis, PublicKey

READINGS_PER_BATCH = 48
"""A day of a half-hourly meter."""

EXPECTED = (*up.EXPECTED, NotAsWritten)
FOUNDERS = (TRANSPORT, UTILITY, REGISTRY, LEAVING)
LEAVES_BEHIND = "authority-4"

Look = Callable[[Stage], Awaitable[None]]


@dataclass(frozen=True)
class AuthorityList:
    """Who decided on the block of a height."""

    height: Height
    members: tuple[str, ...]


@dataclass(frozen=True)
class Report(up.Report):
    """What `--json` prints: a testnet's report, and what the day came to."""

    checks: tuple[Check, ...] = ()
    seen: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What each department and one resident can see at the day's end."""
    authority_lists: tuple[AuthorityList, ...] = ()


def run(options: up.Options) -> int:
    """Play the day; the exit code: 0 when all nodes agree and every check holds. Raises: EXPECTED."""
    if options.authorities not in (None, cast.AUTHORITIES) or options.gateways not in (None, cast.GATEWAYS):
        raise NotATestnet(
            f"the city begins with {cast.AUTHORITIES} authorities and {cast.GATEWAYS} gateways: leave out"
            " --authorities and --gateways"
        )
    if options.duration_s is not None:
        raise NotATestnet("the city's day ends by itself: leave out --duration")
    if options.directory is not None and options.directory.exists() and any(options.directory.iterdir()):
        raise NotATestnet(f"the city begins with a new ledger: {options.directory} is not empty")
    options = replace(options, authorities=cast.AUTHORITIES, gateways=cast.GATEWAYS)
    console = Console(stderr=options.is_json)
    charter = cast.charter(_now_ms())
    with up.opened(options, console, charter, cast.NEWCOMERS_MAX) as directory:
        report = trio.run(Day(directory, options, console).run)
        if not isinstance(report, Report):
            return 130  # interrupted
        _show(console, report)
        if options.is_json:
            print(json.dumps(_printed(report)), flush=True)
        return 0 if report.agree and all(check.holds for check in report.checks) else 1


def _printed(report: Report) -> dict[str, Any]:
    checks = [{**asdict(check), "holds": check.holds} for check in report.checks]
    return {**asdict(report), "checks": checks}


class Day(up.Run):
    """One run of the city."""

    foreseen = (*up.Run.foreseen, NotAsWritten)

    async def conduct(self, nodes: Nodes, nursery: trio.Nursery) -> up.Report | None:
        """Play the eve and the day. Raises: NotAsWritten, NodeDied."""
        began_s = trio.current_time()
        async with httpx.AsyncClient(timeout=up.REQUEST_S, trust_env=False) as http:
            begins = await self._eve(nodes, http)
            async with Stage(self._directory) as stage:
                await self._start(nodes, http, 0)
                self._is_ready = True
                self._console.print(endpoint_table(self._directory.nodes))
                nursery.start_soon(self._watch, nodes)
                lists = await self._day(stage, nodes, http, begins)
                if lists is None:
                    return None
                urls = {n.name: n.http_url for n in stage.directory.nodes if nodes.is_alive(n.name)}
                agreement = await agreement_of(http, urls)
                base = self._report(agreement, trio.current_time() - began_s)
                return _report_of(base, stage, lists)

    async def _start(self, nodes: Nodes, http: httpx.AsyncClient, offset_ms: int) -> None:
        for node in self._directory.nodes:
            nodes.set_offset(node.name, offset_ms)
        await nodes.launch()
        await nodes.wait_until_ready(http)

    # --- the eve ---------------------------------------------------------------------------------------

    async def _eve(self, nodes: Nodes, http: httpx.AsyncClient) -> Height:
        """The council's decisions before last month began; the height that all of them work from."""
        now_ms = _now_ms()
        offset_ms = self._directory.genesis.time_ms - now_ms
        self._say("The eve: the council decides on two programs, and registers the vehicle maker.")
        await self._start(nodes, http, offset_ms)
        async with Stage(self._directory, offset_ms) as stage, trio.open_nursery() as nursery:
            maker = OrgRegister(MAKER, cast.KINDS[MAKER], (self._new_admin(MAKER),), 1, QUOTA)
            heights = []

            async def decide(measure: Payload) -> None:
                heights.append(await council.decide(stage, measure, FOUNDERS[:3], "decision-1"))

            for measure in (maker, programs.driving(now_ms), programs.sun(now_ms)):
                nursery.start_soon(decide, measure)
        self._say("A month goes by: all nodes stop, and start again with their clocks right.")
        for name in await nodes.stop():
            self._console.print(f"{name} did not stop by itself and was killed", style="red")
        return max(heights)

    def _new_admin(self, organisation: str) -> PublicKey:
        path = self._directory.path
        secret = create_secret(SecretRole.TRANSACTION)
        write_key_file(path / ORGANISATIONS / f"{organisation}.key", secret, (path / PASSPHRASE).read_bytes())
        return PublicKey(KeySigner(secret.secret).public_key)

    # --- the day ---------------------------------------------------------------------------------------

    async def _day(
        self, stage: Stage, nodes: Nodes, http: httpx.AsyncClient, begins: Height
    ) -> list[AuthorityList] | None:
        """All chapters beside the data, once what was decided has begun. None when interrupted."""
        lists: list[AuthorityList] = []
        told = trio.Event()
        async with self._replays(stage) as replays, trio.open_nursery() as day:
            day.start_soon(self._cancel_when_stopped, day.cancel_scope)
            looks: list[Look] = [energy.look, offices.look, theft.look]
            async with trio.open_nursery() as whole:
                for replay in replays:
                    whole.start_soon(_replay, replay, told, looks)
                await council.reached(stage, begins)
                async with trio.open_nursery() as chapters:
                    chapters.start_soon(self._residents, stage, looks)
                    chapters.start_soon(self._waste, stage, nodes, http, looks)
                    chapters.start_soon(self._council, stage, nodes, http, lists)
                told.set()
                self._say("The chapters are told; the rest of the data comes in.")
            for look in looks:
                await look(stage)
            self._say("The day is over.")
            day.cancel_scope.cancel()
        return None if self._stop.is_set() else lists

    @asynccontextmanager
    async def _replays(self, stage: Stage) -> AsyncIterator[list[Replay]]:
        """The ride through the gateway of transport; meters and water through the utility's."""
        by_organisation = {TRANSPORT: ("ride",), UTILITY: ("meter-a", "meter-b", "water")}
        async with AsyncExitStack() as stack:
            replays = []
            for organisation, names in by_organisation.items():
                gateway = stage.gateways[organisation]
                client = await stack.enter_async_context(AsyncClient([gateway.http_url], stage.genesis))
                readings = ReadingsFile(self._directory.path / gateway.name / "readings.db")
                stack.callback(readings.close)
                sources = [_by_the_day(source_of(name)) for name in names]
                rate = self._options.rate * len(names) / len(SOURCES)
                link = ClientLink(gateway, client)
                replays.append(Replay(stage.genesis, [(link, readings)], sources, rate, self._tally))
            yield replays

    async def _residents(self, stage: Stage, looks: list[Look]) -> None:
        async def drive() -> None:
            driver = await driving.play(stage)
            looks.append(partial(driving.look, driver=driver))

        async def consents() -> None:
            handle = await consent.play(stage)
            looks.append(partial(consent.look, handle=handle))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(drive)
            nursery.start_soon(consents)
            nursery.start_soon(energy.play, stage)
            nursery.start_soon(offices.play, stage)

    async def _waste(self, stage: Stage, nodes: Nodes, http: httpx.AsyncClient, looks: list[Look]) -> None:
        for number, organisation in enumerate((COLLECTOR, PLANT), cast.GATEWAYS + 1):
            await newcomers.gateway_joins(stage, nodes, http, f"gateway-{number}", organisation)
            self._say(f"A gateway of {organisation} has joined with one string.")
        gateways = await stage.ask("registry.gateways")
        stage.expect(
            "gateways that joined are in the registry",
            sorted(each["organisation"] for each in gateways),
            sorted((TRANSPORT, UTILITY, COLLECTOR, PLANT)),
        )
        lot = await waste.play(stage)
        looks.append(partial(waste.look, lot=lot))
        await theft.play(stage)
        self._say("The stolen sensor is cut off.")

    async def _council(
        self, stage: Stage, nodes: Nodes, http: httpx.AsyncClient, lists: list[AuthorityList]
    ) -> None:
        """One authority comes, and then one goes."""
        lists.append(await _list_at(stage, await stage.height()))
        seat = newcomers.new_seat(stage)
        await council.decide(stage, seat.measure, FOUNDERS[:3], "decision-11")
        await newcomers.start_seat(stage, nodes, http, seat)
        begins = await council.add(stage, seat.node, seat.measure, seat.key)
        await council.reached(stage, begins)
        lists.append(await _list_at(stage, begins))
        self._say(f"{PLANT} is an authority from block {begins} on.")
        begins = await council.remove(stage, LEAVING, (*FOUNDERS[:3], PLANT))
        await council.reached(stage, begins)
        lists.append(await _list_at(stage, begins))
        self._say(f"{LEAVING} is no authority any more from block {begins} on.")
        await nodes.end(LEAVES_BEHIND)
        stage.directory = stage.directory.without(LEAVES_BEHIND)
        stage.expect(
            "the authorities: four, one more, one less",
            [sorted(one.members) for one in lists],
            [sorted(FOUNDERS), sorted((*FOUNDERS, PLANT)), sorted((*FOUNDERS[:3], PLANT))],
        )
        voice = lists[-1].members.index(PLANT)
        signed = await council.signs(stage, begins, voice)
        stage.expect("the authority that came signs final blocks", signed, True)

    async def _cancel_when_stopped(self, scope: trio.CancelScope) -> None:
        await self._stop.wait()
        scope.cancel()

    def _say(self, line: str) -> None:
        self._console.print(line, soft_wrap=True, highlight=False)


async def _list_at(stage: Stage, height: Height) -> AuthorityList:
    return AuthorityList(height, tuple(await council.members(stage, height)))


async def _replay(replay: Replay, told: trio.Event, looks: list[Look]) -> None:
    """All of the data once, and then more of it until the chapters are told: epochs pass by blocks."""
    await replay.run(trio.Event(), passes=1)
    looks.append(partial(data.look, devices=tuple(replay.devices)))
    if not told.is_set():
        await replay.run(told, passes=None)


def _by_the_day(source: Source) -> Source:
    if source.readings_per_batch == 1:
        return source
    return replace(source, readings_per_batch=READINGS_PER_BATCH)


def _report_of(base: up.Report, stage: Stage, lists: list[AuthorityList]) -> Report:
    """The data's figures and the chapters' together."""
    findings, refused = stage.findings, Counter(base.transactions_refused)
    refused.update(stage.tally.refused)
    fields = {
        **vars(base),
        "transactions_final": base.transactions_final + stage.tally.transactions_final,
        "transactions_refused": dict(sorted(refused.items())),
    }
    return Report(**fields, checks=tuple(findings.checks), seen=findings.seen, authority_lists=tuple(lists))


def _show(console: Console, report: Report) -> None:
    """The report for people."""
    for who, figures in sorted(report.seen.items()):
        table = Table("sees", "", title=who, title_justify="left", title_style="bold")
        for what, figure in figures.items():
            table.add_row(what, str(figure))
        console.print(table)
    for check in report.checks:
        said = "holds" if check.holds else f"FAILS: expected {check.expected}, found {check.found}:"
        style = None if check.holds else "red"
        console.print(f"{said} {check.name}", style=style, soft_wrap=True, highlight=False)


def _now_ms() -> Millis:
    return Millis(time.time_ns() // 1_000_000)
