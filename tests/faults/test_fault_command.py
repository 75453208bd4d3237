"""`p2pledger testnet fault` breaks what another terminal runs, says what it did, and all goes on."""

import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from tests.net.test_testnet import PATIENCE_S, launched


@pytest.fixture
def tmp_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """By a short name: a path to the socket has 107 bytes at most, of which a worker of xdist takes some."""
    return tmp_path_factory.mktemp("up")


def fault(directory: Path, *arguments: str, code: int = 0) -> str:
    """What the command says. It finds the testnet by itself, as its directory is a temporary one."""
    command = [sys.executable, "-m", "p2pledger", "testnet", "fault", *arguments]
    environment = {**os.environ, "TMPDIR": str(directory)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=PATIENCE_S)
    assert done.returncode == code, done.stderr
    return (done.stdout or done.stderr).strip()


def url_of(said: str, name: str) -> str:
    """Where a node answers, as the table of endpoints says."""
    row = next(line for line in said.splitlines() if f" {name} " in line)
    return next(word for word in row.split() if word.startswith("http"))


def wait_until_ready(url: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        with suppress(httpx.TransportError):
            if httpx.get(f"{url}/healthz/ready").status_code == 200:
                return
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_leader_is_killed_a_network_parted_and_both_are_mended(tmp_path: Path) -> None:
    up = ("--faults", "--replay", "water", "--rate", "20", "--json")
    assert "start one with `p2pledger testnet up --faults`" in fault(tmp_path, "heal", code=1)
    with launched(tmp_path, *up) as launcher:
        launcher.wait_for("Try next")
        assert fault(tmp_path, "kill", "authority-2") == "killed authority-2"
        assert "authority-2 does not run" in fault(tmp_path, "pause", "authority-2", code=1)
        assert fault(tmp_path, "restart", "authority-2") == "started authority-2 again"
        sides = "authority-1,authority-2|authority-3,authority-4,gateway-1"
        assert fault(tmp_path, "partition", sides, "--for", "2") == (
            "authority-1, authority-2 | authority-3, authority-4, gateway-1: links between them cut, for 2 s"
        )
        assert fault(tmp_path, "heal") == "healed: all nodes run, all links are calm"
        wait_until_ready(url_of(launcher.wait_for("authority-2"), "authority-2"))
        assert launcher.interrupt() == 0, launcher.err.read_text()
    report = launcher.report()
    assert report["agree"] is True
    assert isinstance(report["transactions_final"], int) and report["transactions_final"] > 20
    assert "SIGKILL" not in launcher.err.read_text()  # a fault is no crash, and is not told as one
