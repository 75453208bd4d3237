"""What only a node's operator may ask, at a port of its own: a copy of its chain. Floor 7.

    GET /v1/backup     one line of JSON that says what follows (`Manifest`) and holds the genesis file, the
                       bytes of `chain.db`, and one line of JSON with their SHA-256: without it the copy
                       broke off

It is bound to loopback unless the configuration says otherwise, and asks for no password: who may reach it is
for the network to say. It is made of a `Snapshots` and nothing else, so it cannot give what that does not
hold: no key, and nothing of the guard. Memory holds one chunk at a time.
"""

import json
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from hashlib import sha256
from http import HTTPStatus

import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from p2pledger.api.edge import RETRY_AFTER_MS, Edge, refusal_response
from p2pledger.api.refusals import Refusal
from p2pledger.chain.genesis import Genesis
from p2pledger.codec import to_json
from p2pledger.errors import Fatal
from p2pledger.storage.snapshot import NoRoom, Snapshot, Snapshots

BACKUP_PATH = "/v1/backup"


def make_admin(snapshots: Snapshots, genesis: Genesis, closing: trio.Event) -> ASGIApp:
    """The application. `closing` breaks off what is under way."""
    making = trio.CapacityLimiter(1)  # each takes as much room as the chain

    async def backup(_: Request) -> Response:
        one = object()
        try:
            making.acquire_on_behalf_of_nowait(one)
        except trio.WouldBlock:
            return _refused("a backup is being made already")
        try:
            snapshot = await take(snapshots, closing)
        except BaseException as error:
            making.release_on_behalf_of(one)
            if isinstance(error, NoRoom | Closing):
                return _refused(str(error))
            raise
        return Download(snapshot, genesis, closing, lambda: making.release_on_behalf_of(one))

    def unmeasured(route: str, method: str, status: str, seconds: float) -> None:
        """Backups are not requests to the API."""

    def raise_fatal(error: Fatal) -> None:
        raise error

    return Edge(Starlette(routes=[Route(BACKUP_PATH, backup)]), unmeasured, raise_fatal)


class Closing(Exception):
    """The node stops: nobody waits for this copy any more."""


async def take(snapshots: Snapshots, closing: trio.Event) -> Snapshot:
    """A copy, made in a thread. Raises: Closing, once that is set; what `Snapshots.take` raises."""

    def go_on() -> None:
        if closing.is_set():
            raise Closing("the node stops")

    return await trio.to_thread.run_sync(snapshots.take, go_on)


def _refused(why: str) -> Response:
    return refusal_response(
        Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "overloaded", why, retry_after_ms=RETRY_AFTER_MS)
    )


class Download(Response):
    """A copy as it is sent: it is let go of when all was sent, the client is gone, or the node stops."""

    def __init__(
        self, snapshot: Snapshot, genesis: Genesis, closing: trio.Event, on_end: Callable[[], None]
    ) -> None:
        super().__init__(media_type="application/octet-stream")
        del self.headers["content-length"]
        self._snapshot, self._genesis, self._closing = snapshot, genesis, closing
        self._on_end = on_end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI entry point."""
        try:
            async with trio.open_nursery() as nursery:

                async def watch() -> None:
                    while (await receive())["type"] != "http.disconnect":
                        pass
                    nursery.cancel_scope.cancel()

                async def end() -> None:
                    await self._closing.wait()
                    nursery.cancel_scope.cancel()

                nursery.start_soon(watch)
                nursery.start_soon(end)
                await send(
                    {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
                )
                async with aclosing(self._pieces()) as pieces:
                    async for piece in pieces:
                        await send({"type": "http.response.body", "body": piece, "more_body": True})
                with trio.CancelScope(shield=True):  # see `events.EventStream`
                    await send({"type": "http.response.body", "body": b"", "more_body": False})
                nursery.cancel_scope.cancel()
        finally:
            self._snapshot.close()
            self._on_end()

    async def _pieces(self) -> AsyncGenerator[bytes, None]:
        yield _line({**self._snapshot.manifest.as_json(), "genesis": to_json(self._genesis)})
        digest = sha256()
        while piece := await trio.to_thread.run_sync(self._snapshot.read):
            digest.update(piece)
            yield piece
        yield _line({"sha256": digest.hexdigest()})


def _line(shown: object) -> bytes:
    return json.dumps(shown, separators=(",", ":")).encode() + b"\n"
