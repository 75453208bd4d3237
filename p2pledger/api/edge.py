"""The outermost layer of the API: what must hold for every request, whatever its route. Floor 7.

bodies     are read here, whole, within a limit of bytes and of time, and within what all requests
           together may hold in memory; the routes see only complete ones
refusals   of a body drain the rest of it first: hypercorn hands the body over in a queue of ten and
           waits for ever on a full one that nobody reads, and a socket closed on unread data takes
           the answer with it
measures   the time from a request's head until its answer begins, by route template
Fatal      raised anywhere below stops the node, not just the request
"""

from collections.abc import Callable
from http import HTTPStatus

import trio
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from p2pledger.api.refusals import Refusal
from p2pledger.api.submission import REQUEST_BYTES_MAX
from p2pledger.api.views import ErrorView
from p2pledger.errors import Fatal
from p2pledger.metrics import OTHER

BODY_MS_MAX = 20_000
"""How long a body may take to arrive."""

DRAIN_MS_MAX = 2_000
"""How long the rest of a refused body is read and thrown away."""

BUFFERED_BYTES_MAX = 64 * 1024 * 1024
"""The bodies of all requests in flight, together."""

RETRY_AFTER_MS = 1_000

Measure = Callable[[str, str, str, float], None]
"""Takes route template, method, status and seconds."""


class _Gone(Exception):
    """The client went away before its body was here."""


class Edge:
    """Wraps an ASGI application; `on_fatal` is told of a `Fatal` that a request met."""

    def __init__(self, app: ASGIApp, measure: Measure, on_fatal: Callable[[Fatal], None]) -> None:
        self._app = app
        self._measure = measure
        self._on_fatal = on_fatal
        self._buffered = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI entry point."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = trio.current_time()

        async def measured_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                route = getattr(scope.get("route"), "path", OTHER)
                seconds = trio.current_time() - started
                self._measure(route, scope["method"], str(message["status"]), seconds)
            await send(message)

        body = bytearray()
        try:
            await self._read(scope, receive, body)
            await self._app(scope, _replay(bytes(body), receive), measured_send)
        except _Gone:
            return
        except Refusal as refusal:
            await _answer_and_drain(refusal, scope, receive, measured_send)
        except Fatal as error:
            self._on_fatal(error)
        finally:
            self._buffered -= len(body)

    async def _read(self, scope: Scope, receive: Receive, body: bytearray) -> None:
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        _check_size(int(declared[:20]) if declared.isdigit() else 0)
        with trio.move_on_after(BODY_MS_MAX / 1_000):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise _Gone
                chunk = message.get("body", b"")
                body += chunk
                self._buffered += len(chunk)
                _check_size(len(body))
                if self._buffered > BUFFERED_BYTES_MAX:
                    raise Refusal(
                        HTTPStatus.SERVICE_UNAVAILABLE,
                        "overloaded",
                        "too many bodies are on their way",
                        retry_after_ms=RETRY_AFTER_MS,
                    )
                if not message.get("more_body", False):
                    return
        raise Refusal(
            HTTPStatus.REQUEST_TIMEOUT, "body_too_slow", f"the body was not here after {BODY_MS_MAX} ms"
        )


def _check_size(size: int) -> None:
    if size > REQUEST_BYTES_MAX:
        raise Refusal(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            "body_too_large",
            f"a request has at most {REQUEST_BYTES_MAX} bytes",
        )


def _replay(body: bytes, receive: Receive) -> Receive:
    """The body at once, then whatever comes after it (in the end, that the client went away)."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return waiting.pop() if waiting else await receive()

    return replayed


async def _drain(receive: Receive, *, to_end_of_body: bool) -> None:
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        if to_end_of_body and not message.get("more_body", False):
            return


async def _answer_and_drain(refusal: Refusal, scope: Scope, receive: Receive, send: Send) -> None:
    with trio.move_on_after(DRAIN_MS_MAX / 1_000):
        await _drain(receive, to_end_of_body=True)
    async with trio.open_nursery() as nursery:
        # The answer's end closes the connection, which is told as the last message of the same queue.
        nursery.cancel_scope.deadline = trio.current_time() + DRAIN_MS_MAX / 1_000
        nursery.start_soon(lambda: _drain(receive, to_end_of_body=False))
        await refusal_response(refusal)(scope, receive, send)


def refusal_response(refusal: Refusal) -> Response:
    """The HTTP answer that a refusal makes."""
    return Response(
        ErrorView(**refusal.view()).json_bytes(),
        status_code=refusal.status,
        headers=refusal.headers(),
        media_type="application/json",
    )
