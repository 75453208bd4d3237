"""What can be done to a running testnet, and undone. Floor 8.

kill, restart, pause, resume     a process
clock                            started again with its clock wrong
twin                             a second process with an authority's keys, which contradicts it
disconnect, partition            links, reset or silent
delay, loss                      links, in both directions
heal                             all of it is undone
"""

from collections.abc import Sequence

import trio

from p2pledger.testnet.fault import Fault, FaultRefused, Kind, check
from p2pledger.testnet.link_faults import OF_LINKS, FaultMaker, Undo, impair, separate
from p2pledger.testnet.nodes import Nodes
from p2pledger.testnet.proxy import Links

TWIN_DIAL_S = 30.0
POLL_S = 0.05


NEED_LINKS = {Kind.TWIN, *OF_LINKS}


class Faults(FaultMaker):
    """Makes faults of processes, and of the links between them if there are any."""

    def __init__(self, nodes: Nodes, links: Links | None, later: trio.Nursery) -> None:
        super().__init__(later)
        self._nodes, self._links = nodes, links

    def _check(self, fault: Fault) -> None:
        if fault.kind in NEED_LINKS and self._links is None:
            raise FaultRefused(
                f"{fault.kind.value} needs links that can be broken: start it with `testnet up --faults`"
            )
        check(fault, self._nodes.names, self._nodes.authorities)

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
                return separate(self._checked_links, self._nodes.names, fault)
            case _:
                return impair(self._checked_links, self._nodes.names, fault)

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
