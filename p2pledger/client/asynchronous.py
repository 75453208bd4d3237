"""The client for programs with an event loop: the same under trio and under asyncio. Floor 7."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self, TypeVar

import anyio
import httpx

from p2pledger.chain.block import FinalBlock
from p2pledger.chain.genesis import Genesis
from p2pledger.chain.transaction import Transaction
from p2pledger.client import wire
from p2pledger.client.events import Subscription
from p2pledger.client.exchange import Answer, Limits, Lost, Nodes, Plan, Reply, Request
from p2pledger.client.outcomes import (
    Accepted,
    Fate,
    FinalEvent,
    InvalidAnswer,
    QueryPage,
    Refused,
    Status,
    Undecided,
    VerifiedReceipt,
)
from p2pledger.client.plans import Plans
from p2pledger.client.queries import Value, Walk
from p2pledger.client.signing import renewed
from p2pledger.crypto import Signer
from p2pledger.types import Hash, Height

T = TypeVar("T")


class AsyncClient:
    """`Client`, with `await` before each call. Any number of tasks may use one at the same time.

    A call that is cancelled may have been acted on; the same call again does no harm. To be closed under
    the event loop that it was used under.
    """

    def __init__(self, nodes: Sequence[str], genesis: Genesis, limits: Limits | None = None) -> None:
        self.genesis = genesis
        self._plans = Plans(Nodes(nodes, wire.monotonic_ms), genesis, limits or Limits())
        self._http = httpx.AsyncClient(event_hooks={"request": [own_body]}, trust_env=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def submit(self, transaction: Transaction) -> Accepted:
        """See `Client.submit`."""
        return await self._carry_out(self._plans.submit(transaction))

    async def submit_many(self, transactions: Sequence[Transaction]) -> list[Accepted | Refused | Undecided]:
        """See `Client.submit_many`."""
        return await self._carry_out(self._plans.submit_many(transactions))

    async def send(self, transaction: Transaction, timeout_ms: int = 60_000) -> Fate:
        """See `Client.send`."""
        return await self._carry_out(self._plans.send(transaction, timeout_ms))

    async def fate(self, transaction_id: Hash, wait_ms: int = 0) -> Fate:
        """See `Client.fate`."""
        return await self._carry_out(self._plans.fate(transaction_id, wait_ms))

    async def wait(self, transaction_id: Hash, timeout_ms: int = 60_000) -> Fate:
        """See `Client.wait`."""
        return await self._carry_out(self._plans.wait(transaction_id, timeout_ms))

    async def renew(
        self, expired: Transaction, signers: Sequence[Signer], expires_ms: int | None = None
    ) -> Transaction:
        """See `Client.renew`."""
        await self._carry_out(self._plans.check_expired(expired))
        return renewed(expired, self.genesis, signers, expires_ms)

    async def receipt(self, transaction_id: Hash) -> VerifiedReceipt:
        """See `Client.receipt`."""
        return await self._carry_out(self._plans.receipt(transaction_id))

    async def block(self, height: int) -> FinalBlock:
        """See `Client.block`."""
        return await self._carry_out(self._plans.block(Height(height)))

    async def status(self) -> Status:
        """See `Client.status`."""
        return await self._carry_out(self._plans.status())

    def query(self, name: str, /, **parameters: Value) -> AsyncIterator[QueryPage]:
        """See `Client.query`; for `async for`. It may be left at any page."""
        return _Pages(self._carry_out, self._plans.query(name, parameters))

    async def events(self, after: int | None = None) -> AsyncGenerator[FinalEvent, None]:
        """See `Client.events`. Close it (`contextlib.aclosing`) when you break off."""
        start = Height(after) if after is not None else (await self.status()).height
        subscription = Subscription(self._plans.nodes, self._plans.limits, start)
        while True:
            request = await self._carry_out(subscription.next_request())
            try:
                async with self._http.stream(**wire.asked(request)) as response:
                    wire.check_streams(response)
                    chunks = response.aiter_raw()
                    try:
                        async for chunk in chunks:
                            for event in subscription.feed(chunk):
                                yield event
                    finally:
                        await _finish(response, chunks)
                subscription.ended("the node ended the stream")
            except (httpx.TransportError, InvalidAnswer) as error:
                subscription.ended(repr(error))

    async def _carry_out(self, plan: Plan[T]) -> T:
        reply: Reply = None
        while True:
            try:
                step = plan.send(reply)
            except StopIteration as done:
                result: T = done.value
                return result
            if isinstance(step, Request):
                reply = await self._ask(step)
            else:
                reply = None
                await anyio.sleep(step.pause_ms / 1_000)

    async def _ask(self, request: Request) -> Answer | Lost:
        content = wire.Content()
        try:
            async with self._http.stream(**wire.asked(request)) as response:
                async for chunk in response.aiter_raw():
                    content.add(chunk)
        except httpx.TransportError as error:
            return wire.lost(error)
        return wire.answer_of(response, content)


class _Pages(AsyncIterator[QueryPage]):
    """The pages of a query. Not a generator, of which trio complains when it is left unfinished."""

    def __init__(self, carry_out: Callable[[Plan[QueryPage]], Awaitable[QueryPage]], walk: Walk) -> None:
        self._carry_out, self._walk = carry_out, walk

    async def __anext__(self) -> QueryPage:
        if self._walk.is_over:
            raise StopAsyncIteration
        return await self._carry_out(self._walk.next_page())


class _Body(httpx.AsyncByteStream):
    """A request's body at one go. httpx's own is a generator, of which trio complains when cut off."""

    def __init__(self, content: bytes) -> None:
        self._parts = [content]

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if not self._parts:
            raise StopAsyncIteration
        return self._parts.pop()


async def own_body(request: httpx.Request) -> None:
    """A request hook of httpx: have the request cut off at any moment without a complaint."""
    request.stream = _Body(request.content)


async def _finish(response: httpx.Response, chunks: AsyncIterator[bytes]) -> None:
    """Close a response that may be left in the middle.

    Then read it to its end, which is near: httpx nests generators, and trio complains of each one that
    is dropped unfinished.
    """
    await response.aclose()
    with suppress(httpx.TransportError, httpx.StreamError):
        async for _ in chunks:
            pass
