"""Nodes as processes of their own: started, watched, stopped, and never left behind. Floor 8.

A node gets a session of its own, so that Ctrl-C in the terminal reaches the launcher alone, which then
stops the nodes in order. Should the launcher itself be killed, the kernel tells the nodes to stop
(`lifeline`).
"""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import httpx
import trio

READY_S = 60.0
STOP_S = 12.0
"""A node stops within 10 s of SIGTERM; one that does not is killed."""

POLL_S = 0.1
LOG_TAIL_LINES = 15


class NodeDied(Exception):
    """A node ended by itself; the message says how, and holds the end of its log."""


class NodeProcess:
    """One node's process. Its standard output and error go to its log, appended.

    `environment` stands over the launcher's own, `program` is what follows `python -m`.
    """

    def __init__(
        self,
        name: str,
        configuration: Path,
        log: Path,
        http_url: str,
        environment: Mapping[str, str] | None = None,
        program: Sequence[str] = ("p2pledger", "node"),
    ) -> None:
        self.name = name
        self.log = log
        self.http_url = http_url
        command = [sys.executable, "-m", *program, "--config", str(configuration)]
        with log.open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                [*command, "--parent", str(os.getpid())],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, **(environment or {})},
            )
        self._is_paused = False

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def how_it_ended(self) -> str | None:
        """None while it runs; else how it ended, in words."""
        code = self._process.poll()
        if code is None:
            return None
        return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"

    def tail(self) -> str:
        """The end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:])

    async def wait_until_ready(self, client: httpx.AsyncClient) -> None:
        """Return once it answers that it is in sync and takes transactions.

        Raises: NodeDied, also when that takes longer than READY_S.
        """
        with trio.move_on_after(READY_S):
            while (ended := self.how_it_ended()) is None:
                try:
                    if (await client.get(f"{self.http_url}/healthz/ready")).status_code == 200:
                        return
                except httpx.TransportError:
                    pass  # it does not listen yet
                await trio.sleep(POLL_S)
            raise NodeDied(f"{self.name} {ended}; the end of {self.log}:\n{self.tail()}")
        raise NodeDied(
            f"{self.name} was not ready after {READY_S:.0f} s; the end of {self.log}:\n{self.tail()}"
        )

    def pause(self) -> None:
        """Stop it where it is; its connections stand, and nobody answers on them."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGSTOP)
            self._is_paused = True

    def resume(self) -> None:
        """Let it go on, if it was paused."""
        if self._is_paused and self._process.poll() is None:
            self._process.send_signal(signal.SIGCONT)
        self._is_paused = False

    def terminate(self) -> None:
        """Ask it to stop; one that is paused is woken to do so."""
        if self._process.poll() is None:
            self._process.terminate()
            self.resume()

    def kill(self) -> None:
        """Make it stop."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    async def wait(self) -> None:
        """Return once it has ended."""
        while self._process.poll() is None:  # noqa: ASYNC110 - no event tells of it
            await trio.sleep(POLL_S)


async def stop_all(nodes: Sequence[NodeProcess]) -> list[str]:
    """Stop all nodes at once; the names of those that had to be killed. Not to be cancelled half-way."""
    for node in nodes:
        node.terminate()
    with trio.move_on_after(STOP_S) as scope:
        scope.shield = True
        for node in nodes:
            await node.wait()
    stubborn = [node.name for node in nodes if node.how_it_ended() is None]
    for node in nodes:
        node.kill()
    return stubborn
