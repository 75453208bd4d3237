"""The shim, compiled once a session, and processes under it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.unit.storage.chains import make_small

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


@pytest.fixture(scope="session")
def shim(tmp_path_factory) -> Path:
    """The shared object to be preloaded."""
    built = tmp_path_factory.mktemp("shim") / "shim.so"
    flags = ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared"]
    subprocess.run(["gcc", *flags, "-o", built, HERE / "shim.c", "-ldl", "-lpthread"], check=True)
    return built


@pytest.fixture(autouse=True)
def small_stores(monkeypatch) -> None:
    make_small(monkeypatch.setattr)


class Recorder:
    """Runs workloads on one directory, one after the other, into one record."""

    def __init__(self, shim: Path, place: Path) -> None:
        self.root, self.log, self._shim = place.resolve() / "disk", place / "record", shim
        self.root.mkdir()

    def run(self, blocks: int, sessions: int, *, seed: int = 1, mutant: str = "", fault: str = "") -> None:
        """An only authority: so many blocks in so many openings. A fault ends the process."""
        self._run("workload", str(blocks), str(sessions), str(seed), mutant, fault=fault)

    def run_four(self, seed: int) -> None:
        """One of four authorities, with the simulator's faults of this seed."""
        self._run("four", str(seed))

    def _run(self, workload: str, *arguments: str, fault: str = "") -> None:
        environment = {
            **os.environ,
            "LD_PRELOAD": str(self._shim),
            "POWERLOSS_DIRECTORY": str(self.root),
            "POWERLOSS_LOG": str(self.log),
            "POWERLOSS_FAULT": fault,
        }
        ended = subprocess.run(
            [sys.executable, "-m", f"tests.powerloss.{workload}", str(self.root), *arguments],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        is_killed = fault.endswith(("kill", "fail"))
        expected = -signal.SIGKILL if is_killed else 1 if fault else 0
        assert ended.returncode == expected, ended.stderr


@pytest.fixture
def recorder(shim, tmp_path) -> Recorder:
    return Recorder(shim, tmp_path)
