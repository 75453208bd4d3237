"""Transactions on their way: judged, waiting, final or refused. Floor 6.

Every transaction is decoded once and its signatures are verified once, in batches off the event loop.
What was accepted ends as exactly one of final, refused with a code, or expired.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import islice

import trio

from p2pledger.chain.epoch import epoch_of
from p2pledger.chain.genesis import Genesis
from p2pledger.chain.transaction import (
    Outcome,
    Transaction,
    decode_transaction,
    decode_transactions,
)
from p2pledger.errors import Code, InvalidMessage, InvalidTransaction
from p2pledger.ledger.execution import Execution
from p2pledger.ledger.fates import EXPIRED, Fate, Fates
from p2pledger.ledger.machine import Machine, Round
from p2pledger.ledger.mempool import Mempool, Share, ShareFull
from p2pledger.metrics import OTHER, Metrics
from p2pledger.node.backlog import Backlog
from p2pledger.node.cores import Cores
from p2pledger.node.service import MEMPOOL_FULL, TOO_BUSY, Busy
from p2pledger.node.trail import Trail
from p2pledger.node.verifying import Verifier
from p2pledger.storage.store import Store
from p2pledger.types import Hash, Height, Millis

FETCHED_BYTES_MAX = 256 * 1024 * 1024
"""Bodies kept for blocks that were proposed or are being caught up with, beside the mempool."""
FATES_KEPT = 200_000
AT_ONCE = 512
"""So many transactions are decoded before the agreement gets its turn: two milliseconds or three.

