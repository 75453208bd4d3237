"""What rules themselves cost, apart from what surrounds them. Floor 9."""

import time
from collections.abc import Collection, Sequence, Set

from p2pledger.bench.solo import Solo
from p2pledger.chain.transaction import Transaction
from p2pledger.codec import decode
from p2pledger.crypto import is_public_key, is_signed
from p2pledger.ledger.modules import RULES
from p2pledger.ledger.modules.registry.rows import KEYS
from p2pledger.ledger.record import Record
from p2pledger.ledger.rules import Context
from p2pledger.ledger.state import Changes, EmptyState, StateReader
from p2pledger.types import Hash


class TimedReads(EmptyState):
    """A state of which is known how long it took to answer: what rules ask, no commitment."""

    def __init__(self, state: StateReader) -> None:
        self._state, self.spent_s = state, 0.0

    def get(self, key: bytes) -> bytes | None:
        """See `StateReader.get`."""
        began = time.thread_time()
        value = self._state.get(key)
        self.spent_s += time.thread_time() - began
        return value

    def get_all(self, keys: Collection[bytes]) -> dict[bytes, bytes | None]:
        """See `StateReader.get_all`."""
        began = time.thread_time()
        values = self._state.get_all(keys)
        self.spent_s += time.thread_time() - began
        return values

    def record(self, transaction_id: Hash) -> Record | None:
        """See `StateReader.record`."""
        began = time.thread_time()
        record = self._state.record(transaction_id)
        self.spent_s += time.thread_time() - began
        return record

    def records(self, transaction_ids: Collection[Hash]) -> dict[Hash, Record | None]:
        """See `StateReader.records`."""
        began = time.thread_time()
        records = self._state.records(transaction_ids)
        self.spent_s += time.thread_time() - began
        return records

    def used(self, transaction_ids: Collection[Hash]) -> Set[Hash]:
        """See `StateReader.used`."""
        return self._state.used(transaction_ids)


def module_of(kind: str) -> str:
    """The module of the ledger whose rule a kind has."""
    return RULES[kind].apply.__module__.removeprefix("p2pledger.ledger.modules.").partition(".")[0]


def parse_keys(transactions: Sequence[Transaction]) -> None:
    """Know the signers' keys, as whoever has verified the transactions' signatures does."""
    assert all(is_public_key(key) for one in transactions for key in one.body.signers), "they are true keys"


def prove(ledger: Solo, transactions: Sequence[Transaction]) -> None:
    """Verify what is signed inside the payloads, as a node does with the transactions' own signatures."""
    inside = ledger.machine.signed_inside(transactions)
    assert all(is_signed(*signed) for signed in inside.values()), (
        "what the bench signs inside payloads is true"
    )
    ledger.machine.note_proven(inside)


LAP = 10
"""So many transactions lie between two looks at the clock: a look costs 0.7 us by itself, and what stands
between two of them 1.6 us more than it does without."""


def rule_costs_us(ledger: Solo, transactions: Sequence[Transaction]) -> list[tuple[float, float]]:
    """For a block of one kind, lap by lap: what its rule costs for a transaction, and the answers to it.

    The rule's are `check_signers` and `apply`, with what they decode of rows and emit, and an even share of
    reading ahead the signers' keys and the rows that the rule names. The store's answers are what `get`,
    `get_all`, `record` and `records` take, in none of the former. In neither are decoding the payload,
    looking at the sponsor and its quota, encoding rows, hashing, roots and committing; nor the signatures
    inside payloads: the rule is told that they hold, as it is once a node has verified them (`prove`).
    """
    rule = RULES[transactions[0].body.kind]
    payloads = [decode(rule.payload, one.body.payload) for one in transactions]
    carried_out: dict[Hash, Transaction] = {}
    at, reads = ledger.next_round, TimedReads(ledger.parent()[0])
    changes = Changes(reads, at.height, carried_out)
    context = Context(ledger.genesis, at, is_signed, {one.id for one in transactions})
    began = time.thread_time()
    KEYS.read_ahead(changes, {signer for one in transactions for signer in one.body.signers})
    if rule.read_ahead is not None:
        rule.read_ahead(changes, payloads)
    ahead_s, ahead_read_s = (time.thread_time() - began) / len(payloads), reads.spent_s / len(payloads)
    pairs, costs = list(zip(transactions, payloads, strict=True)), []
    for start in range(0, len(pairs), LAP):
        lap = pairs[start : start + LAP]
        before_s, began = reads.spent_s, time.thread_time()
        for one, payload in lap:
            context.turn_to(one)
            rule.check_signers(changes, context, payload)
            rule.apply(changes, context, payload)
            carried_out[one.id] = one
        took_s, read_s = time.thread_time() - began, reads.spent_s - before_s
        read_each_s = read_s / len(lap) + ahead_read_s
        costs.append((1e6 * (took_s / len(lap) + ahead_s - read_each_s), 1e6 * read_each_s))
    return costs
