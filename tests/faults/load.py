"""Somebody who goes on writing whatever breaks, and writes down what came of it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
from p2pledger.client import AsyncClient, Expired, Limits, Refused, Unavailable, Undecided
from tests.faults.fleet import Fleet
from tests.faults.history import Entry, History
from tests.faults.wishes import good

RATE = 20
"""Transactions a second."""

EXPIRES_MS = 10_000
"""Soon, so that what was lost with a node's memory has an end within the test."""

LIMITS = Limits(attempts_max=40, time_ms_max=10_000, request_ms_max=2_000)
"""A node that is paused keeps a request for as long as it is let: another one is asked soon."""


@asynccontextmanager
async def load(fleet: Fleet, history: History) -> AsyncIterator[None]:
    """Transactions at a steady rate through the project's own client, which fails over. Each gets its end."""
    names = [name for name in fleet.nodes if name not in fleet.authorities] + fleet.authorities
    is_over = trio.Event()

    async def keep_sending(client: AsyncClient, sending: trio.Nursery) -> None:
        due = trio.current_time()
        while not is_over.is_set():
            sending.start_soon(send, client, history.add(good(fleet, EXPIRES_MS)))
            due += 1 / RATE
            await trio.sleep_until(due)

    async with (
        AsyncClient([fleet.nodes[name].http_url for name in names], fleet.genesis, LIMITS) as client,
        trio.open_nursery() as sending,
    ):
        sending.start_soon(keep_sending, client, sending)
        yield
        is_over.set()


async def send(client: AsyncClient, entry: Entry) -> None:
    """Hand one in and see its end, if one can be seen."""
    try:
        await client.submit(entry.transaction)
        entry.is_accepted = True
        entry.told.append((await client.send(entry.transaction, EXPIRES_MS + 5_000)).outcome.value)
    except Expired:
        entry.told.append("expired")
    except Refused as error:
        # What was not taken has no end: it may be refused for being late.
        if entry.is_accepted:
            entry.told.append("expired" if error.code == "expired" else "refused")
        entry.notes.append(repr(error))
    except (Undecided, Unavailable) as error:
        entry.notes.append(repr(error))
