"""A city of processes under the eyes of a real Prometheus, and what breaks in it."""

import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
from p2pledger.monitoring.recording import recordings
from p2pledger.testnet.city.cast import AUTHORITIES
from p2pledger.testnet.control import ask
from p2pledger.testnet.directory import Directory, open_directory
from p2pledger.testnet.fault import Fault, Kind
from prometheus_client.parser import text_string_to_metric_families
from tests.dashboards.day import TOLD
from tests.dashboards.pages import ROOT
from tests.monitoring.prometheus import Prometheus, Series, Target, prometheus, targets_of

PATIENCE_S = 480.0
STOP_S = 60.0
POLL_S = 0.2
SETTLE_S = 8.0
"""Until rates and rules have seen what was done last."""

LOOKS_BACK = "2m"
"""As far as a rule looks when it is asked here; on a quick machine the day is shorter."""

RULES = ROOT / "deploy" / "monitoring" / "rules" / "p2pledger.yml"


@dataclass(frozen=True)
class Watched:
    """What was seen, from its beginning to its end."""

    server: Prometheus
    exposed: dict[str, set[str]]
    """The labels of each series in real nodes' `/metrics`, and of those that rules record."""
    began_s: float
    ended_s: float

    def seen(self, expr: str) -> list[Series]:
        """What an expression was throughout, as a page with this time range draws it."""
        found = self.server.query_range(expr, self.began_s, self.ended_s)
        numbers = [replace(one, points=tuple(p for p in one.points if not math.isnan(p[1]))) for one in found]
        return [one for one in numbers if one.points]


@contextmanager
def watched_city(path: Path) -> Iterator[Watched]:
    """A city that was watched from its first node on, told to its end, and broken. `path` is to be short."""
    with city(path) as (directory, wait_for):
        targets = targets_of(directory)
        with prometheus(path, targets, rules=[RULES]) as server:
            began_s = time.time()
            wait_for(TOLD)
            break_things(directory.path, server, len(targets))
            time.sleep(SETTLE_S)
            yield Watched(server, {**exposed_by(targets), **recorded_by(server)}, began_s, time.time())


@contextmanager
def city(path: Path) -> Iterator[tuple[Directory, Callable[[str], None]]]:
    """The city, from the moment when its directory is made; and what waits until it says something."""
    output = path / "said.txt"
    with output.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.dashboards.day", str(path / "net")],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )

    def wait_for(text: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while text not in (said := output.read_text()):
            assert process.poll() is None and time.monotonic() < deadline, said
            time.sleep(POLL_S)

    try:
        wait_for("The eve")
        yield open_directory(path / "net"), wait_for
    finally:
        for _ in range(2):  # the second one skips what an orderly end would wait for
            process.send_signal(signal.SIGTERM)
            time.sleep(POLL_S)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()  # the kernel ends its nodes
            process.wait()


def break_things(directory: Path, server: Prometheus, nodes: int) -> None:
    """Each fault until Prometheus has seen what it is to show."""

    def until(expr: str, count: int = 1) -> None:
        server.wait_for(expr, count, PATIENCE_S)

    until("up == 1", nodes)
    ask(directory, Fault(Kind.KILL, ("authority-4",)))
    until("increase(p2pledger_consensus_proposals_missed_total[1m]) > 0")
    until("increase(p2pledger_consensus_views_skipped_total[1m]) > 0")
    ask(directory, Fault(Kind.KILL, ("authority-3",)))
    until("p2pledger_consensus_trouble > 0")
    ask(directory, Fault(Kind.RESTART, ("authority-3", "authority-4")))
    until("p2pledger_consensus_is_voting == 1", AUTHORITIES)
    ask(directory, Fault(Kind.TWIN, ("authority-2",)))
    until("increase(p2pledger_consensus_evidence_recorded_total[1m]) > 0")
    until(f"up offset {LOOKS_BACK}", nodes)


def exposed_by(targets: Sequence[Target]) -> dict[str, set[str]]:
    """What an authority and a gateway export."""
    found: dict[str, set[str]] = {}
    for target in (targets[0], targets[-1]):
        text = httpx.get(f"http://{target.address}/metrics", trust_env=False).text
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                found.setdefault(sample.name, set()).update(sample.labels)
    return found


def recorded_by(server: Prometheus) -> dict[str, set[str]]:
    """What recording rules have made of it."""
    return {
        rule.record: {label for one in server.query(rule.record) for label in one.labels}
        for rule in recordings()
    }
