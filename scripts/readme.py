"""Run every command that the README shows, in its order, as a reader would.

A `sh` block is one or more commands. A command that stays (`make testnet` without a duration) is left
running, once it says that it is ready, while the commands that follow talk to it; it is interrupted
before the next command that starts something of its own, and must then end well. `make test` is left
out: `.ci/run` has run it just before.
"""

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
READY = "Try next"
JUDGED = "All nodes agree"
READY_S = 240
END_S = 60


def commands(readme: str) -> list[str]:
    """The commands of all `sh` blocks; comments and blank lines are left out."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", readme, flags=re.MULTILINE | re.DOTALL)
    lines = [line.strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def is_staying(command: str) -> bool:
    """Whether a command runs until it is interrupted."""
    return "testnet" in command and "--duration" not in command


def is_asking(command: str) -> bool:
    """Whether a command talks to what was left running, and starts nothing of its own."""
    return command.startswith("curl") or " query " in command


class Staying:
    """A command left running."""

    def __init__(self, command: str) -> None:
        self.command = command
        self.output = tempfile.NamedTemporaryFile("w+", prefix="readme-", suffix=".log")  # noqa: SIM115
        self.process = subprocess.Popen(
            ["bash", "-c", command], stdout=self.output, stderr=self.output, cwd=ROOT, start_new_session=True
        )

    def text(self) -> str:
        """What it has said so far."""
        return Path(self.output.name).read_text(errors="replace")

    def is_ready(self) -> bool:
        """Wait until it says so; False when it ends or takes too long."""
        deadline = time.monotonic() + READY_S
        while time.monotonic() < deadline and self.process.poll() is None:
            if READY in self.text():
                return True
            time.sleep(0.5)
        return False

    def end(self) -> bool:
        """Press Ctrl-C; whether it then ended well, and in time."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGINT)
        try:
            self.process.wait(END_S)  # the code says nothing: make calls every interrupt an error
            return JUDGED in self.text()
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            return False


def run_all(readme: str) -> list[tuple[str, bool]]:
    """Every command and whether it did what it should."""
    results: list[tuple[str, bool]] = []
    staying: Staying | None = None

    def end_staying() -> None:
        nonlocal staying
        if staying is not None:
            good = staying.end()
            if not good:
                print(staying.text()[-5_000:])
            results.append((f"{staying.command} (until Ctrl-C)", good))
            staying = None

    for command in commands(readme):
        if command == "make test":
            continue
        if not is_asking(command):
            end_staying()
        print(f"$ {command}", flush=True)
        if is_staying(command):
            staying = Staying(command)
            results.append((command, staying.is_ready()))
        else:
            done = subprocess.run(["bash", "-c", command], cwd=ROOT, stdin=subprocess.DEVNULL, check=False)
            results.append((command, done.returncode == 0))
    end_staying()
    return results


def main() -> int:
    """Run them, print one line per command; 1 when one failed or there was none."""
    results = run_all((ROOT / "README.md").read_text())
    for command, good in results:
        print(f"{'passed' if good else 'FAILED'}: {command}")
    return 0 if results and all(good for _, good in results) else 1


if __name__ == "__main__":
    sys.exit(main())
