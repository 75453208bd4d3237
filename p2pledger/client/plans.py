"""What a client can do, as plans without I/O (see `exchange`). Floor 7.

Nothing is ever doubled: a transaction is the same bytes and the same id however often it is sent. A
refusal that may only mean "I have it already" (an answer before it was lost) is checked against the
transaction's fate, and nothing here signs anew unless the old transaction is known to have expired.
"""

from collections.abc import Iterator, Mapping, Sequence

from p2pledger.chain.block import FinalBlock
from p2pledger.chain.genesis import Genesis
from p2pledger.chain.receipt import Receipt, check_receipt
from p2pledger.chain.transaction import Batch, Outcome, Transaction
from p2pledger.client import answers
from p2pledger.client.exchange import Exchange, Limits, Node, Nodes, Plan, exchange
from p2pledger.client.outcomes import (
    Accepted,
    Expired,
    Fate,
    InvalidAnswer,
    Refused,
    Status,
    Unavailable,
    Undecided,
    VerifiedReceipt,
)
from p2pledger.client.queries import Value, Walk
from p2pledger.codec import decode, encode
from p2pledger.crypto import is_signed
from p2pledger.errors import InvalidMessage
from p2pledger.types import Hash, Height

CHUNK_TRANSACTIONS_MAX = 512
CHUNK_BYTES_MAX = 2 * 1024 * 1024
"""What goes into one request: well below the API's own limits."""

WAIT_MS_MAX = 30_000
DOUBT_MS = 5_000
"""A transaction that is not decided after this long is sent again, to another node."""

CBOR = "application/cbor"
DECIDED = (Outcome.FINAL, Outcome.REFUSED, Outcome.EXPIRED)


