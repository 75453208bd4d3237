"""Final blocks as server-sent events: the id of an event is its height, and no height is left out. Floor 7.

A client that comes back with `Last-Event-ID: n` gets n+1 and all that follows: first from the store,
then as it happens. Between the two nothing is lost, because every event that comes is held against the
height that is due, and what is missing is fetched from the store.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import trio
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.types import Message, Receive, Scope, Send

from p2pledger.api.views import event_of, event_view
from p2pledger.node.service import FinalEvent, Service
from p2pledger.types import Height

PING_S = 15
"""A comment line this often keeps proxies from closing a quiet stream, and finds clients that are gone."""

Sink = Callable[[FinalEvent], Awaitable[None]]


async def tell_final(service: Service, due: Height, sink: Sink) -> None:
    """Hand final blocks from height `due` on to `sink`, in order, none twice and none left out.

    Returns when the node ends the subscription, because the sink was too slow, or does not have a
    block: the client comes back and resumes by height.
    """
    while due <= service.status().height:
        # A long way to go is gone before subscribing: the subscription would not outlast it.
        reached = await _tell_stored(service, due, service.status().height, sink)
        if reached == due:
            return
        due = reached
    async with _news(service) as news:
        due = await _tell_stored(service, due, service.status().height, sink)
        async for event in news:
            due = await _tell_stored(service, due, Height(event.height - 1), sink)
            if event.height > due:
                return
            if event.height == due:
                await sink(event)
                due = Height(due + 1)


async def _tell_stored(service: Service, due: Height, last: Height, sink: Sink) -> Height:
    while due <= last and (block := service.block(due)) is not None:
        await sink(event_of(block))
        due = Height(due + 1)
    return due


@asynccontextmanager
async def _news(service: Service) -> AsyncIterator[AsyncIterator[FinalEvent]]:
    events = service.final_events()
    try:
        yield events
    finally:
        if (aclose := getattr(events, "aclose", None)) is not None:
            await aclose()


class EventStream(EventSourceResponse):
    """The answer that tells of final blocks from height `due` on until `closing`, or the client is gone.

    `on_end` is called once, when it is over.
    """

    def __init__(
        self, service: Service, due: Height, closing: trio.Event, on_end: Callable[[], None]
    ) -> None:
        sending, receiving = trio.open_memory_channel[ServerSentEvent](0)

        async def sink(event: FinalEvent) -> None:
            data = event_view(event).json_bytes().decode()
            await sending.send(ServerSentEvent(data, event="final", id=str(event.height)))

        async def feed() -> None:
            # Leaving here closes the channel, and that ends the stream.
            async with sending, trio.open_nursery() as nursery:

                async def tell() -> None:
                    await tell_final(service, due, sink)
                    nursery.cancel_scope.cancel()

                nursery.start_soon(tell)
                await closing.wait()
                nursery.cancel_scope.cancel()

        super().__init__(receiving, data_sender_callable=feed, ping=PING_S)
        self._channel = receiving
        self._on_end = on_end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI entry point."""

        async def send_whole(message: Message) -> None:
            # Hypercorn calls the client gone as soon as the last message is out, and goes on to arm the
            # connection's idle timer: cancelled in between, the connection would be kept for ever.
            with trio.CancelScope(shield=not message.get("more_body", True)):
                await send(message)

        try:
            async with self._channel:
                await super().__call__(scope, receive, send_whole)
        finally:
            self._on_end()
