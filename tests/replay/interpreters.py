"""Another Python than the running one, with what `p2pledger verify-chain` needs: found here, and set up.

An interpreter of another minor version is looked for on PATH and among pyenv's; PYTHONS names others, as for
`make lock`. Its packages are the few that replaying imports, in the versions of constraints.txt, fetched by
the running Python's pip as wheels for the other one: it needs neither pip nor venv of its own.

Where there is none, one is fetched: npm's pyodide is CPython compiled to WebAssembly, and node comes with the
tests' other packages. A Debian suite has one CPython, and on PyPI none was found that is to be trusted. There
are no cbor2, coincurve and sqlite3 for pyodide: wasm/ stands in for them, and it executes what this process
has read, without looking at signatures but those inside payloads.
"""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
MINORS = (13, 12, 11)
"""The supported ones, as pyproject.toml has them, the newest first."""
PACKAGES = ("cbor2", "click", "coincurve", "rich")
PYODIDES = {13: "0.29.5", 12: "0.27.7"}
"""By the minor version of CPython that it is."""
ASK_S, FETCH_S = 20, 300
ASK = "import sqlite3, sys; print(*sys.version_info[:2])"


@dataclass(frozen=True)
class Interpreter:
    """A Python to replay under, and where its packages are (None: with it)."""

    python: str
    version: str
    packages: Path | None

    def environment(self, hash_seed: int) -> dict[str, str]:
        """This process's, but for what says where modules are and how they hash."""
        places = [str(ROOT), *([str(self.packages)] if self.packages is not None else [])]
        cleaned = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        return {**cleaned, "PYTHONPATH": os.pathsep.join(places), "PYTHONHASHSEED": str(hash_seed)}


def running() -> Interpreter:
    return Interpreter(sys.executable, "{}.{}".format(*sys.version_info[:2]), None)


def another(cache: Path) -> Interpreter | None:
    """One of another minor version, its packages kept in `cache`; None when there is none."""
    for minor in (one for one in MINORS if one != sys.version_info[1]):
        for candidate in candidates(minor):
            if minor_of(candidate) == minor:
                return Interpreter(candidate, f"3.{minor}", packages(cache, minor))
    return None


def webassembly(cache: Path) -> Interpreter:
    """CPython of another minor version as WebAssembly, fetched into `cache` when not yet there."""
    minor = next(minor for minor in PYODIDES if minor != sys.version_info[1])
    place = cache / f"pyodide-{PYODIDES[minor]}"
    pyodide = place / "node_modules" / "pyodide"
    if not (place / "whole").exists():
        fetch = [str(BIN / "npm"), "install", "--ignore-scripts", "--no-audit", "--no-fund"]
        done = subprocess.run(
            [*fetch, "--prefix", str(place), f"pyodide@{PYODIDES[minor]}"],
            env={**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            timeout=FETCH_S,
        )
        assert done.returncode == 0, f"no pyodide: {done.stderr}"
        (place / "whole").touch()
    return Interpreter(str(BIN / "node"), f"3.{minor}", pyodide)


def candidates(minor: int) -> list[str]:
    """Where a Python 3.`minor` may be, each to be asked what it is: pyenv puts shims on PATH that fail."""
    found = [shutil.which(name) for name in os.environ.get("PYTHONS", "").split()]
    found += [
        shutil.which(f"python3.{minor}"),
        f"/usr/bin/python3.{minor}",
        f"/usr/local/bin/python3.{minor}",
    ]
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    found += [str(path) for path in sorted(root.glob(f"versions/3.{minor}.*/bin/python"), reverse=True)]
    return [path for path in dict.fromkeys(found) if path is not None and Path(path).exists()]


def minor_of(python: str) -> int | None:
    """The minor version of a Python 3 that can open a chain; None when it does not run."""
    try:
        asked = subprocess.run([python, "-c", ASK], capture_output=True, text=True, timeout=ASK_S)
    except (OSError, subprocess.TimeoutExpired):
        return None
    major, _, minor = asked.stdout.strip().partition(" ")
    return int(minor) if asked.returncode == 0 and major == "3" else None


def packages(cache: Path, minor: int) -> Path:
    """What replaying imports beside the standard library, for this Python; fetched when not yet there."""
    constraints = ROOT / "constraints.txt"
    wanted = sorted(line for line in constraints.read_text().splitlines() if line.startswith(PACKAGES))
    place, part = cache / f"cp3{minor}", cache / f"cp3{minor}.{os.getpid()}"
    stamp = place / "wanted.txt"
    if stamp.exists() and stamp.read_text().splitlines() == wanted:
        return place
    shutil.rmtree(place, ignore_errors=True)
    pip = [sys.executable, "-m", "pip", "install", "-qq", "--disable-pip-version-check", "--no-compile"]
    which = ["--only-binary", ":all:", "--implementation", "cp", "--python-version", f"3.{minor}"]
    done = subprocess.run(
        [*pip, *which, "--target", str(part), "-c", str(constraints), *PACKAGES],
        capture_output=True,
        text=True,
        timeout=FETCH_S,
    )
    assert done.returncode == 0, f"no packages for Python 3.{minor}: {done.stderr}"
    (part / stamp.name).write_text("\n".join(wanted))
    part.rename(place)
    return place
