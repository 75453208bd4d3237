"""What can be done to a running testnet, and undone. Floor 8.

kill, restart, pause, resume     a process
clock                            started again with its clock wrong
twin                             a second process with an authority's keys, which contradicts it
disconnect, partition            links, reset or silent
delay, loss                      links, in both directions
heal                             all of it is undone
"""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from itertools import combinations

import trio

from p2pledger.testnet.fault import Fault, FaultRefused, Kind
from p2pledger.testnet.nodes import Nodes
from p2pledger.testnet.proxy import Links, Way

DELAY_MS_MAX = 60_000
DURATION_S_MAX = 3_600
CLOCK_MS_MAX = 86_400_000
TWIN_DIAL_S = 30.0
POLL_S = 0.05


NEED_LINKS = {Kind.TWIN, Kind.DISCONNECT, Kind.PARTITION, Kind.DELAY, Kind.LOSS}
ENDS_BY_ITSELF = {Kind.RESTART, Kind.RESUME, Kind.HEAL}
"""There is nothing to undo about these."""


Undo = Callable[[], Awaitable[str]]
Pair = tuple[str, str]


class Faults:
    """Makes faults, one at a time. `later` runs what undoes them when their time is over."""

    def __init__(self, nodes: Nodes, links: Links | None, later: trio.Nursery) -> None:
        self._nodes, self._links, self._later = nodes, links, later
        self._lock = trio.Lock()

    async def make(self, fault: Fault) -> str:
        """Do it and say what was done. Raises: FaultRefused."""
        async with self._lock:
            self._check(fault)
            done, undo = await self._make(fault)
        if fault.for_s is None or undo is None:
            return done
        self._later.start_soon(self._undo_after, fault.for_s, undo)
        return f"{done}, for {fault.for_s:g} s"

    async def _undo_after(self, seconds: float, undo: Undo) -> None:
        await trio.sleep(seconds)
        async with self._lock:
            await undo()

    # --- what may be asked for -------------------------------------------------------------------------

    def _check(self, fault: Fault) -> None:
        if fault.kind in NEED_LINKS and self._links is None:
            raise FaultRefused(
                f"{fault.kind.value} needs links that can be broken: start it with `testnet up --faults`"
            )
        if fault.for_s is not None and not 0 < fault.for_s <= DURATION_S_MAX:
            raise FaultRefused(f"--for is more than 0 and at most {DURATION_S_MAX} seconds")
        if fault.for_s is not None and fault.kind in ENDS_BY_ITSELF:
            raise FaultRefused(f"{fault.kind.value} is over when it is done: leave out --for")
        sides = [_side(side) if fault.kind is Kind.PARTITION else [side] for side in fault.nodes]
        names = [name for side in sides for name in side]
        if unknown := [name for name in names if name not in self._nodes.names]:
            raise FaultRefused(f"no node is called {unknown[0]!r}: there are {', '.join(self._nodes.names)}")
        if len(set(names)) != len(names):
            raise FaultRefused("a node is named twice: name each once")
        match fault.kind:
            case Kind.PARTITION if len(fault.nodes) < 2:
                raise FaultRefused("a partition has two sides or more: 'authority-1|authority-2,authority-3'")
            case Kind.HEAL if names:
                raise FaultRefused("heal undoes everything: name no node")
            case Kind.DELAY if not 0 <= fault.ms <= DELAY_MS_MAX or not 0 <= fault.jitter_ms <= DELAY_MS_MAX:
                raise FaultRefused(f"--ms and --jitter are from 0 to {DELAY_MS_MAX}")
            case Kind.LOSS if not 0 <= fault.percent < 100:
                raise FaultRefused("--percent is at least 0 and less than 100")
            case Kind.CLOCK if abs(fault.ms) > CLOCK_MS_MAX:
                raise FaultRefused(f"--ms is at most a day, {CLOCK_MS_MAX}, either way")
            case Kind.TWIN if len(names) != 1 or names[0] not in self._nodes.authorities:
                raise FaultRefused(
                    "one authority has a twin: name one of " + ", ".join(self._nodes.authorities)
                )
            case Kind.DELAY | Kind.LOSS | Kind.HEAL:
                pass
            case _ if not names:
                raise FaultRefused(
                    f"{fault.kind.value} befalls nodes: name one of {', '.join(self._nodes.names)}"
                )

    def _check_alive(self, names: Sequence[str]) -> None:
        for name in names:
            if not self._nodes.is_alive(name):
                raise FaultRefused(f"{name} does not run: `fault restart {name}` starts it")

    # --- doing it --------------------------------------------------------------------------------------

    async def _make(self, fault: Fault) -> tuple[str, Undo | None]:
        names, listed = fault.nodes, ", ".join(fault.nodes)
        match fault.kind:
            case Kind.HEAL:
                return await self._heal(), None
            case Kind.RESTART:
                await self._restart(names)
                return f"started {listed} again", None
            case Kind.KILL:
                self._check_alive(names)
                for name in names:
                    self._nodes.kill(name)
                return f"killed {listed}", lambda: self._restart(names)
            case Kind.PAUSE:
                self._check_alive(names)
                for name in names:
                    self._nodes.pause(name)
                return f"paused {listed}", lambda: self._resume(names)
            case Kind.RESUME:
                self._check_alive(names)
                return await self._resume(names), None
            case Kind.CLOCK:
                await self._set_clock(names, fault.ms)
                how = f"{abs(fault.ms)} ms {'ahead' if fault.ms >= 0 else 'behind'}"
                return f"started {listed} again, its clock {how}", lambda: self._set_clock(names, 0)
            case Kind.TWIN:
                return await self._start_twin(names[0])
            case Kind.DISCONNECT | Kind.PARTITION:
                return self._separate(fault)
            case _:
                return self._impair(fault)

    async def _restart(self, names: Sequence[str]) -> str:
        for name in names:
            if self._nodes.is_alive(name):
                await self._nodes.end(name)
        await self._nodes.launch(*names)
        return f"started {', '.join(names)} again"

    async def _resume(self, names: Sequence[str]) -> str:
        for name in names:
            self._nodes.resume(name)
        return f"{', '.join(names)} go on" if len(names) > 1 else f"{names[0]} goes on"

    async def _set_clock(self, names: Sequence[str], ms: int) -> str:
        for name in names:
            self._nodes.set_offset(name, ms)
        return await self._restart(names)

    def _separate(self, fault: Fault) -> tuple[str, Undo]:
        links, how = self._checked_links, "silent" if fault.is_silent else "cut"
        sides = [_side(side) for side in fault.nodes]
        if fault.kind is Kind.PARTITION:
            pairs = [(a, b) for one, other in combinations(sides, 2) for a in one for b in other]
            done = f"{' | '.join(', '.join(side) for side in sides)}: links between them {how}"
        else:
            pairs = list(self._links_of(fault.nodes))
            done = f"all links of {', '.join(fault.nodes)} {how}"
        for one, other in pairs:
            if fault.is_silent:
                links.way(one, other).silence(True)
                links.way(other, one).silence(True)
            else:
                links.cut(one, other)

        async def undo() -> str:
            for one, other in pairs:
                links.join(one, other)
            return "joined"

        return done, undo

    def _impair(self, fault: Fault) -> tuple[str, Undo]:
        links = self._checked_links
        ways = [links.way(*way) for a, b in self._links_of(fault.nodes) for way in ((a, b), (b, a))]
        where = f"all links of {', '.join(fault.nodes)}" if fault.nodes else "all links"
        if fault.kind is Kind.LOSS:
            _set_loss(ways, fault.percent / 100)
            done = f"{where} lose {fault.percent:g} % of what is sent"
        else:
            _set_delay(ways, fault.ms, fault.jitter_ms)
            done = f"{where} take {fault.ms} to {fault.ms + fault.jitter_ms} ms longer each way"

        async def undo() -> str:
            if fault.kind is Kind.LOSS:
                _set_loss(ways, 0.0)
            else:
                _set_delay(ways, 0, 0)
            return "calm again"

        return done, undo

    async def _start_twin(self, name: str) -> tuple[str, Undo]:
        """The twin has the link to one other authority for as long as it runs; the first one keeps the rest.

        An authority speaks to a peer over one connection: without this none would speak to the twin.
        """
        self._check_alive([name])
        links, twin = self._checked_links, self._nodes.twin_of(name)
        if self._nodes.is_alive(twin):
            raise FaultRefused(f"{name} has a twin: `fault heal` ends it")
        others = [other for other in self._nodes.authorities if other != name]
        if not others:
            raise FaultRefused("nobody is there to hear the twin: start two authorities or more")
        links.cut(name, others[0])

        async def undo() -> str:
            done = await self._nodes.end(twin)
            links.join(name, others[0])
            return done

        await self._nodes.launch_twin(name)
        with trio.move_on_after(TWIN_DIAL_S):
            while not links.is_connected(twin, others[0]) and self._nodes.is_alive(twin):  # noqa: ASYNC110
                await trio.sleep(POLL_S)
        if not links.is_connected(twin, others[0]):
            await undo()
            raise FaultRefused(f"{twin} did not reach {others[0]}: its node.log says why")
        return f"started {twin} with the keys of {name}", undo

    async def _heal(self) -> str:
        if self._links is not None:
            self._links.calm()
        for name in self._nodes.authorities:
            if self._nodes.is_alive(twin := self._nodes.twin_of(name)):
                await self._nodes.end(twin)
        for name in self._nodes.names:
            self._nodes.resume(name) if self._nodes.is_alive(name) else await self._nodes.launch(name)
        wrong = [name for name in self._nodes.names if self._nodes.offset_ms(name)]
        if wrong:
            await self._set_clock(wrong, 0)
        return "healed: all nodes run, all links are calm"

    @property
    def _checked_links(self) -> Links:
        assert self._links is not None, "checked before"
        return self._links

    def _links_of(self, names: Sequence[str]) -> Iterator[Pair]:
        """The links that end at one of these nodes; all links when there is none."""
        for one, other in combinations(self._nodes.names, 2):
            if not names or one in names or other in names:
                yield one, other


def _side(names: str) -> list[str]:
    return [name.strip() for name in names.split(",")]


def _set_loss(ways: Sequence[Way], loss: float) -> None:
    for way in ways:
        way.loss = loss


def _set_delay(ways: Sequence[Way], delay_ms: float, jitter_ms: float) -> None:
    for way in ways:
        way.delay_ms, way.jitter_ms = delay_ms, jitter_ms