Fewer cost more each: every time, what others have driven out of the caches since is read again, some 160 us.
"""
RECHECKED_MAX = 128
"""Left-over transactions that are tried anew after a final block, at most."""
LEFT_OVER_MS = 1_000
"""What was passed over for so long was left out by leaders: it is tried anew, once in such a time."""
SUSPECTS_MAX = 10_000
SPREAD_MS = 3_000
"""Gossip has reached everybody by then who could hear it."""
SPREAD_MAX = 1_000
RETRY_AFTER_MS = 500

Refusal = InvalidMessage | InvalidTransaction | Busy


class Pool:
    """What this node knows of transactions that are not in the chain, and of how recent ones ended.

    `on_news` is called when transactions were added to the mempool; `is_unfinal` says whether a block
    that is executed here and may yet become final holds an id.
    """

    def __init__(
        self,
        genesis: Genesis,
        machine: Machine,
        store: Store,
        metrics: Metrics,
        now: Callable[[], Millis],
        *,
        transactions_max: int,
        bytes_max: int,
    ) -> None:
        self.mempool = Mempool(transactions_max, bytes_max, RETRY_AFTER_MS)
        self.on_news: Callable[[], None] = lambda: None
        self.is_unfinal: Callable[[Hash], bool] = lambda transaction_id: False
        self.trail = Trail()
        self._genesis, self._machine, self._store = genesis, machine, store
        self._metrics, self._now = metrics, now
        self.cores = Cores()
        self._verifier = Verifier(machine, metrics, self.cores)
        self._urgent = machine.urgent_kinds
        self._fates = Fates(FATES_KEPT)
        self._fetched: OrderedDict[Hash, Transaction] = OrderedDict()
        self._fetched_bytes = 0
        self._suspects: OrderedDict[Hash, None] = OrderedDict()
        self._submitted_ms: dict[Hash, Millis] = {}
        self._waiting: dict[Hash, trio.Event] = {}
        self._backlog = Backlog()
        self._under_way = 0
        """How many transactions from clients are being judged."""
        self._swept_ms = now()

    def get(self, transaction_id: Hash) -> Transaction | None:
        """A body that is not in the chain yet, its signatures verified."""
        return self.mempool.get(transaction_id) or self._fetched.get(transaction_id)

    def lacking(self, transactions: Iterable[Transaction]) -> list[Transaction]:
        """Those of these whose bodies `get` does not have."""
        return [one for one in self.mempool.lacking(transactions) if one.id not in self._fetched]

    async def submit(self, encoded: Sequence[bytes]) -> list[Transaction | Refusal]:
        """Judge transactions from a client; the good ones are pending when this returns."""
        answers: list[Transaction | Refusal] = []
        began_ns = self.trail.now_ns()
        waiting_max = self._backlog.waiting_max
        room = max(0, waiting_max - len(self.mempool) - self._under_way)
        taken, left = encoded[:room], len(encoded[room:])
        self._under_way += len(taken)
        try:
            for start in range(0, len(taken), AT_ONCE):
                with self._metrics.spending("decode"):
                    answers += self._open_all(taken[start : start + AT_ONCE], waiting_max)
                await trio.lowlevel.checkpoint()
            answers += [Busy(RETRY_AFTER_MS, TOO_BUSY)] * left
            opened = {i: answer for i, answer in enumerate(answers) if isinstance(answer, Transaction)}
            fresh = {i: one for i, one in opened.items() if one.id not in self.mempool}
            await self._judge(answers, fresh, "api", began_ns=began_ns)
        finally:
            self._under_way -= len(taken)
        now = self._now()
        for answer in answers:
            if isinstance(answer, Transaction) and answer.id in self.mempool:
                self._submitted_ms.setdefault(answer.id, now)
        return answers

    async def take(self, transactions: Sequence[Transaction], *, verified: bool) -> bool:
        """Take transactions that a peer sent; what is pending already costs nothing. False: one was forged.

        A body that is held for some block is pending from now on, since that block may lose. An id does not
        cover the signatures, so it is the verified body that is taken.
        """
        fresh = [self._fetched.get(t.id, t) for t in self.mempool.lacking(transactions)]
        return await self._judge([*fresh], dict(enumerate(fresh)), "gossip", verified=verified)

    async def take_fetched(self, transactions: Sequence[Transaction], asked: Collection[Hash]) -> bool:
        """Keep bodies that were asked for; whoever takes a body verifies it. False: one was forged."""
        wanted = [t for t in self.lacking(transactions) if t.id in asked]
        verdicts = await self.authentic(wanted)
        self.keep([t for t, is_good in zip(wanted, verdicts, strict=True) if is_good])
        return all(verdicts)

    def keep(self, transactions: Iterable[Transaction]) -> None:
        """Keep verified bodies for blocks that need them."""
        for transaction in transactions:
            if transaction.id not in self._fetched:
                self._fetched[transaction.id] = transaction
                self._fetched_bytes += len(transaction.encoded)
        while self._fetched_bytes > FETCHED_BYTES_MAX:
            self._drop_fetched(next(iter(self._fetched)))

    def _drop_fetched(self, transaction_id: Hash) -> None:
        transaction = self._fetched.pop(transaction_id, None)
        if transaction is not None:
            self._fetched_bytes -= len(transaction.encoded)

    def _open_all(self, data: Sequence[bytes], waiting_max: int) -> list[Transaction | Refusal]:
        """Transactions that may be worth verifying. What is refused here costs little."""
        try:
            transactions = decode_transactions(data)
            self._machine.check_forms(transactions)
        except (InvalidMessage, InvalidTransaction):
            opened = [self._open(one) for one in data]  # each is answered for itself
        else:
            opened = [*transactions]
        self._refuse_crowds(opened, waiting_max)
        return opened

    def _open(self, data: bytes) -> Transaction | Refusal:
        try:
            transaction = decode_transaction(data)
            self._machine.check_form(transaction)
        except (InvalidMessage, InvalidTransaction) as error:
            return error
        return transaction

    def _refuse_crowds(self, opened: list[Transaction | Refusal], waiting_max: int) -> None:
        """Put one refusal in the places of what is new, not urgent, and of sponsors with too much waiting."""
        sponsors = {one.body.sponsor for one in opened if isinstance(one, Transaction)}
        crowded = {sponsor for sponsor in sponsors if self.mempool.is_crowded(sponsor, waiting_max)}
        if not crowded:
            return
        busy = Busy(RETRY_AFTER_MS, Code.TOO_MANY_PENDING)
        for i, one in enumerate(opened):
            if not isinstance(one, Transaction) or one.body.sponsor not in crowded:
                continue
            if one.id not in self.mempool and one.body.kind not in self._urgent:
                opened[i] = busy

    def check_forms(self, transactions: Sequence[Transaction]) -> None:
        """Refuse what no node of this ledger could ever accept. Raises: InvalidTransaction for the first."""
        self._machine.check_forms(transactions)

    async def authentic(self, transactions: Sequence[Transaction]) -> list[bool]:
        """Which of these are signed by all their signers (`Verifier.authentic`)."""
        return await self._verifier.authentic(transactions)

    async def _judge(
        self,
        answers: list[Transaction | Refusal],
        fresh: Mapping[int, Transaction],
        source: str,
        *,
        verified: bool = False,
        began_ns: int = 0,
    ) -> bool:
        """Verify, try and take what is fresh among the answers; put the refusal in the place of a bad one.

        False: one was forged. `fresh`: by their places, those that are not pending.
        """
        verdicts = [True] * len(fresh) if verified else await self.authentic([*fresh.values()])
        with self._metrics.spending("admit"):
            is_news = self._admit(answers, fresh, verdicts, source)
        self._count(answers, fresh, source)
        if self.trail.is_followed:
            self.trail.accepted(source, [answers[i] for i in fresh], began_ns)
        if is_news:
            self.on_news()
        return all(verdicts)

    def _admit(
        self,
        answers: list[Transaction | Refusal],
        fresh: Mapping[int, Transaction],
        verdicts: Sequence[bool],
        source: str,
    ) -> bool:
        """Try verified transactions and take them all at once; whether one of them was news."""
        now = self._now()
        refusals = {} if source == "api" else self._refusals(fresh.values(), now)
        good: dict[int, Transaction] = {}
        for (i, transaction), is_good in zip(fresh.items(), verdicts, strict=True):
            if not is_good:
                answers[i] = InvalidTransaction(Code.BAD_SIGNATURE, "a signature is not its signer's")
            elif transaction.id in refusals:
                answers[i] = refusals[transaction.id]
            else:
                good[i] = transaction
        trial, some = self._machine.trial(self._store, self._round(now)), [*good.values()]
        tried = trial.check_all(some) if source == "api" else trial.quota_all(some)
        offered: dict[int, Transaction] = {}
        shares: list[Share] = []
        share_of: dict[tuple[str, bool, bool], Share] = {}
        for (i, transaction), quota in zip(good.items(), tried, strict=True):
            if isinstance(quota, InvalidTransaction):
                answers[i] = quota
                continue
            is_urgent = quota is not None and transaction.body.kind in self._urgent
            account = transaction.body.sponsor, quota is None, is_urgent
            if account not in share_of:  # on one parent a sponsor has one quota
                whose = account[0]
                share_of[account] = (
                    self.mempool.urgent_share(whose) if is_urgent else self.mempool.share(whose, quota)
                )
            offered[i] = transaction
            shares.append(share_of[account])
        taken = self.mempool.add_many([*offered.values()], now, shares)
        if len(self.mempool):
            self._backlog.begin(now)
        for i, is_new in zip(offered, taken, strict=True):
            if not isinstance(is_new, bool):
                code = Code.TOO_MANY_PENDING if isinstance(is_new, ShareFull) else MEMPOOL_FULL
                answers[i] = Busy(is_new.retry_after_ms, code)
        self._fates.remove([one.id for i, one in offered.items() if answers[i] is one])
        return True in taken

    def _count(self, answers: Sequence[Transaction | Refusal], fresh: Collection[int], source: str) -> None:
        results = Counter(answer.code for answer in answers if not isinstance(answer, Transaction))
        good = len(answers) - results.total()
        results["accepted"] = sum([isinstance(answers[i], Transaction) for i in fresh])
        results["repeated"] = good - results["accepted"]
        for result, count in results.items():
            if count:
                self._metrics.mempool_txs_received_total.at(source, result).inc(count)

    def _check(self, transaction: Transaction, time_ms: Millis) -> None:
        """A dry run on the final state. Raises: InvalidTransaction."""
        self._machine.check(self._store, self._round(time_ms), transaction)

    def _round(self, time_ms: Millis) -> Round:
        height = self._store.tip().height
        epoch = epoch_of(height + 1, self._genesis.parameters.epoch_blocks)
        return Round(epoch, Height(height + 1), time_ms)

    def _refusals(self, transactions: Collection[Transaction], now: Millis) -> dict[Hash, InvalidTransaction]:
        """Why some of a peer's transactions are not taken, by their ids: mostly none.

        It is all that is looked at: the entry node has made the dry run, and leaders make it again.
        """
        parameters = self._genesis.parameters
        latest_ms = now + parameters.expiry_window_ms + parameters.clock_drift_ms
        refusals = {
            id_: InvalidTransaction(Code.REPLAYED, "the transaction is in the chain already")
            for id_ in self._store.used([transaction.id for transaction in transactions])
        }
        for transaction in [t for t in transactions if not now <= t.body.expires_ms <= latest_ms]:
            refusals[transaction.id] = (
                InvalidTransaction(Code.EXPIRED, "it has expired")
                if transaction.body.expires_ms < now
                # It would stay in the mempool, and no block may hold it.
                else InvalidTransaction(Code.EXPIRES_TOO_LATE, "it expires beyond the window of any block")
            )
        return refusals

    def release(self, transaction_ids: Iterable[Hash]) -> None:
        """What came in here was sent to others (`Mempool.release`)."""
        self.mempool.release(transaction_ids, self._now())
        self.on_news()

    def unspread(self) -> list[Transaction]:
        """What was submitted here and then passed over: the oldest, to be said again."""
        before = self.mempool.passed_over_before(self._now(), SPREAD_MS)
        overdue = (i for i, since in self._submitted_ms.items() if since < before)
        found = (self.mempool.get(i) for i in islice(overdue, SPREAD_MAX))
        return [transaction for transaction in found if transaction is not None]

    def suspect(self, transaction_ids: Iterable[Hash]) -> None:
        """These failed on a parent that is not final: try them first once more is."""
        for transaction_id in transaction_ids:
            self._suspects[transaction_id] = None
        while len(self._suspects) > SUSPECTS_MAX:
            self._suspects.popitem(last=False)

    def settle(self, execution: Execution, time_ms: Millis) -> None:
        """A block is stored: its transactions are final, and what cannot follow any more has ended too."""
        height, now = execution.height, self._now()
        ended = execution.transactions.keys()
        ids = list(ended)
        self.trail.final(ids, height)
        self.mempool.settle(ids, now)
        self._backlog.settle(len(ids), len(self.mempool), now)
        self._fates.remove(ids)
        for kind, count in execution.kinds.items():
            self._metrics.txs_finalized_total.at(kind, "final").inc(count)
        for transaction_id in self._fetched.keys() & ended:
            self._drop_fetched(transaction_id)
        for transaction_id in self._suspects.keys() & ended:
            del self._suspects[transaction_id]
        for transaction_id in self._submitted_ms.keys() & ended:
            waited_ms = max(0, now - self._submitted_ms.pop(transaction_id))
            self._metrics.tx_finality_latency_seconds.observe(waited_ms / 1_000)
        for transaction_id in self._waiting.keys() & ended:
            self._wake(transaction_id)
        if now - self._swept_ms >= LEFT_OVER_MS:
            self._swept_ms = now
            self.suspect(self.mempool.arrived_before(self.mempool.passed_over_before(now, LEFT_OVER_MS)))
        self._expire(time_ms)
        self._recheck(time_ms)

    def _expire(self, time_ms: Millis) -> None:
        expired = self.mempool.expire(time_ms)
        self.trail.expired(expired)
        for transaction_id in expired:
            self._end(transaction_id, EXPIRED)
            self._metrics.txs_finalized_total.at(OTHER, "expired").inc()

    def _recheck(self, time_ms: Millis) -> None:
        """Drop what no longer applies to the final state, with its code."""
        for transaction_id in list(islice(self._suspects, RECHECKED_MAX)):
            del self._suspects[transaction_id]
            transaction = self.mempool.get(transaction_id)
            if transaction is None or self.is_unfinal(transaction_id):
                continue  # what it needs may be in the same branch, which will show its end
            # At the earliest time of a block that may hold it: the newest final one may be too early.
            window_ms = self._genesis.parameters.expiry_window_ms
            try:
                self._check(transaction, Millis(max(time_ms, transaction.body.expires_ms - window_ms)))
            except InvalidTransaction as error:
                self.mempool.remove([transaction_id])
                self._metrics.txs_finalized_total.at(OTHER, error.code).inc()
                self.trail.refused(transaction_id, error.code, error.message)
                self._end(transaction_id, Fate(Outcome.REFUSED, code=error.code, message=error.message))

    def _end(self, transaction_id: Hash, fate: Fate) -> None:
        if self._store.locate(transaction_id) is None:  # another leader may have made it final
            self._fates.end(transaction_id, fate)
        self._submitted_ms.pop(transaction_id, None)
        self._wake(transaction_id)

    def fate(self, transaction_id: Hash) -> Fate:
        """What is known now of a transaction."""
        known = self._fates.get(transaction_id)
        if known is not None:
            return known
        if transaction_id in self.mempool:
            return Fate(Outcome.PENDING)
        located = self._store.locate(transaction_id)
        return Fate(Outcome.UNKNOWN) if located is None else Fate(Outcome.FINAL, height=located.result.height)

    async def wait(self, transaction_id: Hash, timeout_ms: int) -> Fate:
        """Like `fate`, but waits up to `timeout_ms` for an end."""
        with trio.move_on_after(timeout_ms / 1_000):
            while self.fate(transaction_id).outcome in (Outcome.PENDING, Outcome.UNKNOWN):
                await self._waiting.setdefault(transaction_id, trio.Event()).wait()
        event = self._waiting.get(transaction_id)
        if event is not None and event.statistics().tasks_waiting == 0:
            del self._waiting[transaction_id]
        return self.fate(transaction_id)

    def _wake(self, transaction_id: Hash) -> None:
        event = self._waiting.pop(transaction_id, None)
        if event is not None:
            event.set()
