"""Posting over kept connections, against a server of a few lines: what it answers, and what it breaks off."""

import pytest
import trio
import trio.testing
from p2pledger.bench.posting import BadAnswer, Poster

OK = b"HTTP/1.1 202 Accepted\r\nContent-Length: 4\r\nX-Other: a: b\r\n\r\n"


class Server:
    """Answers each request with the next of `answers`, in two pieces; closes where an answer is None."""

    def __init__(self, answers) -> None:
        self.answers = list(answers)
        self.requests: list[bytes] = []
        self.connections = 0

    async def serve(self, stream) -> None:
        self.connections += 1
        async with stream:
            while request := await stream.receive_some():
                self.requests.append(bytes(request))
                answer = self.answers.pop(0)
                if answer is None:
                    return
                await stream.send_all(answer[:30])
                await trio.testing.wait_all_tasks_blocked()
                await stream.send_all(answer[30:])
                if not self.answers:
                    return


async def started(nursery, *answers) -> tuple[Server, Poster]:
    server = Server(answers)
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    nursery.start_soon(trio.serve_listeners, server.serve, [listener])
    port = listener.socket.getsockname()[1]
    return server, Poster(f"http://127.0.0.1:{port}/v1/transactions")


async def test_one_connection_carries_one_request_after_the_other(nursery):
    server, poster = await started(nursery, OK + b"same", OK + b"more", OK + b"last")
    answers = [await poster.post(body) for body in (b"\x01", b"\x02\x03")]
    assert [(a.status, a.content) for a in answers] == [(202, b"same"), (202, b"more")]
    assert answers[0].headers == {"content-length": "4", "x-other": "a: b"}
    assert server.connections == 1
    head, _, body = server.requests[1].partition(b"\r\n\r\n")
    assert body == b"\x02\x03" and b"Content-Length: 2" in head
    assert head.startswith(b"POST /v1/transactions HTTP/1.1\r\nHost: 127.0.0.1:")
    await poster.aclose()


async def test_a_long_answer_may_come_with_its_head(nursery):
    content = b"x" * 40_000
    _, poster = await started(nursery, OK.replace(b"4", b"%d" % len(content)) + content)
    assert (await poster.post(b"\x01")).content == content
    await poster.aclose()


async def test_requests_at_the_same_time_have_connections_of_their_own(nursery):
    server, poster = await started(nursery, *[OK + b"same"] * 8)
    async with trio.open_nursery() as posting:
        for _ in range(3):
            posting.start_soon(poster.post, b"\x01")
    assert server.connections == 3
    await poster.aclose()


async def test_a_connection_that_the_server_closed_meanwhile_is_not_used_again(nursery):
    server, poster = await started(nursery, OK + b"last")
    await poster.post(b"\x01")
    await trio.testing.wait_all_tasks_blocked()  # it has closed
    server.answers = [OK + b"next", OK + b"more"]
    assert (await poster.post(b"\x02")).content == b"next" and server.connections == 2
    await poster.aclose()


async def test_an_answer_that_ends_its_connection_is_one_all_the_same(nursery):
    server, poster = await started(
        nursery, OK[:-2] + b"Connection: close\r\n\r\n" + b"last", OK + b"next", OK + b"more"
    )
    assert (await poster.post(b"\x01")).content == b"last"
    assert (await poster.post(b"\x02")).content == b"next" and server.connections == 2
    await poster.aclose()


@pytest.mark.parametrize(
    "answer",
    [
        None,
        OK + b"ab",
        b"HTTP/1.1 200 OK\r\n\r\nno length, no end",
        b"nonsense\r\n\r\n" + b" " * 30,
        b"x" * 20_000,
    ],
)
async def test_what_is_no_whole_answer_is_said_to_be_none(nursery, answer):
    _, poster = await started(nursery, answer)
    with pytest.raises(BadAnswer):
        await poster.post(b"\x01")
    await poster.aclose()
