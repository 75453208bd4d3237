"""What was asked of a ledger while things broke, what it said, and whether that was true.

Every submission is written down with its bytes, whatever was answered, and how it was said to end. The
check at the end asks each node anew, over HTTP and in its files, and shares nothing with the client's own
judgement: no retry, no "I have it already", no guess.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import httpx
import trio
from p2pledger.chain.transaction import Transaction
from p2pledger.types import Hash, Height
from tests.faults.fleet import Fleet, until
from tests.faults.oracle import blocks_of, places_of

AT_ONCE = 8


@dataclass
class Entry:
    """One transaction: what its submitter knows of it."""

    transaction: Transaction
    is_accepted: bool = False
    """A node answered that it took it."""
    told: list[str] = field(default_factory=list)
    """The ends that were told of it; more than one is one too many."""
    notes: list[str] = field(default_factory=list)
    """What else was answered, for whoever looks into a failure."""


class History:
    """All transactions of a run."""

    def __init__(self) -> None:
        self.entries: dict[Hash, Entry] = {}

    def add(self, transaction: Transaction) -> Entry:
        """A transaction that is about to be handed in."""
        entry = self.entries[transaction.id] = Entry(transaction)
        return entry

    async def check(self, fleet: Fleet) -> Counter[str]:
        """Fail unless every accepted transaction has one end, the same everywhere; how many have which.

        All nodes run and hear each other. Waits until none can still become final.
        """
        assert self.entries
        await _until_over(fleet, max(entry.transaction.body.expires_ms for entry in self.entries.values()))
        places = {name: places_of(blocks_of(fleet, name)) for name in fleet.nodes}
        answers = {name: await _answers(fleet, name, list(self.entries)) for name in fleet.nodes}
        ends: Counter[str] = Counter()
        for transaction_id, entry in self.entries.items():
            where = {name: tuple(found.get(transaction_id, ())) for name, found in places.items()}
            said = {name: found[transaction_id] for name, found in answers.items()}
            ends[end_of(entry, where, said)] += 1
        return ends


def end_of(entry: Entry, places: dict[str, tuple[Height, ...]], said: dict[str, dict[str, Any]]) -> str:
    """The one end of a transaction. `places`: where it is in each node's files; `said`: what each answers."""
    case = f"{entry.transaction.id.hex()}: {entry.told} {entry.notes}, in files {places}, answers {said}"
    assert len(set(places.values())) == 1, f"not the same everywhere: {case}"
    heights = next(iter(places.values()))
    assert len(heights) <= 1, f"final twice: {case}"
    outcomes = {answer["outcome"] for answer in said.values()}
    if heights:
        assert outcomes == {"final"}, f"final, and a node says otherwise: {case}"
        assert {answer["height"] for answer in said.values()} == set(heights), f"final elsewhere: {case}"
        assert set(entry.told) <= {"final"}, f"final after all: {case}"
        return "final"
    # It has expired, and no block can hold it: a node that never had it, or has forgotten it, knows nothing.
    assert "final" not in outcomes and "final" not in entry.told, f"a final transaction was lost: {case}"
    assert outcomes <= {"refused", "expired", "unknown"}, f"it is past its time and has no end: {case}"
    ends = outcomes - {"unknown"} | set(entry.told)
    assert len(ends) <= 1, f"two ends: {case}"
    codes = {answer.get("code") for answer in said.values() if answer["outcome"] == "refused"}
    assert len(codes) <= 1, f"refused for two reasons: {case}"
    return ends.pop() if ends else ("expired" if entry.is_accepted else "never accepted")


async def _until_over(fleet: Fleet, expires_ms: int) -> None:
    """Wait until no block above any node's head can hold any of the transactions, and all heads are one."""

    async def is_over() -> bool:
        heads = [await fleet.status(name) for name in fleet.nodes]
        are_even = len({head["height"] for head in heads}) == 1
        return are_even and min(head["head_time_ms"] for head in heads) > expires_ms

    await until(is_over)


async def _answers(fleet: Fleet, name: str, ids: list[Hash]) -> dict[Hash, dict[str, Any]]:
    """What a node says of each."""
    answers: dict[Hash, dict[str, Any]] = {}
    limit = trio.CapacityLimiter(AT_ONCE)
    base = f"{fleet.nodes[name].http_url}/v1/transactions"

    async def ask(http: httpx.AsyncClient, transaction_id: Hash) -> None:
        async with limit:
            answer = await http.get(f"{base}/{transaction_id.hex()}")
        assert answer.status_code in (200, 404), answer.text
        answers[transaction_id] = answer.json() if answer.status_code == 200 else {"outcome": "unknown"}

    async with httpx.AsyncClient(trust_env=False, timeout=30) as http, trio.open_nursery() as nursery:
        for transaction_id in ids:
            nursery.start_soon(ask, http, transaction_id)
    return answers
