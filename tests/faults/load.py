"""Somebody who goes on writing whatever breaks, and writes down what came of it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
from p2pledger.client import Accepted, AsyncClient, Expired, Limits, Refused, Unavailable, Undecided
from tests.faults.fleet import Fleet
from tests.faults.history import Entry, History
from tests.faults.wishes import good

RATE = 20
"""Transactions a second."""

TOGETHER = 5
"""So many are handed in with one request: the links run in this process too, and are not to wait for it."""

IN_FLIGHT_MAX = 150
"""With so many under way it waits: whoever cannot keep up with the work must not pile it up."""

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
            if len(sending.child_tasks) < IN_FLIGHT_MAX:
                entries = [history.add(good(fleet, EXPIRES_MS)) for _ in range(TOGETHER)]
                sending.start_soon(hand_in, client, entries, sending)
            due = max(due + TOGETHER / RATE, trio.current_time())
            await trio.sleep_until(due)

    async with (
        AsyncClient([fleet.nodes[name].http_url for name in names], fleet.genesis, LIMITS) as client,
        trio.open_nursery() as sending,
    ):
        sending.start_soon(keep_sending, client, sending)
        yield
        is_over.set()


async def hand_in(client: AsyncClient, entries: list[Entry], sending: trio.Nursery) -> None:
    """Hand some in together, and see to the end of each that was taken."""
    try:
        answers = await client.submit_many([entry.transaction for entry in entries])
    except Unavailable as error:
        for entry in entries:
            entry.notes.append(repr(error))
        return
    for entry, answer in zip(entries, answers, strict=True):
        if isinstance(answer, Accepted):
            entry.is_accepted = True
            sending.start_soon(follow, client, entry)
        else:
            entry.notes.append(repr(answer))


async def follow(client: AsyncClient, entry: Entry) -> None:
    """See how one that was taken ends; where its node has lost it, the client hands it in again."""
    try:
        try:
            fate = await client.wait(entry.transaction.id, EXPIRES_MS // 2)
        except Undecided:
            fate = await client.send(entry.transaction, EXPIRES_MS)
        entry.told.append(fate.outcome.value)
    except Expired:
        entry.told.append("expired")
    except Refused as error:
        entry.told.append("expired" if error.code == "expired" else "refused")
        entry.notes.append(repr(error))
    except (Undecided, Unavailable) as error:
        entry.notes.append(repr(error))
