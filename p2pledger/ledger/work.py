"""A block in the making: transactions carried out, one by one or many of a kind at once. Floor 4, pure."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby, islice, repeat
from operator import itemgetter
from typing import Any

from p2pledger.chain.block import receipts_root, tx_root
from p2pledger.chain.epoch import ends_epoch
from p2pledger.chain.genesis import Genesis
from p2pledger.chain.receipt import Results
from p2pledger.chain.transaction import Transaction
from p2pledger.errors import Code, InvalidTransaction
from p2pledger.ledger.commitment import Commitment
from p2pledger.ledger.execution import Execution, Refusal
from p2pledger.ledger.modules import governance, registry
from p2pledger.ledger.modules.registry.rows import KEYS
from p2pledger.ledger.quota import Charges
from p2pledger.ledger.rules import Context, IndexRows, Reads, Round, Rule
from p2pledger.ledger.state import Changes, StateReader
from p2pledger.merkle import Frontier
from p2pledger.types import Hash

RUN_MAX = 256
"""So many transactions are carried out together at most: each run costs 30 us, whatever is in it."""
ALONE_MAX = 16
"""So many are carried out one by one, each for three times as much, where one of them is refused."""
ROWS_PASSED_ON_MAX, ROWS_PASSED_ON_EACH = 16_384, 32
"""So many rows that its parent knows a block passes on, and so many for each of its transactions.

