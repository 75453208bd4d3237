"""What can be done to a compose testnet, and undone. Floor 8.

kill, restart, pause, resume     a container: SIGKILL, a stop and a start, the cgroup freezer
disconnect                       out of the network by which nodes reach each other; metrics and API stay
partition                        a network for each side
delay, loss                      links, where the testnet was started with `up --faults`
heal                             all of it is undone

Where there are links, disconnections and partitions are made there, too: connections are reset then, while an
interface that is gone leaves the others waiting.
"""

from collections.abc import Callable
from itertools import count

from p2pledger.testnet.compose.engine import Container, Engine
from p2pledger.testnet.compose.table import AUTHORITIES, NODES
from p2pledger.testnet.fault import Fault, FaultRefused, Kind, check

LINKS = "links"
LINK_FAULTS = (Kind.DELAY, Kind.LOSS, Kind.DISCONNECT, Kind.PARTITION)
ELSEWHERE = (Kind.CLOCK, Kind.TWIN)
"""What only the testnet of processes can do."""

STOP_S = "20"

Undo = Callable[[], str]


def make(engine: Engine, fault: Fault) -> tuple[str, Undo | None]:
    """Do it; what was done, and what undoes it when its time is over. Raises: FaultRefused, EngineError."""
    if fault.kind in ELSEWHERE:
        raise FaultRefused(
            f"{fault.kind.value} needs nodes that are processes: `p2pledger testnet up --faults`,"
            f" then `p2pledger testnet fault {fault.kind.value}`"
        )
    check(fault, NODES, AUTHORITIES)
    containers = engine.containers()
    if not any(name in containers for name in NODES):
        raise FaultRefused("no testnet is up: `testnet/testnet up` starts one")
    if fault.kind is Kind.HEAL:
        return _heal(engine, containers), None
    links = containers.get(LINKS)
    if fault.kind in LINK_FAULTS and links is not None and links.is_running:
        return _make_by_links(engine, links, fault)
    match fault.kind:
        case Kind.DELAY | Kind.LOSS:
            raise FaultRefused(
                f"{fault.kind.value} needs links that can be broken: `testnet/testnet up --faults`"
                " starts the nodes anew behind them, on the same chain"
            )
        case Kind.DISCONNECT:
            return _disconnect(engine, containers, fault)
        case Kind.PARTITION:
            return _partition(engine, containers, fault)
        case _:
            return _befall(engine, containers, fault)


def _befall(engine: Engine, containers: dict[str, Container], fault: Fault) -> tuple[str, Undo | None]:
    """What befalls containers."""
    listed = ", ".join(fault.nodes)
    chosen = [_made(containers, name) for name in fault.nodes]
    ids = [container.id for container in chosen]
    match fault.kind:
        case Kind.PAUSE:
            _check_running(chosen)
            engine.docker("pause", *ids)
            return f"paused {listed}", lambda: _resume(engine, ids, listed)
        case Kind.RESUME:
            if idle := [container.service for container in chosen if container.state != "paused"]:
                raise FaultRefused(f"{idle[0]} is not paused: `testnet/testnet status` says how it is")
            return _resume(engine, ids, listed), None
        case Kind.KILL:
            _check_running(chosen)
            engine.docker("kill", *ids)
            return f"killed {listed}", lambda: _restart(engine, ids, listed)
        case _:
            if paused := [container.id for container in chosen if container.state == "paused"]:
                engine.docker("unpause", *paused)
            return _restart(engine, ids, listed), None


def _resume(engine: Engine, ids: list[str], listed: str) -> str:
    engine.docker("unpause", *ids)
    return f"{listed} {'go' if len(ids) > 1 else 'goes'} on"


def _restart(engine: Engine, ids: list[str], listed: str) -> str:
    engine.docker("restart", "--time", STOP_S, *ids)
    return f"started {listed} again"


def _made(containers: dict[str, Container], name: str) -> Container:
    if name not in containers:
        raise FaultRefused(f"{name} has no container: `testnet/testnet up` makes it")
    return containers[name]


def _check_running(chosen: list[Container]) -> None:
    for container in chosen:
        if container.state == "paused":
            raise FaultRefused(f"{container.service} is paused: `fault resume {container.service}` first")
        if not container.is_running:
            raise FaultRefused(
                f"{container.service} does not run: `fault restart {container.service}` starts it"
            )


# --- networks --------------------------------------------------------------------------------------------


def _disconnect(engine: Engine, containers: dict[str, Container], fault: Fault) -> tuple[str, Undo]:
    _check_can_be_silent(fault)
    chosen = [_joined(engine, containers, name) for name in fault.nodes]
    for container in chosen:
        engine.docker("network", "disconnect", engine.p2p, container.id)

    def undo() -> str:
        for container in chosen:
            _join(engine, engine.p2p, container)
        return f"{', '.join(fault.nodes)} connected again"

    return f"{', '.join(fault.nodes)} disconnected from all others", undo


