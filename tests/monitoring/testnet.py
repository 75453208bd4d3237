"""Testnets of real processes under load, run by `p2pledger testnet up --faults`, to be watched and broken."""

import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from p2pledger.chain.genesis import LAN
from p2pledger.testnet.control import ask
from p2pledger.testnet.directory import Charter, Directory, Plan, create_directory
from p2pledger.testnet.fault import Fault, Kind
from p2pledger.testnet.ports import claimed_ports
from tests.net.test_testnet import Launcher

STOP_S = 60.0
IDLE_INTERVAL_MS = 1_000
"""Blocks also come when nobody writes: what stands still is broken, and not idle."""


@dataclass(frozen=True)
class Testnet:
    """One that runs."""

    directory: Directory
    launcher: Launcher

    def fault(self, kind: Kind, *nodes: str, **how: Any) -> str:
        """Make a fault, as `p2pledger testnet fault` does; what was done. Raises: FaultRefused."""
        return ask(self.directory.path, Fault(kind, nodes, **how))


@contextmanager
def testnet(
    path: Path,
    *arguments: str,
    authorities: int = 4,
    gateways: int = 1,
    prepare: Callable[[Directory], None] = lambda directory: None,
) -> Iterator[Testnet]:
    """Run `p2pledger testnet up` with these arguments in `path`, until the end; all its nodes are ready.

    Unless they say otherwise all data sets are replayed over and over. `prepare` may change the nodes'
    configurations before they start. `path` is to be short: there is a socket in it.
    """
    charter = Charter(parameters=replace(LAN, idle_interval_ms=IDLE_INTERVAL_MS))
    with claimed_ports(authorities + gateways) as ports:
        directory = create_directory(path, Plan(authorities, gateways, ports.base), charter)
    prepare(directory)
    endless = () if "--duration" in arguments else ("--duration", "3600")
    launcher = Launcher(path.parent, "--faults", "--dir", str(path), "--json", *endless, *arguments)
    try:
        launcher.wait_for("Try next")
        yield Testnet(directory, launcher)
    finally:
        stop(launcher)


def stop(launcher: Launcher) -> None:
    """End it as an impatient user does: the second signal skips the comparison of the nodes."""
    for _ in range(2):
        if launcher.process.poll() is None:
            launcher.process.send_signal(signal.SIGTERM)
            try:
                launcher.process.wait(1)
            except subprocess.TimeoutExpired:
                continue
    try:
        launcher.process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        launcher.process.kill()  # the kernel ends its nodes
        launcher.process.wait()
