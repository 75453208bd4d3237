"""The client for programs without an event loop. Floor 7."""

import time
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Self, TypeVar

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


class Client:
    """Speaks to one ledger through any of several nodes.

    `nodes` are URLs (`http://127.0.0.1:8080`), asked in that order: the next one when one fails.
    `genesis` is the ledger that is meant, and all that receipts are verified against. Not for two threads
    at once. Every call may raise Unavailable and InvalidAnswer, besides what it names.
    """

    def __init__(self, nodes: Sequence[str], genesis: Genesis, limits: Limits | None = None) -> None:
        self.genesis = genesis
        self._plans = Plans(Nodes(nodes, wire.monotonic_ms), genesis, limits or Limits())
        self._http = httpx.Client(trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def submit(self, transaction: Transaction) -> Accepted:
        """Hand a transaction in. The same one may be handed in any number of times.

        Raises: Refused; Undecided when an answer was lost and no node can say whether it was taken.
        """
        return self._carry_out(self._plans.submit(transaction))

    def submit_many(self, transactions: Sequence[Transaction]) -> list[Accepted | Refused | Undecided]:
        """Hand many in, in as few requests as the limits allow: one answer each, in order."""
        return self._carry_out(self._plans.submit_many(transactions))

    def send(self, transaction: Transaction, timeout_ms: int = 60_000) -> Fate:
        """Hand a transaction in and see it final, sending the same bytes again where they got lost.

        Raises: Refused, Expired; Undecided when the time is over: it may still become final.
        """
        return self._carry_out(self._plans.send(transaction, timeout_ms))

    def fate(self, transaction_id: Hash, wait_ms: int = 0) -> Fate:
        """What a node knows of a transaction, at the latest after `wait_ms` (60,000 at most)."""
        return self._carry_out(self._plans.fate(transaction_id, wait_ms))

    def wait(self, transaction_id: Hash, timeout_ms: int = 60_000) -> Fate:
        """The fate once it is final, refused or expired. Raises: Undecided."""
        return self._carry_out(self._plans.wait(transaction_id, timeout_ms))

    def renew(
        self, expired: Transaction, signers: Sequence[Signer], expires_ms: int | None = None
    ) -> Transaction:
        """The same wish signed anew, once the old transaction is known never to become final.

        Not submitted yet. Raises: Undecided while it may, Refused (`final`) when it has.
        """
        self._carry_out(self._plans.check_expired(expired))
        return renewed(expired, self.genesis, signers, expires_ms)

    def receipt(self, transaction_id: Hash) -> VerifiedReceipt:
        """The receipt of a final transaction, verified from the genesis alone.

        Raises: Refused (`not_final`, `unknown_transaction`); InvalidAnswer when it does not hold.
        """
        return self._carry_out(self._plans.receipt(transaction_id))

    def block(self, height: int) -> FinalBlock:
        """A final block as the node has it, unverified. Raises: Refused (`unknown_block`)."""
        return self._carry_out(self._plans.block(Height(height)))

    def status(self) -> Status:
        """Where the node that is asked now stands."""
        return self._carry_out(self._plans.status())

    def query(self, name: str, /, **parameters: Value) -> Iterator[QueryPage]:
        """The pages of a query (docs/api.md lists them), each fetched when it is asked for.

        Pages follow one another until nothing is left; `limit` is how long they may be, `after` where to
        begin. Raises: ValueError when no query can have this name; Refused with the node's code.
        """
        walk = self._plans.query(name, parameters)
        return self._pages(walk)

    def _pages(self, walk: Walk) -> Iterator[QueryPage]:
        while not walk.is_over:
            yield self._carry_out(walk.next_page())

    def events(self, after: int | None = None) -> Iterator[FinalEvent]:
        """Final blocks above height `after` (None: from now on), each once and in order, for ever.

        Goes on at another node where one breaks off. Nothing runs between two items.
        """
        start = Height(after) if after is not None else self.status().height
        subscription = Subscription(self._plans.nodes, self._plans.limits, start)
        while True:
            request = self._carry_out(subscription.next_request())
            try:
                with self._http.stream(**wire.asked(request)) as response:
                    wire.check_streams(response)
                    for chunk in response.iter_raw():
                        yield from subscription.feed(chunk)
                subscription.ended("the node ended the stream")
            except (httpx.TransportError, InvalidAnswer) as error:
                subscription.ended(repr(error))

    def _carry_out(self, plan: Plan[T]) -> T:
        return carry_out(self._http, plan)


def carry_out(http: httpx.Client, plan: Plan[T]) -> T:
    """Do what a plan asks for, step by step, and return its result. Raises: what the plan raises."""
    reply: Reply = None
    while True:
        try:
            step = plan.send(reply)
        except StopIteration as done:
            result: T = done.value
            return result
        if isinstance(step, Request):
            reply = _ask(http, step)
        else:
            reply = None
            time.sleep(step.pause_ms / 1_000)


def _ask(http: httpx.Client, request: Request) -> Answer | Lost:
    content = wire.Content()
    try:
        with http.stream(**wire.asked(request)) as response:
            for chunk in response.iter_raw():
                content.add(chunk)
    except httpx.TransportError as error:
        return wire.lost(error)
    return wire.answer_of(response, content)
