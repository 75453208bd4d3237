"""`testnet/testnet`: a compose testnet started, watched, broken, stopped and removed. Floor 8.

It imports the standard library and modules that do the same, so that it runs in a fresh checkout where
nothing is installed but Python 3.11 and Docker.
"""

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from p2pledger.testnet.compose import faults
from p2pledger.testnet.compose.engine import (
    PROFILES,
    Container,
    Engine,
    EngineError,
    load_variables,
    route_variables,
)
from p2pledger.testnet.compose.table import AUTHORITIES, GATEWAYS, NODES, endpoints, standings
from p2pledger.testnet.fault import Fault, FaultRefused, Kind

ROOT = Path(__file__).resolve().parents[3]
HEALTHY_S = 180.0
POLL_S = 1.0
SOURCES = ("all", "meters", "ride", "water")


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out one command; the exit code: 0 done, 1 refused or failed, 2 not understood."""
    options = _parser().parse_args(arguments)
    try:
        code: int = options.run(Engine(ROOT), options)
    except (EngineError, FaultRefused) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="testnet/testnet", description="A ledger of four authorities and two gateways in containers."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    up = commands.add_parser("up", help="build the image, start everything, wait, show where it is reached")
    up.add_argument("--load", action="store_true", help="replay real data through gateway-1")
    up.add_argument("--alerts", action="store_true", help="with Alertmanager")
    up.add_argument("--faults", action="store_true", help="put links between nodes that delay and lose")
    up.add_argument("--without-grafana", action="store_true", help="where its image cannot be had")
    up.set_defaults(run=_up)

    commands.add_parser("status", help="how each node is, and where").set_defaults(run=_status)

    load = commands.add_parser("load", help="replay real data through gateway-1, until it is stopped")
    load.add_argument("--rate", type=float, default=20.0, help="transactions a second (default: 20)")
    load.add_argument("--replay", choices=SOURCES, default="all")
    load.add_argument("--stop", action="store_true", help="end it")
    load.set_defaults(run=_load)

    fault = commands.add_parser("fault", help="break something, or mend it", description=faults.__doc__)
    fault.formatter_class = argparse.RawDescriptionHelpFormatter
    fault.add_argument("kind", choices=[kind.value for kind in Kind], metavar="KIND")
    fault.add_argument("nodes", nargs="*", metavar="NODE", help="of a partition: 'NODE,NODE|NODE,NODE'")
    fault.add_argument("--for", dest="for_s", type=float, metavar="S", help="wait so long and undo it")
    fault.add_argument("--ms", type=int, default=0, help="delay: each way")
    fault.add_argument("--jitter", type=int, default=0, metavar="MS", help="delay: at random, on top")
    fault.add_argument("--percent", type=float, default=0.0, help="loss: how much of what is sent")
    fault.add_argument("--silent", action="store_true", help="with links: swallow bytes, reset nothing")
    fault.set_defaults(run=_fault)

    logs = commands.add_parser("logs", help="what containers have logged")
    logs.add_argument("services", nargs="*", metavar="SERVICE")
    logs.add_argument("--follow", action="store_true", help="and what they will")
    logs.add_argument("--tail", type=int, default=100, metavar="LINES", help="of each (default: 100)")
    logs.set_defaults(run=_logs)

    commands.add_parser("stop", help="stop all; the chain stays").set_defaults(run=_stop)
    commands.add_parser("resume", help="go on with the same chain").set_defaults(run=_resume)
    commands.add_parser("reset", help="remove all, chain and keys too").set_defaults(run=_reset)
    return parser


# --- starting and stopping -------------------------------------------------------------------------------


def _up(engine: Engine, options: argparse.Namespace) -> int:
    there = engine.containers()
    asked = {"load": options.load, "alerts": options.alerts, "faults": options.faults}
    profiles = {PROFILES[service] for service in there if service in PROFILES} | {"grafana"}
    profiles |= {profile for profile, is_on in asked.items() if is_on}
    unwanted = {"faults"} - ({"faults"} if options.faults else set())
    unwanted |= {"grafana"} if options.without_grafana else set()
    profiles -= unwanted
    _wake(engine, there)
    faults.clear(engine)
    engine.compose("build", "init")
    for service, profile in PROFILES.items():
        if profile in unwanted and service in there:
            engine.compose("rm", "--stop", "--force", service)
    variables = {**route_variables(sorted(profiles)), **load_variables(there)}
    return _start(engine, variables)


def _start(engine: Engine, variables: Mapping[str, str]) -> int:
    """Start all that these variables have on, wait until all nodes are in sync, and show where they are.

    Compose starts nobody who depends on a container that is unhealthy, though it may be so for want of others
    that were paused, killed or apart: then authorities are started and waited for first, and gateways next.
    """
    links = ["links"] if "faults" in variables["COMPOSE_PROFILES"].split(",") else []
    for nodes, beside in ((AUTHORITIES, links), (GATEWAYS, [])):
        containers = engine.containers()
        if any(container.is_unwell for name, container in containers.items() if name in nodes):
            _compose_up(engine, variables, *nodes, *beside)
            _wait(engine, nodes)
    _compose_up(engine, variables)
    return _show(engine, _wait(engine, NODES))


def _compose_up(engine: Engine, variables: Mapping[str, str], *services: str) -> None:
    try:
        engine.compose("up", "--detach", "--no-build", *services, variables=variables)
    except EngineError as error:
        raise EngineError(
            f"{error}. An image that cannot be pulled: `up --without-grafana`, or name another one by"
            " TESTNET_PROMETHEUS_IMAGE (testnet/.env has the list). Homes that were made in part:"
            " `testnet/testnet reset`, then up again"
        ) from None


def _wait(engine: Engine, nodes: Sequence[str]) -> dict[str, Container]:
    """Wait until these nodes are in sync; all containers then. Raises: EngineError."""
    deadline = time.monotonic() + HEALTHY_S
    while True:
        containers = engine.containers()
        late = [name for name in nodes if not _is_healthy(containers.get(name))]
        if not late:
            return containers
        if time.monotonic() > deadline:
            _show(engine, containers)
            raise EngineError(
                f"not in sync after {HEALTHY_S:.0f} s: {', '.join(late)};"
                f" `testnet/testnet logs {late[0]}` says why"
            )
        time.sleep(POLL_S)


def _is_healthy(container: Container | None) -> bool:
    return container is not None and container.is_running and container.health == "healthy"


def _show(engine: Engine, containers: dict[str, Container]) -> int:
    print(endpoints(standings(containers, engine.p2p), containers, engine.variables))
    return 0 if all(_is_healthy(containers.get(name)) for name in NODES) else 1


def _present(engine: Engine) -> dict[str, Container]:
    containers = engine.containers()
    if not any(name in containers for name in NODES):
        raise EngineError("no testnet is there: `testnet/testnet up` makes one")
    return containers


def _status(engine: Engine, options: argparse.Namespace) -> int:
    return _show(engine, _present(engine))


def _stop(engine: Engine, options: argparse.Namespace) -> int:
    containers = _present(engine)
    _wake(engine, containers)
    engine.compose("stop", variables=engine.routes(containers))
    print("stopped; the chain stays, and `testnet/testnet resume` goes on with it")
    return 0


def _wake(engine: Engine, containers: dict[str, Container]) -> None:
    """Who is paused would not hear that it is to stop, and compose leaves it as it is."""
    if paused := [container.id for container in containers.values() if container.state == "paused"]:
        engine.docker("unpause", *paused)


def _resume(engine: Engine, options: argparse.Namespace) -> int:
    containers = _present(engine)
    _wake(engine, containers)
    faults.clear(engine)
    return _start(engine, engine.routes(containers))


def _reset(engine: Engine, options: argparse.Namespace) -> int:
    faults.clear(engine)
    engine.compose("down", "--volumes", "--remove-orphans")
    print("removed: containers, networks, and volumes with chain and keys; the image stays")
    return 0


# --- while it runs ---------------------------------------------------------------------------------------


def _load(engine: Engine, options: argparse.Namespace) -> int:
    containers = _present(engine)
    if options.stop:
        if "load" not in containers:
            raise EngineError("no load runs: `testnet/testnet load` starts one")
        engine.compose("rm", "--stop", "--force", "load")
        print("the load is stopped")
        return 0
    if not 0.1 <= options.rate <= 10_000:
        raise FaultRefused("--rate is from 0.1 to 10000 transactions a second")
    variables = {
        **engine.routes({**containers, "load": containers["gateway-1"]}),
        "TESTNET_RATE": f"{options.rate:g}",
        "TESTNET_REPLAY": options.replay,
    }
    engine.compose("up", "--detach", "--no-build", "--no-deps", "load", variables=variables)
    print(f"replaying {options.replay} through gateway-1 at {options.rate:g} transactions a second;")
    print("`testnet/testnet logs load` tells how far it is, `testnet/testnet load --stop` ends it")
    return 0


def _fault(engine: Engine, options: argparse.Namespace) -> int:
    between = "|" if options.kind == Kind.PARTITION.value else ","
    nodes = tuple(name.strip() for argument in options.nodes for name in argument.split(between))
    kind = Kind(options.kind)
    fault = Fault(kind, nodes, options.for_s, options.ms, options.jitter, options.percent, options.silent)
    done, undo = faults.make(engine, fault)
    if fault.for_s is None or undo is None:
        print(done)
        return 0
    print(f"{done}, for {fault.for_s:g} s", flush=True)
    try:
        time.sleep(fault.for_s)
    finally:  # also when the waiting is interrupted
        print(undo())
    return 0


def _logs(engine: Engine, options: argparse.Namespace) -> int:
    _present(engine)
    follow = ["--follow"] if options.follow else []
    engine.compose("logs", *follow, "--tail", str(options.tail), *options.services)
    return 0


if __name__ == "__main__":
    sys.exit(main())
