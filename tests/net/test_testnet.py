"""The launcher as a user starts it: real processes and data; interrupted, killed, gone on with."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest
from p2pledger.chain.transaction import Transaction
from p2pledger.client.readings import ReadingsFile
from p2pledger.ledger.machine import Machine
from p2pledger.storage.sqlite import SqliteStore
from p2pledger.testnet.directory import open_directory
from p2pledger.types import Height
from tests.unit.testnet.counting import FILES, counted, numbers_on_the_ledger

PATIENCE_S = 240
REPORT = [
    "authorities",
    "gateways",
    "height",
    "agree",
    "transactions_final",
    "transactions_refused",
    "readings_final",
    "latency_ms",
    "duration_s",
]


@pytest.fixture
def tmp_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """By a short name: a path to the socket has 107 bytes at most, of which a worker of xdist takes some."""
    return tmp_path_factory.mktemp("up")


class Launcher:
    """`p2pledger testnet up` as a process, its output in files."""

    def __init__(self, directory: Path, *arguments: str) -> None:
        self.out, self.err = directory / "out.txt", directory / "err.txt"
        with self.out.open("w") as out, self.err.open("w") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "p2pledger", "testnet", "up", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env={**os.environ, "TMPDIR": str(directory)},
            )

    def wait_for(self, text: str) -> str:
        """What it said, once that holds `text`."""
        deadline = time.monotonic() + PATIENCE_S
        while text not in (said := self.err.read_text() + self.out.read_text()):
            assert self.process.poll() is None and time.monotonic() < deadline, said
            time.sleep(0.1)
        return said

    def interrupt(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(PATIENCE_S)

    def report(self) -> dict[str, object]:
        """The last line of its standard output."""
        return json.loads(self.out.read_text().splitlines()[-1])

    def nodes(self) -> list[int]:
        """The process ids of its nodes."""
        found = []
        for status in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):
                words = status.read_bytes().split(b"\0")
                if b"node" in words and words[words.index(b"--parent") + 1 :][:1] == [
                    b"%d" % self.process.pid
                ]:
                    found.append(int(status.parent.name))
        return found


@contextmanager
def launched(directory: Path, *arguments: str) -> Iterator[Launcher]:
    launcher = Launcher(directory, *arguments)
    try:
        yield launcher
    finally:
        launcher.process.kill()
        launcher.process.wait()


def wait_until_gone(pids: list[int]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def final_transactions(path: Path) -> tuple[list[Transaction], int]:
    """All that the gateway of a stopped testnet holds, and its height."""
    directory = open_directory(path)
    machine = Machine(directory.genesis)
    store = SqliteStore(path / "gateway-1" / "data", directory.genesis, machine.start())
    try:
        height = store.tip().height
        transactions: list[Transaction] = []
        for first in range(1, height + 1, 256):
            for block in store.blocks(Height(first), 256):
                transactions += store.bodies(block.transaction_ids)
        return transactions, height
    finally:
        store.close()


def test_one_command_for_some_seconds_ends_in_a_report_and_leaves_nothing_behind(tmp_path: Path) -> None:
    with launched(tmp_path, "--replay", "ride", "--rate", "50", "--duration", "6", "--json") as launcher:
        launcher.wait_for("Try next")
        nodes = launcher.nodes()
        assert len(nodes) == 5
        assert launcher.process.wait(PATIENCE_S) == 0, launcher.err.read_text()
    report = launcher.report()
    assert list(report) == REPORT
    assert (report["authorities"], report["gateways"], report["agree"]) == (4, 1, True)
    assert isinstance(report["height"], int) and report["height"] > 0
    assert isinstance(report["readings_final"], int) and report["readings_final"] > 50
    assert isinstance(report["latency_ms"], dict) and list(report["latency_ms"]) == ["p50", "p95", "p99"]
    wait_until_gone(nodes)
    assert list(tmp_path.glob("p2pledger-testnet-*")) == []


def test_a_full_pass_through_real_nodes_loses_nothing_and_doubles_nothing(tmp_path: Path) -> None:
    home = tmp_path / "net"
    with launched(tmp_path, "--dir", str(home), "--rate", "400", "--json") as launcher:
        launcher.wait_for("The replay is done")
        assert launcher.interrupt() == 0, launcher.err.read_text()
    report = launcher.report()
    transactions, height = final_transactions(home)
    numbers = numbers_on_the_ledger(transactions)
    expected = {name: counted(*file[:3]) for name, file in FILES.items()}
    assert sorted(map(sorted, numbers.values())) == sorted(sorted(found) for found, _ in expected.values())
    repeats = sum(repeated for _, repeated in expected.values())
    assert report["transactions_refused"] == {"duplicate": repeats}
    assert report["readings_final"] == sum(len(found) for found, _ in expected.values())
    assert report["transactions_final"] == len(transactions)
    assert report["agree"] is True and report["height"] == height
    readings = ReadingsFile(home / "gateway-1" / "readings.db")
    assert readings.count() == sum(len(found) for name, (found, _) in expected.items() if name != "water")
    readings.close()


def test_a_kept_testnet_goes_on_with_the_same_chain_and_what_it_says_to_try_works(tmp_path: Path) -> None:
    home = tmp_path / "net"
    few = ("--authorities", "1", "--dir", str(home), "--replay", "water", "--rate", "300", "--json")
    with launched(tmp_path, *few) as launcher:
        said = launcher.wait_for("stays up until Ctrl-C")
        urls = re.findall(r"curl (?:-\w )?(http://\S+)", said)
        assert len(urls) == 5
        for url in urls:
            if not url.endswith("/events"):
                assert httpx.get(url).status_code == 200, url
        assert launcher.interrupt() == 0, launcher.err.read_text()
    first = launcher.report()
    assert first["transactions_final"] == 1_269
    with launched(tmp_path, "--dir", str(home), "--replay", "none", "--json") as launcher:
        launcher.wait_for("Try next")
        launcher.process.send_signal(signal.SIGTERM)
        assert launcher.process.wait(PATIENCE_S) == 0, launcher.err.read_text()
    second = launcher.report()
    assert second["authorities"] == 1
    assert isinstance(second["height"], int) and isinstance(first["height"], int)
    assert second["height"] >= first["height"]


def test_nodes_do_not_outlive_a_launcher_that_is_killed(tmp_path: Path) -> None:
    with launched(tmp_path, "--authorities", "1", "--replay", "none") as launcher:
        launcher.wait_for("Try next")
        nodes = launcher.nodes()
        assert len(nodes) == 2
        launcher.process.kill()
        wait_until_gone(nodes)


def test_a_node_that_dies_is_told_of_and_spoils_the_agreement(tmp_path: Path) -> None:
    with launched(tmp_path, "--replay", "water", "--rate", "20", "--json") as launcher:
        launcher.wait_for("Try next")
        os.kill(min(launcher.nodes()), signal.SIGKILL)
        launcher.wait_for("was killed by SIGKILL")
        before = time.monotonic()
        while time.monotonic() - before < 5:
            time.sleep(0.5)
        assert launcher.interrupt() == 1
    report = launcher.report()
    assert report["agree"] is False
    assert isinstance(report["transactions_final"], int) and report["transactions_final"] > 10


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--replay", "nothing"), "--replay"),
        (("--rate", "0"), "--rate"),
        (("--dir", "/proc"), "choose another --dir"),
    ],
)
def test_what_cannot_be_done_is_refused_with_the_reason(
    tmp_path: Path, arguments: tuple[str, ...], why: str
) -> None:
    with launched(tmp_path, *arguments) as launcher:
        assert launcher.process.wait(PATIENCE_S) != 0
        assert why in launcher.err.read_text()
