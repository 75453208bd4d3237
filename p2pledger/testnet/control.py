"""Where a running testnet is told what to do: a socket in its directory, lines of JSON. Floor 8.

Only whoever runs the testnet may speak to it: the socket is the owner's alone. One request is one line, and
so is its answer: `{"done": "killed authority-2"}` or `{"refused": "no node is called …"}`.
"""

import json
import os
import socket
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from p2pledger.testnet.fault import Fault, FaultRefused, Kind

if TYPE_CHECKING:
    from trio_typing import TaskStatus

    from p2pledger.testnet.link_faults import FaultMaker

SOCKET = "control.sock"
TEMPORARY = "p2pledger-testnet-"
"""What the names of directories of unkept testnets begin with."""

LINE_BYTES_MAX = 64 * 1024
PATH_BYTES_MAX = 107
"""What the kernel takes as a socket's address."""

BACKLOG = 4
REQUEST_S = 5.0
ANSWER_S = 60.0
"""Ending a node that does not stop takes longest."""


class NoTestnet(Exception):
    """No running testnet was found, or not just one. The message says what to do."""


# --- the testnet's side ----------------------------------------------------------------------------------


async def serve(
    directory: Path, faults: "FaultMaker", *, task_status: "TaskStatus[None]" = trio.TASK_STATUS_IGNORED
) -> None:
    """Take requests for ever. The socket is gone afterwards. Raises: NoTestnet for too long a path."""
    path = directory / SOCKET
    if len(os.fsencode(path)) > PATH_BYTES_MAX:
        raise NoTestnet(f"{path} is too long for a socket's name: choose a shorter --dir")
    path.unlink(missing_ok=True)  # of a testnet that was killed: the ports' claim says that it is gone
    with trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        await listening.bind(str(path))
        path.chmod(0o600)  # before anybody can connect
        listening.listen(BACKLOG)
        try:
            task_status.started()
            await trio.serve_listeners(
                lambda stream: _answer(stream, faults), [trio.SocketListener(listening)]
            )
        finally:
            path.unlink(missing_ok=True)


async def _answer(stream: trio.SocketStream, faults: "FaultMaker") -> None:
    async with stream:
        with suppress(trio.BrokenResourceError):
            try:
                with trio.fail_after(REQUEST_S):
                    request = await _read_line(stream)
                answer = {"done": await faults.make(read_fault(request))}
            except FaultRefused as refused:
                answer = {"refused": str(refused)}
            except trio.TooSlowError:
                return
            await stream.send_all(json.dumps(answer).encode() + b"\n")


async def _read_line(stream: trio.SocketStream) -> bytes:
    line = b""
    while b"\n" not in line:
        piece = await stream.receive_some(LINE_BYTES_MAX)
        line += piece
        if not piece or len(line) > LINE_BYTES_MAX:
            raise FaultRefused("a request is one line of JSON")
    return line


def read_fault(line: bytes) -> Fault:
    """The fault that a request names. Raises: FaultRefused."""
    try:
        fields: dict[str, Any] = json.loads(line)
        kind, nodes = Kind(fields.pop("kind")), fields.pop("nodes")
        return Fault(
            kind=kind,
            nodes=tuple(map(str, nodes)),
            **{name: _NUMBERS[name](value) for name, value in fields.items()},
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise FaultRefused(f"a request that cannot be read: {error!r}") from None


_NUMBERS: dict[str, Any] = {
    "for_s": lambda value: None if value is None else float(value),
    "ms": int,
    "jitter_ms": int,
    "percent": float,
    "is_silent": bool,
}


# --- the command's side ----------------------------------------------------------------------------------


def ask(directory: Path, fault: Fault) -> str:
    """Have the testnet in a directory make a fault; what it did. Raises: NoTestnet, FaultRefused."""
    request = {**asdict(fault), "kind": fault.kind.value}
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stream:
        stream.settimeout(ANSWER_S)
        try:
            stream.connect(str(directory / SOCKET))
            stream.sendall(json.dumps(request).encode() + b"\n")
            with stream.makefile("rb") as lines:
                answer = json.loads(lines.readline(LINE_BYTES_MAX))
        except (OSError, ValueError) as error:
            raise NoTestnet(
                f"no testnet answers in {directory} ({error}): start one with `p2pledger testnet up --faults`"
            ) from None
    if "refused" in answer:
        raise FaultRefused(answer["refused"])
    return str(answer["done"])


def find(directory: Path | None) -> Path:
    """The directory of the running testnet that is meant. Raises: NoTestnet."""
    if directory is not None:
        return directory.absolute()
    found = [
        path.parent for path in Path(tempfile.gettempdir()).glob(f"{TEMPORARY}*/{SOCKET}") if _is_live(path)
    ]
    return _only(found)


def _is_live(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stream, suppress(OSError):
        stream.connect(str(path))
        return True
    return False


def _only(found: Sequence[Path]) -> Path:
    if not found:
        raise NoTestnet(
            "no testnet runs in a temporary directory: start one with `p2pledger testnet up --faults`, or"
            " say --dir"
        )
    if len(found) > 1:
        raise NoTestnet(f"several testnets run: say --dir {' or '.join(map(str, found))}")
    return found[0]
