"""What can be done to the links between a testnet's nodes, whatever the nodes are, and undone. Floor 8."""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterator, Sequence
from itertools import combinations

import trio

from p2pledger.testnet.fault import Fault, FaultRefused, Kind, check
from p2pledger.testnet.proxy import Links, Way

OF_LINKS = {Kind.DISCONNECT, Kind.PARTITION, Kind.DELAY, Kind.LOSS}

Undo = Callable[[], Awaitable[str]]
Pair = tuple[str, str]


class FaultMaker(ABC):
    """Makes faults, one at a time. `later` runs what undoes them when their time is over."""

    def __init__(self, later: trio.Nursery) -> None:
        self._later = later
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

    @abstractmethod
    def _check(self, fault: Fault) -> None:
        """Raises: FaultRefused, before anything is touched."""

    @abstractmethod
    async def _make(self, fault: Fault) -> tuple[str, Undo | None]:
        """Do it; what was done, and what undoes it. Raises: FaultRefused."""


class LinkFaults(FaultMaker):
    """Makes faults of links alone: the nodes are somebody else's."""

    def __init__(self, links: Links, names: Sequence[str], later: trio.Nursery) -> None:
        super().__init__(later)
        self._links, self._names = links, names

    def _check(self, fault: Fault) -> None:
        if fault.kind not in {*OF_LINKS, Kind.HEAL}:
            raise FaultRefused(f"{fault.kind.value} befalls nodes, and here are only the links between them")
        check(fault, self._names, ())

    async def _make(self, fault: Fault) -> tuple[str, Undo | None]:
        if fault.kind is Kind.HEAL:
            self._links.calm()
            return "healed: all links are calm", None
        how = separate if fault.kind in {Kind.DISCONNECT, Kind.PARTITION} else impair
        return how(self._links, self._names, fault)


def separate(links: Links, names: Sequence[str], fault: Fault) -> tuple[str, Undo]:
    """Cut the links that a disconnection or a partition means, or make them silent."""
    how = "silent" if fault.is_silent else "cut"
    sides = fault.sides
    if fault.kind is Kind.PARTITION:
        pairs = [(a, b) for one, other in combinations(sides, 2) for a in one for b in other]
        done = f"{' | '.join(', '.join(side) for side in sides)}: links between them {how}"
    else:
        pairs = list(links_of(names, fault.nodes))
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


def impair(links: Links, names: Sequence[str], fault: Fault) -> tuple[str, Undo]:
    """Have the links of some nodes, or all, delay or lose what is sent, in both directions."""
    ways = [links.way(*way) for a, b in links_of(names, fault.nodes) for way in ((a, b), (b, a))]
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


def links_of(names: Sequence[str], ends: Sequence[str]) -> Iterator[Pair]:
    """The links that end at one of `ends`; all links when there is none."""
    for one, other in combinations(names, 2):
        if not ends or one in ends or other in ends:
            yield one, other


def _set_loss(ways: Sequence[Way], loss: float) -> None:
    for way in ways:
        way.loss = loss


def _set_delay(ways: Sequence[Way], delay_ms: float, jitter_ms: float) -> None:
    for way in ways:
        way.delay_ms, way.jitter_ms = delay_ms, jitter_ms
