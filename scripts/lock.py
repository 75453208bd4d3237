"""Write constraints.txt: the exact versions that an installation takes, for every supported Python.

    python scripts/lock.py python3.11 python3.12 python3.13

Each interpreter installs the project in a fresh environment; where they end up with different versions
of a package, the line is split by `python_version`.
"""

import subprocess
import sys
import tempfile
import tomllib
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HEAD = """\
# The exact versions of all that p2pledger, its build and its tests install, on Python 3.11, 3.12 and 3.13.
# Made by `make lock`; used by every installation as `pip install -c constraints.txt`.
"""


def resolved(interpreter: str, directory: Path) -> tuple[str, dict[str, str]]:
    """The interpreter's "3.x", and version by package after a fresh installation."""
    environment = directory / "venv"
    subprocess.run([interpreter, "-m", "venv", environment], check=True)
    python = environment / "bin" / "python"
    builds_with = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    wanted = ["-e", f"{ROOT}[dev]", *builds_with]
    subprocess.run([python, "-m", "pip", "install", "--quiet", *wanted], check=True)
    minor = subprocess.check_output(
        [python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"], text=True
    )
    frozen = subprocess.check_output([python, "-m", "pip", "freeze", "--exclude-editable"], text=True)
    return minor.strip(), dict(line.split("==") for line in frozen.split() if "==" in line)


def lines(by_python: dict[str, dict[str, str]]) -> list[str]:
    """One constraint per package, or one per Python where they differ."""
    versions: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for minor, packages in by_python.items():
        for package, version in packages.items():
            versions[package.lower().replace("_", "-")][version].append(minor)
    out = []
    for package, minors in sorted(versions.items()):
        for version, where in sorted(minors.items()):
            condition = " or ".join(f'python_version == "{minor}"' for minor in where)
            out.append(f"{package}=={version}" + (f" ; {condition}" if len(minors) > 1 else ""))
    return out


def main(interpreters: list[str]) -> None:
    """Resolve under every interpreter and write the file."""
    by_python = {}
    for interpreter in interpreters or ["python3.11", "python3.12", "python3.13"]:
        with tempfile.TemporaryDirectory() as directory:
            minor, packages = resolved(interpreter, Path(directory))
        by_python[minor] = packages
        print(f"Python {minor}: {len(packages)} packages")
    (ROOT / "constraints.txt").write_text(HEAD + "\n".join(lines(by_python)) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