def _partition(engine: Engine, containers: dict[str, Container], fault: Fault) -> tuple[str, Undo]:
    """Give each side a network of its own. Who is on no side is in all of them, and carries gossip across."""
    _check_can_be_silent(fault)
    if _side(engine, 1) in engine.networks():
        raise FaultRefused("a partition is there already: `fault heal` first")
    sides = [[_joined(engine, containers, name) for name in side] for side in fault.sides]
    parted = {container.id for side in sides for container in side}
    others = [
        container
        for name in NODES
        if (container := containers.get(name)) is not None and container.id not in parted
    ]
    for number, side in zip(count(1), sides, strict=False):
        network = _side(engine, number)
        engine.docker("network", "create", "--internal", network)
        for container in (*side, *others):
            _join(engine, network, container)
    for side in sides:
        for container in side:
            engine.docker("network", "disconnect", engine.p2p, container.id)

    def undo() -> str:
        _unite(engine, engine.containers())
        return "one network again"

    return f"{' | '.join(', '.join(side) for side in fault.sides)}: apart", undo


def _check_can_be_silent(fault: Fault) -> None:
    if fault.is_silent:
        raise FaultRefused(
            "without links the network itself goes away, which is silent as it is: leave out --silent"
        )


def _joined(engine: Engine, containers: dict[str, Container], name: str) -> Container:
    container = _made(containers, name)
    if engine.p2p not in container.networks:
        raise FaultRefused(f"{name} is cut off already: `fault heal` first")
    return container


def _join(engine: Engine, network: str, container: Container) -> None:
    """Have a node in a network, under the name that its peers dial. Its address there is a new one."""
    alias = f"{container.service}.p2p"
    engine.docker("network", "connect", "--alias", alias, network, container.id)


def _side(engine: Engine, number: int) -> str:
    return f"{engine.project}_side-{number}"


def _unite(engine: Engine, containers: dict[str, Container]) -> bool:
    """Have all nodes in one network; whether any was not."""
    nodes = [containers[name] for name in NODES if name in containers]
    apart = [node for node in nodes if engine.p2p not in node.networks]
    for node in apart:
        _join(engine, engine.p2p, node)
    sides = [network for network in engine.networks() if network.startswith(f"{engine.project}_side-")]
    for network in sorted(sides):
        for node in nodes:
            if network in node.networks:
                engine.docker("network", "disconnect", "--force", network, node.id)
        engine.docker("network", "rm", network)
    return bool(apart or sides)


# --- links -----------------------------------------------------------------------------------------------


def _make_by_links(engine: Engine, links: Container, fault: Fault) -> tuple[str, Undo]:
    options = {
        Kind.DELAY: [f"--ms={fault.ms}", f"--jitter={fault.jitter_ms}"],
        Kind.LOSS: [f"--percent={fault.percent}"],
    }.get(fault.kind, ["--silent"] if fault.is_silent else [])
    nodes = ["|".join(fault.nodes)] if fault.kind is Kind.PARTITION else [*fault.nodes]
    done = _tell_links(engine, links, fault.kind.value, *nodes, *options)

    def undo() -> str:
        if fault.kind in (Kind.DISCONNECT, Kind.PARTITION):
            return _tell_links(engine, links, Kind.HEAL.value)
        return _tell_links(engine, links, fault.kind.value, *nodes)  # by nothing: as before

    return done, undo


def _tell_links(engine: Engine, links: Container, *words: str) -> str:
    code, said = engine.tell(links, "p2pledger", "testnet", "fault", "--dir=/tmp", *words)
    if code != 0:
        raise FaultRefused(said.removeprefix("Error: "))
    return said


# --- all of it -------------------------------------------------------------------------------------------


def _heal(engine: Engine, containers: dict[str, Container]) -> str:
    done = []
    nodes = [containers[name] for name in (*NODES, LINKS) if name in containers]
    if paused := [node for node in nodes if node.state == "paused"]:
        engine.docker("unpause", *(node.id for node in paused))
        done.append(f"{', '.join(node.service for node in paused)} resumed")
    if _unite(engine, containers):
        done.append("one network again")
    if ended := [node for node in nodes if node.state in ("exited", "created", "dead")]:
        engine.docker("start", *(node.id for node in ended))
        done.append(f"{', '.join(node.service for node in ended)} started")
    links = containers.get(LINKS)
    if links is not None and links.is_running:
        _tell_links(engine, links, Kind.HEAL.value)
        done.append("all links are calm")
    return f"healed: {'; '.join(done) or 'there was nothing to mend'}"


def clear(engine: Engine) -> None:
    """Mend the networks, so that compose finds what it made. Raises: EngineError."""
    _unite(engine, engine.containers())
