"""Posting parcels over connections that are kept, at next to no cost. Floor 9.

A general HTTP client spends some 2 ms of the processor on a request, as much as the node that answers it,
and where all share two cores, what the generator takes, the nodes wait for. So h11 speaks HTTP here, on
sockets that nothing else is wrapped around.
"""

from urllib.parse import urlsplit

import h11
import trio

from p2pledger.client.exchange import Answer
from p2pledger.testnet.ports import HOST

READ_BYTES = 64 * 1024


class BadAnswer(Exception):
    """A connection was broken off, or what came over it is no answer of a length that it names."""


class _Connection:
    """One connection to a node, which carries one request after the other."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self._http = h11.Connection(h11.CLIENT)

    async def post(self, target: str, host: str, body: bytes) -> Answer:
        """Send a request and return what was answered. Raises: OSError, BadAnswer."""
        headers = [("Host", host), ("Content-Type", "application/cbor"), ("Content-Length", str(len(body)))]
        request = h11.Request(method="POST", target=target, headers=headers)
        said = [self._http.send(event) or b"" for event in (request, h11.Data(body), h11.EndOfMessage())]
        try:
            await self.stream.send_all(b"".join(said))
            return await self._answer()
        except (h11.ProtocolError, trio.BrokenResourceError) as error:
            raise BadAnswer(f"no answer over this connection: {error}") from error

    def is_good_for_another(self) -> bool:
        """Whether it may carry another request; from then on it is ready for one."""
        if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            return False  # the node said that it would close it
        self._http.start_next_cycle()
        return True

    async def _answer(self) -> Answer:
        response, content = await self._next(), bytearray()
        assert isinstance(response, h11.Response), "what comes before it is passed over, or refused"
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in response.headers}
        if "content-length" not in headers:
            raise BadAnswer("the answer does not say how long it is")
        while isinstance(event := await self._next(), h11.Data):
            content += event.data
        return Answer(response.status_code, headers, bytes(content))

    async def _next(self) -> h11.Event:
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                self._http.receive_data(await self.stream.receive_some(READ_BYTES))
            elif not isinstance(event, h11.Event):
                raise BadAnswer("the node goes on after its answer")
            elif not isinstance(event, h11.InformationalResponse):
                return event


class Poster:
    """Posts CBOR to one path of one node, each request over a connection that is free, or a new one."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._target, self._netloc = parts.path, parts.netloc
        self._host, self._port = parts.hostname or HOST, parts.port or 80
        self._free: list[_Connection] = []

    async def post(self, body: bytes) -> Answer:
        """Send a body and return what was answered. Raises: OSError, BadAnswer."""
        connection, answer = await self._connection(), None
        try:
            answer = await connection.post(self._target, self._netloc, body)
        finally:
            if answer is not None and connection.is_good_for_another():
                self._free.append(connection)
            else:  # whatever came in between, this connection is of no more use
                connection.stream.socket.close()
        return answer

    async def _connection(self) -> _Connection:
        while self._free:
            connection = self._free.pop()
            if not connection.stream.socket.is_readable():  # there is nothing to read on it but its end
                return connection
            await connection.stream.aclose()
        return _Connection(await trio.open_tcp_stream(self._host, self._port))

    async def aclose(self) -> None:
        """Close the connections that are free."""
        for connection in self._free:
            await connection.stream.aclose()
        self._free.clear()