class Plans:
    """The plans over one set of nodes and one ledger."""

    def __init__(self, nodes: Nodes, genesis: Genesis, limits: Limits) -> None:
        self.nodes = nodes
        self.genesis = genesis
        self.limits = limits

    def _get(self, path: str, accept: str = "application/json", silence_ms: int = 0) -> Plan[Exchange]:
        headers = {"Accept": accept}
        return exchange(self.nodes, self.limits, "GET", path, headers=headers, silence_ms=silence_ms)

    def submit_many(
        self, transactions: Sequence[Transaction], *, again: bool = False
    ) -> Plan[list[Accepted | Refused | Undecided]]:
        """One answer per transaction, in order; what met a full mempool is sent again.

        `again`: they were sent before, so that a refusal may mean "I have it already". So it may after
        an attempt whose answer was lost. Then the fate decides; where it is unknown, so is the outcome.
        Raises: Unavailable.
        """
        results: dict[int, Accepted | Refused | Undecided] = {}
        maybe_taken = set(range(len(transactions))) if again else set()
        waiting = list(range(len(transactions)))
        deadline_ms = self.nodes.now_ms() + self.limits.time_ms_max
        while waiting:
            chunk = list(_chunk(waiting, transactions))
            done = yield from self._post([transactions[i] for i in chunk])
            if done.maybe_acted:
                maybe_taken.update(chunk)
            rest_ms = None
            items = answers.read_items(done.answer, [transactions[i].id for i in chunk])
            for i, item in zip(chunk, items, strict=True):
                if isinstance(item, answers.Full):
                    rest_ms = max(rest_ms or 1, item.retry_after_ms)
                elif isinstance(item, Refused) and i in maybe_taken:
                    results[i] = yield from self._doubted(transactions[i].id)
                else:
                    results[i] = item
            waiting = [i for i in waiting if i not in results]
            if rest_ms is not None:
                self.nodes.failed(done.node, rest_ms)
                if self.nodes.now_ms() > deadline_ms:
                    raise Unavailable(f"{len(waiting)} transactions met full mempools only")
        return [results[i] for i in range(len(transactions))]

    def _post(self, transactions: Sequence[Transaction]) -> Plan[Exchange]:
        batch = encode(Batch(tuple(transaction.encoded for transaction in transactions)))
        headers = {"Content-Type": CBOR}
        path = "/v1/transactions"
        return exchange(self.nodes, self.limits, "POST", path, content=batch, headers=headers)

    def _doubted(self, transaction_id: Hash) -> Plan[Accepted | Undecided]:
        fate = yield from self.fate(transaction_id)
        if fate.outcome in (Outcome.PENDING, Outcome.FINAL):
            return Accepted(transaction_id)
        return Undecided(transaction_id)

    def submit(self, transaction: Transaction) -> Plan[Accepted]:
        """Raises: Refused, Undecided, Unavailable."""
        (result,) = yield from self.submit_many([transaction])
        if not isinstance(result, Accepted):
            raise result
        return result

    def fate(self, transaction_id: Hash, wait_ms: int = 0) -> Plan[Fate]:
        """What a node knows; UNKNOWN is an answer like the others."""
        _, fate = yield from self._fate(transaction_id, wait_ms)
        return fate

    def _fate(self, transaction_id: Hash, wait_ms: int = 0) -> Plan[tuple[Node, Fate]]:
        path = f"/v1/transactions/{transaction_id.hex()}?wait_ms={wait_ms}"
        done = yield from self._get(path, silence_ms=wait_ms)
        return done.node, answers.read_fate(done.answer, transaction_id)

    def wait(self, transaction_id: Hash, timeout_ms: int) -> Plan[Fate]:
        """The fate once it is decided. Raises: Undecided, Unavailable."""
        deadline_ms = self.nodes.now_ms() + timeout_ms
        while (left_ms := round(deadline_ms - self.nodes.now_ms())) > 0:
            fate = yield from self.fate(transaction_id, min(left_ms, WAIT_MS_MAX))
            if fate.outcome in DECIDED:
                return fate
        raise Undecided(transaction_id)

    def send(self, transaction: Transaction, timeout_ms: int) -> Plan[Fate]:
        """Submit and see it final, sending the same bytes again wherever they may have got lost.

        Raises: Refused, Expired, Undecided, Unavailable.
        """
        deadline_ms = self.nodes.now_ms() + timeout_ms
        (result,) = yield from self.submit_many([transaction])
        if isinstance(result, Refused):
            # Sent once before, by a process that did not live to see the end: it may be final long since.
            fate = yield from self.fate(transaction.id)
            if fate.outcome is Outcome.FINAL:
                return fate
            raise result
        while (left_ms := round(deadline_ms - self.nodes.now_ms())) > 0:
            node, fate = yield from self._fate(transaction.id, min(left_ms, DOUBT_MS))
            if fate.outcome is Outcome.FINAL:
                return fate
            if fate.outcome is Outcome.REFUSED:
                raise Refused(fate.code or "refused", fate.message or "", None, transaction.id)
            if (yield from self._is_expired(transaction, fate)):
                raise Expired(transaction.id)
            # The node may have lost it, or be cut off from the others: the same bytes to the next one.
            self.nodes.turn_from(node)
            yield from self.submit_many([transaction], again=True)
        raise Undecided(transaction.id)

    def _is_expired(self, transaction: Transaction, fate: Fate) -> Plan[bool]:
        if fate.outcome is not Outcome.UNKNOWN:
            return fate.outcome is Outcome.EXPIRED
        # Of one node, and in this order: a block that made it final is below the head that we saw. Another
        # node's fate would say nothing: it may be far behind.
        node, status = yield from self._status()
        if status.head_time_ms <= transaction.body.expires_ms:
            return False
        asked, fate = yield from self._fate(transaction.id)
        return asked is node and fate.outcome in (Outcome.UNKNOWN, Outcome.EXPIRED)

    def check_expired(self, transaction: Transaction) -> Plan[None]:
        """Returns when it is known that it can never become final. Raises: Refused (`final`), Undecided."""
        fate = yield from self.fate(transaction.id)
        if fate.outcome is Outcome.FINAL:
            raise Refused("final", "it is final: nothing is to be signed anew", None, transaction.id)
        if not (yield from self._is_expired(transaction, fate)):
            raise Undecided(transaction.id)

    def receipt(self, transaction_id: Hash) -> Plan[VerifiedReceipt]:
        """Fetch and verify. Raises: Refused (`not_final`, `unknown_transaction`), InvalidAnswer."""
        done = yield from self._get(f"/v1/transactions/{transaction_id.hex()}/receipt", CBOR)
        content = answers.content_of(done.answer)
        try:
            receipt: Receipt = decode(Receipt, content)
            transaction = check_receipt(receipt, self.genesis, is_signed)
        except InvalidMessage as error:
            raise InvalidAnswer(f"the receipt does not hold: {error}") from None
        if transaction.id != transaction_id:
            raise InvalidAnswer("the receipt is another transaction's")
        return VerifiedReceipt(receipt, transaction)

    def block(self, height: Height) -> Plan[FinalBlock]:
        """A final block, as the node has it; nothing is verified. Raises: Refused (`unknown_block`)."""
        done = yield from self._get(f"/v1/blocks/{height}", CBOR)
        try:
            block: FinalBlock = decode(FinalBlock, answers.content_of(done.answer))
        except InvalidMessage as error:
            raise InvalidAnswer(f"not a block: {error}") from None
        return block

    def query(self, name: str, parameters: Mapping[str, Value]) -> Walk:
        """The pages of a query. Raises: ValueError when no query can have this name."""
        return Walk(self.nodes, self.limits, name, parameters)

    def status(self) -> Plan[Status]:
        """The status of the node that is asked now. Raises: InvalidAnswer when it is on another ledger."""
        _, status = yield from self._status()
        return status

    def _status(self) -> Plan[tuple[Node, Status]]:
        done = yield from self._get("/v1/status")
        status = answers.read_status(done.answer)
        if status.genesis_hash != self.genesis.hash:
            raise InvalidAnswer(f"that node is on another ledger: {status.chain_id}")
        return done.node, status


def _chunk(waiting: Sequence[int], transactions: Sequence[Transaction]) -> Iterator[int]:
    size_bytes = 0
    for i in waiting[:CHUNK_TRANSACTIONS_MAX]:
        size_bytes += len(transactions[i].encoded)
        if size_bytes > CHUNK_BYTES_MAX:
            return
        yield i
