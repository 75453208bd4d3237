"""What a container's health rests on: a probe's answer, and every other thing that may come instead of it."""

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from p2pledger.healthcheck import check

READY = (200, b'{"ok": true, "reasons": []}')
BEHIND = (503, b'{"ok": false, "reasons": ["catching up: 120 blocks behind", "no quorum"]}')


@contextmanager
def answering(status: int, body: bytes) -> Iterator[str]:
    """The URL of a probe that always says this."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/healthz/ready" else 404)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/healthz/ready"
        finally:
            server.shutdown()
            thread.join()


def test_a_node_in_sync_is_healthy() -> None:
    with answering(*READY) as url:
        assert check(url) == (True, "in sync")


def test_one_that_is_not_says_why() -> None:
    with answering(*BEHIND) as url:
        assert check(url) == (False, "catching up: 120 blocks behind; no quorum")


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"reasons": 1}', b"\xff", b"{}"])
def test_whoever_answers_otherwise_is_no_node(body: bytes) -> None:
    with answering(200, body) as url:
        assert check(url) == (False, f"{url} does not answer as a node's probe does")


def test_nobody_is_not_healthy() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        is_healthy, said = check(f"http://127.0.0.1:{held.getsockname()[1]}/healthz/ready")
    assert not is_healthy and "see that the node runs" in said


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/", "127.0.0.1:7100", "http://", "http://127.0.0.1:port/"])
def test_a_url_that_is_none_is_refused(url: str) -> None:
    is_healthy, said = check(url)
    assert not is_healthy and ("write it like" in said or "does not answer" in said)


@pytest.mark.parametrize(("answer", "code"), [(READY, 0), (BEHIND, 1)])
def test_as_a_process_it_needs_the_standard_library_only(answer: tuple[int, bytes], code: int) -> None:
    with answering(*answer) as url:
        done = subprocess.run(
            [sys.executable, "-S", "-m", "p2pledger.healthcheck", url], capture_output=True, text=True
        )
    assert done.returncode == code, done.stderr
    assert done.stdout.count("\n") == 1
