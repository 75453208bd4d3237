"""Serves the API and the metrics over HTTP, under trio, until told to stop. Floor 7.

A client that stops reading would hold its connection, and with it the stop: hypercorn shields what it is
sending, so not even a cancellation reaches it. While we serve, TCP_USER_TIMEOUT on the listening sockets (the
connections inherit it) lets the kernel break such a connection. When we stop, what is still open after
GRACE_S is aborted, however patient we were.
"""

import logging
import os
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio
from hypercorn.config import Config, Sockets
from hypercorn.trio import serve as serve_asgi
from starlette.types import ASGIApp

from p2pledger.api import connections as connections  # hypercorn's, mended before they are used
from p2pledger.api.admin import make_admin
from p2pledger.api.app import make_app, make_exporter
from p2pledger.chain.genesis import Genesis
from p2pledger.errors import Fatal
from p2pledger.metrics import Metrics
from p2pledger.node.service import Service
from p2pledger.storage.snapshot import Snapshots

if TYPE_CHECKING:
    from trio_typing import TaskStatus

UNREAD_MS_MAX = 5_000
"""How long a client may leave unread what was sent to it."""

ADMIN_UNREAD_MS_MAX = 120_000
"""The same for an operator, whose disk may be slow."""

GRACE_S = 3.0
"""How long requests may go on, and connections be open, once the stop was asked for."""

IDLE_S = 15.0
"""How long a connection is kept open between requests, and how long a request's head may take."""

ABORT = struct.pack("ii", 1, 0)
"""SO_LINGER by which a socket's close is a reset, and what nobody has read is dropped."""

DESCRIPTORS = Path("/proc/self/fd")
BACKLOG = 128
HEAD_BYTES_MAX = 16 * 1024

_log = logging.getLogger("hypercorn.p2pledger")


@dataclass(frozen=True)
class Addresses:
    """Where the API and the metrics are served, as `host:port`; never port 0, which asks for a free one."""

    api: str
    metrics: str


async def serve(
    service: Service,
    bind: str,
    metrics_bind: str,
    metrics: Metrics,
    *,
    shutdown: trio.Event,
    task_status: "TaskStatus[Addresses]" = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve one node's API on `bind` and its metrics on `metrics_bind` (`host:port`) until `shutdown`.

    Started once both accept connections. Clients that do not read are cut off within UNREAD_MS_MAX. After
    `shutdown`, streams and waits end at once, other requests get GRACE_S, and then no connection is left. A
    request that meets a Fatal sets `shutdown` itself: nothing more is to be answered.
    Raises: OSError when an address cannot be bound; Fatal when a request met one.
    """
    fatals: list[Fatal] = []

    def on_fatal(error: Fatal) -> None:
        fatals.append(error)
        shutdown.set()

    with _listen(bind) as api_socket, _listen(metrics_bind) as metrics_socket:
        addresses = Addresses(_address(api_socket), _address(metrics_socket))
        app = make_app(service, metrics, shutdown, on_fatal)
        async with trio.open_nursery() as nursery:
            await nursery.start(metrics.charged("api", _serve_on), api_socket, app, shutdown)
            await nursery.start(
                metrics.charged("scrape", _serve_on), metrics_socket, make_exporter(metrics), shutdown
            )
            task_status.started(addresses)
    if fatals:
        raise fatals[0]


async def serve_admin(
    snapshots: Snapshots,
    genesis: Genesis,
    bind: str,
    *,
    shutdown: trio.Event,
    task_status: "TaskStatus[str]" = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve what only a node's operator may ask on `bind` until `shutdown`; started with the address.

    After `shutdown` a copy under way is broken off, and no connection is left after GRACE_S.
    Raises: OSError when it cannot be bound.
    """
    with _listen(bind, ADMIN_UNREAD_MS_MAX) as listening:
        async with trio.open_nursery() as nursery:
            await nursery.start(_serve_on, listening, make_admin(snapshots, genesis, shutdown), shutdown)
            task_status.started(_address(listening))


def _listen(bind: str, unread_ms_max: int | None = None) -> socket.socket:
    host, _, port = bind.rpartition(":")
    host = host.strip("[]")
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, unread_ms_max or UNREAD_MS_MAX)
        listening.bind((host, int(port)))
        listening.setblocking(False)
    except OSError as error:
        listening.close()
        raise OSError(error.errno, f"cannot listen on {bind}: {error.strerror}") from None
    except BaseException:
        listening.close()
        raise
    return listening


def _address(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class _OneSocket(Config):
    """Hypercorn's configuration for a socket that is bound already."""

    def __init__(self, listening: socket.socket) -> None:
        self._listening = listening
        self.backlog = BACKLOG
        self.errorlog = _log
        self.graceful_timeout = GRACE_S
        self.h11_max_incomplete_size = HEAD_BYTES_MAX
        self.include_server_header = False
        self.keep_alive_timeout = IDLE_S

    def create_sockets(self) -> Sockets:
        return Sockets(secure_sockets=[], insecure_sockets=[self._listening], quic_sockets=[])


async def _serve_on(
    listening: socket.socket,
    app: ASGIApp,
    shutdown: trio.Event,
    *,
    task_status: "TaskStatus[Any]" = trio.TASK_STATUS_IGNORED,
) -> None:
    framework: Any = app  # the same protocol, in the words of another package
    bound = listening.getsockname()[:2]  # hypercorn closes it
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_abort_late, bound, shutdown)
        await serve_asgi(
            framework, _OneSocket(listening), shutdown_trigger=shutdown.wait, task_status=task_status
        )
        nursery.cancel_scope.cancel()


async def _abort_late(bound: tuple[str, int], shutdown: trio.Event) -> None:
    await shutdown.wait()
    await trio.sleep(GRACE_S)
    _abort(bound)


def _abort(bound: tuple[str, int]) -> None:
    """Reset every connection that was accepted at an address.

    Hypercorn does not say which these are, so they are sought among the descriptors of this process. A shut
    socket fails whoever waits to send on it, and hypercorn's close then resets it.
    """
    host, port = bound
    for entry in DESCRIPTORS.iterdir():
        try:
            if not entry.is_socket():
                continue
            one = socket.socket(fileno=os.dup(int(entry.name)))
        except OSError:  # a thread has closed it meanwhile
            continue
        with one:
            if one.family not in (socket.AF_INET, socket.AF_INET6):
                continue
            local = one.getsockname()
            if local[1] == port and host in (local[0], "0.0.0.0", "::"):  # noqa: S104 - compared, not bound
                _shut(one)


def _shut(connection: socket.socket) -> None:
    with suppress(OSError):  # its client was quicker
        connection.getpeername()  # a socket that listens has none
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)
        connection.shutdown(socket.SHUT_RDWR)
