"""Real servers on loopback, in a thread with a trio loop of its own, so that any kind of client can ask."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
import trio
from p2pledger import api
from p2pledger.metrics import Metrics
from tests.unit.api.small_ledger import SmallLedger


class Server:
    """A small ledger behind a real server. `url` is where; `on_loop` runs a function where it lives."""

    def __init__(self, ledger: SmallLedger) -> None:
        self.ledger = ledger
        self.url = ""
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: trio.run(self._run))

    async def _run(self) -> None:
        self._token, self._shutdown = trio.lowlevel.current_trio_token(), trio.Event()
        metrics = Metrics(version="0.1.0", chain_id="small", node="a")
        async with trio.open_nursery() as nursery:
            addresses = await nursery.start(
                lambda task_status: api.serve(
                    self.ledger,
                    "127.0.0.1:0",
                    "127.0.0.1:0",
                    metrics,
                    shutdown=self._shutdown,
                    task_status=task_status,
                )
            )
            self.url = f"http://{addresses.api}"
            self._started.set()

    def __enter__(self) -> "Server":
        self._thread.start()
        self._started.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        if self._thread.is_alive():
            self.on_loop(self._shutdown.set)
            self._thread.join()

    def on_loop(self, function: Callable, *arguments):
        return trio.from_thread.run_sync(function, *arguments, trio_token=self._token)

    def finalise(self):
        return self.on_loop(self.ledger.finalise)


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    """Starts servers; all are stopped at the end."""
    with ExitStack() as servers:
        yield lambda **ledger: servers.enter_context(Server(SmallLedger(**ledger)))