Of more it passes on those alone that it needs itself: it takes no longer and no more memory than it is worth,
however many blocks are not final.
"""

Opened = tuple[Transaction, Rule, Any]
"""A transaction, its rule and its payload."""


class Ground:
    """What transactions are carried out on: the changes so far, and what is charged for them."""

    def __init__(self, changes: Changes, context: Context) -> None:
        self.changes, self.context = changes, context
        window_ms = context.genesis.parameters.quota_window_ms
        self.charges = Charges(changes, context.round.time_ms, window_ms)

    def read_ahead(self, transactions: Iterable[Transaction], opened: Iterable[tuple[Rule, Any]]) -> None:
        """Read together the keys of transactions, and what these rules and payloads are going to ask for."""
        # Each once, but in the block's order: what was written together lies together, also in memory.
        KEYS.read_ahead(
            self.changes, dict.fromkeys([key for one in transactions for key in one.body.signers])
        )
        payloads = dict[Reads, list[Any]]()
        for rule, payload in opened:
            if rule.read_ahead is not None:
                payloads.setdefault(rule.read_ahead, []).append(payload)
        for read_ahead, some in payloads.items():
            read_ahead(self.changes, some)

    def apply(self, transaction: Transaction, rule: Rule, payload: Any) -> bytes:
        """Carry a transaction out and return its output; it is not yet charged for.

        Where it raises, some writes and rows may be done. Raises: InvalidTransaction.
        """
        changes, context = self.changes, self.context
        context.turn_to(transaction)
        sponsor = registry.check_sponsor(changes, context.sponsor, context.round)
        rule.check_signers(changes, context, payload)
        is_urgent = rule.is_urgent is not None and rule.is_urgent(payload)
        quota = None if is_urgent else sponsor.quota
        self.charges.check(context.sponsor, quota, len(transaction.encoded))
        return rule.apply(changes, context, payload)


class Work:
    """A block in the making: the changes so far, and what the transactions so far gave.

    `limits`: how many it may hold, and how many bytes of them.
    """

    def __init__(
        self,
        commitment: Commitment,
        context: Context,
        parent: StateReader,
        candidates: Sequence[Transaction],
        limits: tuple[int, int],
    ) -> None:
        at, self._genesis = context.round, context.genesis
        self._commitment, self._parent, self._at = commitment, parent, at
        self._places, self._room = limits
        self.transactions: dict[Hash, Transaction] = {}
        """Those that were carried out, in their order."""
        self._kinds = Counter[str]()
        ids = [candidate.id for candidate in candidates]
        self._used = parent.used(ids)
        latest_ms = at.time_ms + self._genesis.parameters.expiry_window_ms
        untimely = {t.id for t in candidates if not at.time_ms <= t.body.expires_ms <= latest_ms}
        self._doubtful = untimely.union(self._used, () if len(set(ids)) == len(ids) else ids)
        """To be looked at each for itself, whether they are in time and new."""
        self._unread: Sequence[Opened] = ()
        self._ground = Ground(Changes(parent, at.height, self.transactions), context)
        changes = self._ground.changes
        if len(changes.known) <= min(ROWS_PASSED_ON_MAX, ROWS_PASSED_ON_EACH * len(candidates)):
            changes.rows.update(changes.known)
        self._outputs: list[bytes] = []

    def carry_out(self, opened: Sequence[Opened], refused: list[Refusal] | None = None) -> None:
        """Carry out those of the candidates that find room and succeed, in this order.

        What does not succeed is added to `refused`. Raises: InvalidTransaction for the first, without it.
        """
        self._unread = opened
        for run in runs(opened):
            self._carry_out(run, refused)

    def _carry_out(self, run: Sequence[Opened], refused: list[Refusal] | None) -> None:
        """As `carry_out`, for one rule's: all together, else each quarter of them, few one by one."""
        if self._apply_run(run):
            return
        if len(run) > ALONE_MAX:
            for i in range(4):
                self._carry_out(run[len(run) * i // 4 : len(run) * (i + 1) // 4], refused)
            return
        for transaction, rule, payload in run:
            if len(self.transactions) == self._places or len(transaction.encoded) > self._room:
                continue
            try:
                self._apply(transaction, rule, payload)
            except InvalidTransaction as error:
                if refused is None:
                    raise
                refused.append(Refusal(transaction.id, error))

    def _apply(self, transaction: Transaction, rule: Rule, payload: Any) -> None:
        """Carry out one of the candidates, or raise InvalidTransaction and leave no trace of it."""
        transaction_id, ground = transaction.id, self._ground
        if self._unread:  # what is carried out together reads what it needs
            transactions, rules, payloads = zip(*self._unread, strict=True)
            ground.read_ahead(transactions, zip(rules, payloads, strict=True))
            self._unread = ()
        if transaction_id in self._doubtful:
            is_used = transaction_id in self.transactions or transaction_id in self._used
            check_once_and_in_time(self._genesis, transaction, self._at, is_used=is_used)
        changes, rows = ground.changes, ground.context.rows
        mark, row_count = changes.mark(), len(rows)
        try:
            output = ground.apply(transaction, rule, payload)
        except InvalidTransaction:
            changes.undo(mark)
            del rows[row_count:]
            raise
        size_bytes = len(transaction.encoded)
        ground.charges.add(transaction.body.sponsor, size_bytes)
        self._room -= size_bytes
        self._outputs.append(output)
        self._kinds[transaction.body.kind] += 1
        self.transactions[transaction_id] = transaction

    def _apply_run(self, run: Sequence[Opened]) -> bool:
        """Carry out candidates of one rule together, as `_apply` does it one by one, or say no to all."""
        rule = run[0][1]
        if rule.apply_run is None or len(run) == 1 or len(self.transactions) + len(run) > self._places:
            return False
        ground = self._ground
        transactions, _, payloads = zip(*run, strict=True)
        new = {transaction.id: transaction for transaction in transactions}
        if not self._doubtful.isdisjoint(new):
            return False
        sizes = sizes_by_sponsor(transactions)
        size_bytes = sum(map(sum, sizes.values()))
        if size_bytes > self._room:
            return False
        try:
            for name, some in sizes.items():
                sponsor = registry.check_sponsor(ground.changes, name, self._at)
                ground.charges.check(name, sponsor.quota, sum(some), len(some))
        except InvalidTransaction:
            return False
        if not rule.apply_run(ground.changes, ground.context, transactions, payloads):
            return False
        for name, some in sizes.items():
            ground.charges.add(name, sum(some), len(some))
        self._room -= size_bytes
        self._outputs += repeat(b"", len(new))
        self._kinds[rule.kind] += len(new)
        self.transactions.update(new)
        return True

    def finish(self, frontier: Frontier) -> Execution:
        """All that follows from the transactions carried out."""
        ground, next_set, height = self._ground, None, self._at.height
        ground.charges.settle()
        governance.convict(ground.changes, ground.context, self._at.offences)
        if ends_epoch(height, self._at.epoch, self._genesis.parameters.epoch_blocks):
            next_set = governance.close_epoch(ground.changes, ground.context)
        writes = ground.changes.writes()
        update = self._commitment.update(self._parent, writes)
        results = Results(height, tuple(self.transactions), tuple(self._outputs))
        growth = frontier.grow(results.leaves)
        return Execution(
            height=height,
            state_root=update.crown.root,
            receipts_root=receipts_root(growth.after.size, growth.after.root()),
            tx_root=tx_root(results.transaction_ids),
            writes=writes,
            crown=update.crown,
            entries=update.entries,
            nodes=update.nodes,
            results=results,
            growth=growth,
            transactions=self.transactions,
            kinds=self._kinds,
            index_rows=IndexRows.of(ground.context.rows),
            next_set=next_set,
            rows=ground.changes.rows if writes else ground.changes.known,
        )


def check_once_and_in_time(genesis: Genesis, transaction: Transaction, at: Round, *, is_used: bool) -> None:
    """Refuse what is used already, expired, or expires too long after a block. Raises: InvalidTransaction."""
    expires_ms, window_ms = transaction.body.expires_ms, genesis.parameters.expiry_window_ms
    if expires_ms < at.time_ms:
        raise InvalidTransaction(Code.EXPIRED, f"it expired {at.time_ms - expires_ms} ms before the block")
    if expires_ms > at.time_ms + window_ms:
        raise InvalidTransaction(
            Code.EXPIRES_TOO_LATE, f"a transaction expires at most {window_ms} ms after its block"
        )
    if is_used:
        raise InvalidTransaction(Code.REPLAYED, "the transaction is in the chain already")


def sizes_by_sponsor(transactions: Iterable[Transaction]) -> Mapping[str, Sequence[int]]:
    """How many bytes each of them has, by who pays for it."""
    sizes = defaultdict[str, list[int]](list)
    for transaction in transactions:
        sizes[transaction.body.sponsor].append(len(transaction.encoded))
    return sizes


def runs(opened: Iterable[Opened]) -> Iterator[list[Opened]]:
    """The same transactions, those of one rule that follow each other together, RUN_MAX at most."""
    for _, some in groupby(opened, itemgetter(1)):
        while run := list(islice(some, RUN_MAX)):
            yield run


def in_order(opened: Sequence[Opened]) -> list[Opened]:
    """The same transactions, each line's own ones by their numbers in the places that the line holds."""
    lines: dict[bytes, list[tuple[int, int]]] = {}
    for i, (_, rule, payload) in enumerate(opened):
        place = rule.order(payload) if rule.order is not None else None
        if place is not None:
            lines.setdefault(place[0], []).append((place[1], i))
    ordered = list(opened)
    for line in lines.values():
        if len(line) > 1:
            for i, (_, source) in zip(sorted(i for _, i in line), sorted(line), strict=True):
                ordered[i] = opened[source]
    return ordered
