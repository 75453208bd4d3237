"""Prometheus beside a testnet that is to be broken, with the project's rules at ten times their speed."""

import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from p2pledger.monitoring.pace import Pace
from p2pledger.monitoring.render import RULES, write
from tests.monitoring.prometheus import Prometheus, prometheus, targets_of
from tests.monitoring.testnet import Testnet, testnet

SPEED = 10
PATIENCE_S = 100.0
POLL_S = 0.5
HEALTHY_S = 15.0
"""So long all has to be well before anything is broken."""

OURS = "P2pledger"
"""How each alert of the project begins."""

OF_A_BUSY_MACHINE = frozenset({"P2pledgerClockSkew", "P2pledgerCommitSlow", "P2pledgerLoopLag"})
"""What six nodes on a few shared cores and one disk may rightly raise, at a tenth of the patience: loops wake
late, blocks look late by that, and commits wait for other tests' files. They say it of the machine."""

Fired = tuple[str, str]
"""An alert and whom it is about: its `instance`, `authority`, or nothing for a whole chain."""


class Watch:
    """Looks at the alerts of one run, and keeps when each was first seen."""

    def __init__(self, server: Prometheus, names: frozenset[str]) -> None:
        self._server = server
        self._names = names

    def firing(self) -> set[Fired]:
        """Those of the alerts looked for that fire now."""
        return {one for one in self._all_firing() if one[0] in self._names}

    def of_ours(self) -> set[Fired]:
        """All of the project's alerts that fire now, but for what only the machine is to blame for."""
        beside = OF_A_BUSY_MACHINE - self._names
        return {one for one in self._all_firing() if one[0].startswith(OURS) and one[0] not in beside}

    def stays_calm(self, for_s: float = HEALTHY_S) -> None:
        """Fail if any of the project's alerts fires: no network is healthy of which one does, and what fires
        before its fault shows nothing by firing after it."""
        end = time.monotonic() + for_s
        while time.monotonic() < end:
            assert not (firing := self.of_ours()), firing
            time.sleep(POLL_S)

    def _all_firing(self) -> set[Fired]:
        return {
            (alert.name, alert.labels.get("instance", alert.labels.get("authority", "")))
            for alert in self._server.alerts()
            if alert.state == "firing"
        }

    def until_fired(self, expected: set[Fired], may: Collection[str] = ()) -> None:
        """Wait until these fire, all at one time. Others must not, but for those of `may`."""
        began, seen = time.monotonic(), dict[Fired, float]()
        while not expected <= (firing := self.firing()):
            for one in firing - seen.keys():
                seen[one] = time.monotonic() - began
            assert time.monotonic() < began + PATIENCE_S, f"{expected - firing} not within {PATIENCE_S:g} s"
            assert {one for one in firing - expected if one[0] not in may} == set()
            time.sleep(POLL_S)
        for one in firing - seen.keys():
            seen[one] = time.monotonic() - began
        for (name, whom), after_s in sorted(seen.items(), key=lambda item: item[1]):
            print(f"  {name} {whom}: firing after {after_s:.0f} s")
        self._read_what_they_say(expected)

    def until_resolved(self, *but: str) -> None:
        """Wait until none of them fires any more, except these."""
        began = time.monotonic()
        while left := {one for one in self.firing() if one[0] not in but}:
            assert time.monotonic() < began + PATIENCE_S, f"{left} still fire after {PATIENCE_S:g} s"
            time.sleep(POLL_S)
        print(f"  resolved after {time.monotonic() - began:.0f} s")

    def _read_what_they_say(self, expected: set[Fired]) -> None:
        """A template that goes wrong is no error to Prometheus: it says so in the text."""
        for alert in self._server.alerts():
            whom = alert.labels.get("instance", alert.labels.get("authority", ""))
            if (alert.name, whom) in expected:
                said = " ".join(alert.annotations.values())
                assert "error expanding template" not in said and "<no value>" not in said, said
                assert alert.annotations["runbook_url"].endswith(f"/{alert.name}.md")


@contextmanager
def watched(path: Path, names: set[str], *arguments: str, **how) -> Iterator[tuple[Testnet, Watch]]:
    """A testnet of four authorities and two gateways that is well, and the alerts that are looked for."""
    write(path / "rules", Pace(SPEED))
    rules = path / "rules" / RULES
    with (
        testnet(path / "net", *arguments, gateways=2, **how) as net,
        prometheus(path, targets_of(net.directory), interval_s=1, rules=[rules]) as server,
    ):
        server.wait_for('up{job="p2pledger"} == 1', count=6)
        server.wait_for("p2pledger_chain_finalized_height > 20", count=6)
        watch = Watch(server, frozenset(names))
        watch.stays_calm()
        assert set(server.rules().values()) == {"ok"}
        yield net, watch
