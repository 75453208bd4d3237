"""Executes blocks: a pure function from a state and transactions to everything that follows. Floor 4."""

from collections.abc import Callable, Iterable, Sequence, Set
from contextlib import suppress
from typing import Any, TypeVar

from p2pledger.chain.authority import AUTHORITIES_MAX
from p2pledger.chain.block import BLOCK_EVIDENCE_MAX, FINAL_BLOCK_BYTES_MAX, receipts_root, tx_root
from p2pledger.chain.genesis import Genesis, Quota
from p2pledger.chain.payloads.governance import Parameter
from p2pledger.chain.receipt import Results
from p2pledger.chain.transaction import Transaction
from p2pledger.chain.vote import IsSigned
from p2pledger.crypto import Signed
from p2pledger.crypto import is_signed as is_really_signed
from p2pledger.errors import Fatal, InvalidMessage, InvalidTransaction
from p2pledger.ledger.commitment import Commitment
from p2pledger.ledger.execution import Built, Execution, Refusal
from p2pledger.ledger.modules import RULES, governance, registry
from p2pledger.ledger.payloads import Payloads
from p2pledger.ledger.rules import Context, IndexRow, IndexRows, Round, Rule
from p2pledger.ledger.state import Changes, EmptyState, StateReader
from p2pledger.ledger.work import (
    Ground,
    Opened,
    Work,
    check_once_and_in_time,
    in_order,
    runs,
    sizes_by_sponsor,
)
from p2pledger.merkle import Frontier
from p2pledger.types import Hash, Height

__all__ = ["Built", "Execution", "IndexRow", "IndexRows", "Machine", "Refusal", "Round", "Trial"]

T = TypeVar("T")

HEADER_BYTES_MAX = 512
EVIDENCE_BYTES_MAX = 384
SIGNATURE_ENCODED_BYTES = 66
HASH_ENCODED_BYTES = 34
BLOCK_PLACES = (
    FINAL_BLOCK_BYTES_MAX
    - HEADER_BYTES_MAX
    - AUTHORITIES_MAX * SIGNATURE_ENCODED_BYTES
    - BLOCK_EVIDENCE_MAX * EVIDENCE_BYTES_MAX
) // HASH_ENCODED_BYTES
"""How many transactions a leader puts into a block at most, so that it can be gossiped once final."""


class Machine:
    """The ledger's rules over one genesis. Pure: all it remembers follows from transactions' bytes.

    The signatures of transactions are the caller's to verify, once, before they come here. Those inside
    payloads (an invite's, an enrolment's) the caller may verify with them: `signed_inside`, `note_proven`.
    What was not noted the rule itself verifies, by `is_signed`, each time that it is carried out.
    """

    def __init__(self, genesis: Genesis, is_signed: IsSigned = is_really_signed) -> None:
        self.genesis = genesis
        self._is_signed = is_signed
        self._commitment = Commitment(genesis.parameters.state_buckets)
        self._payloads = Payloads(genesis.hash)

    @property
    def urgent_kinds(self) -> frozenset[str]:
        """Kinds of transactions of which some are carried out beyond their sponsor's quota."""
        return frozenset(kind for kind, rule in RULES.items() if rule.is_urgent is not None)

    def start(self) -> Execution:
        """The execution of the genesis block: what the genesis file itself writes."""
        changes = Changes(EmptyState())
        rows = registry.apply_genesis(changes, self.genesis)
        governance.apply_genesis(changes, self.genesis)
        writes = changes.writes()
        update = self._commitment.update(EmptyState(), writes)
        growth = Frontier().grow(())
        return Execution(
            height=Height(0),
            state_root=update.crown.root,
            receipts_root=receipts_root(growth.after.size, growth.after.root()),
            tx_root=tx_root(()),
            writes=writes,
            crown=update.crown,
            entries=update.entries,
            nodes=update.nodes,
            results=Results(Height(0), (), ()),
            growth=growth,
            transactions={},
            kinds={},
            index_rows=IndexRows.of(rows),
        )

    def check_form(self, transaction: Transaction) -> None:
        """Refuse what no state could accept: another ledger's, an unknown kind, a payload that is not one.

        Raises: InvalidTransaction.
        """
        self._payloads.open(transaction)

    def check_forms(self, transactions: Sequence[Transaction]) -> None:
        """As `check_form` for each, with the payloads of each kind decoded together.

        Raises: InvalidTransaction for the first that is refused.
        """
        self._payloads.open_all(transactions)

    def signed_inside(self, transactions: Iterable[Transaction]) -> dict[Hash, Signed]:
        """See `Payloads.signed_inside`: what to verify beside the transactions' own signatures."""
        return self._payloads.signed_inside(transactions)

    def note_proven(self, transaction_ids: Iterable[Hash]) -> None:
        """See `Payloads.note_proven`: of `signed_inside`, those that were verified and hold."""
        self._payloads.note_proven(transaction_ids)

    def context(self, at: Round) -> Context:
        """What rules may know in the block that stands there, before they are turned to a transaction."""
        return Context(self.genesis, at, self._is_signed, self._payloads.proven)

    def trial(self, parent: StateReader, at: Round) -> "Trial":
        """A dry run of any number of transactions on one parent."""
        return Trial(self, parent, at)

    def check(self, parent: StateReader, at: Round, transaction: Transaction) -> None:
        """The dry run of one transaction (`Trial.check`). Raises: InvalidTransaction."""
        self.trial(parent, at).check(transaction)

    def execute(
        self, parent: StateReader, frontier: Frontier, at: Round, transactions: Sequence[Transaction]
    ) -> Execution:
        """Apply transactions in order; each must succeed. Signatures are the caller's to verify.

        Raises: InvalidTransaction with the code of the first that does not, InvalidMessage when they
        are more than a block may hold, Fatal when the block follows rules that this software does not know.
        """
        transactions_max, bytes_max = self.limits(parent, at)
        if len(transactions) > transactions_max:
            raise InvalidMessage(f"a block has at most {transactions_max} transactions")
        if sum([len(transaction.encoded) for transaction in transactions]) > bytes_max:
            raise InvalidMessage(f"a block has at most {bytes_max} bytes of transactions")
        payloads, opened = self._payloads, list[Opened]()
        with suppress(InvalidTransaction):
            for one, known in zip(transactions, payloads.opened(transactions), strict=True):
                rule, payload = known or payloads.open(one)
                opened.append((one, rule, payload))
        limits = transactions_max, bytes_max
        work = Work(self._commitment, self.context(at), parent, transactions, limits)
        work.carry_out(opened)
        if len(opened) < len(transactions):
            payloads.open(transactions[len(opened)])  # which is refused, now that none before it was
        return work.finish(frontier)

    def build(
        self,
        parent: StateReader,
        frontier: Frontier,
        at: Round,
        candidates: Sequence[Transaction],
        limits: tuple[int, int] | None = None,
    ) -> Built:
        """Choose from candidates what fits a block and succeeds, and execute it.

        They are tried as they arrived, but those of one device among themselves by their numbers. A
        bad candidate is refused and harms no other. `limits`, from whoever has read them to find the
        candidates, saves reading them again. Raises: Fatal as `execute` does.
        """
        transactions_max, room = limits or self.limits(parent, at)
        places = min(transactions_max, BLOCK_PLACES)
        work = Work(self._commitment, self.context(at), parent, candidates, (places, room))
        refused: list[Refusal] = []
        opened: list[Opened] = []
        for candidate in candidates:
            try:
                rule, payload = self._payloads.open(candidate)
            except InvalidTransaction as error:
                refused.append(Refusal(candidate.id, error))
            else:
                opened.append((candidate, rule, payload))
        work.carry_out(in_order(opened), refused)
        return Built(tuple(work.transactions.values()), work.finish(frontier), tuple(refused))

    def limits(self, parent: StateReader, at: Round) -> tuple[int, int]:
        """How many transactions, and how many bytes of them together, a block may hold.

        Raises: Fatal when the block follows rules that this software does not know.
        """
        version = governance.rules_version(parent, at.height)
        if version > governance.RULES_VERSION:
            raise Fatal(
                f"from height {at.height} on blocks follow version {version} of the rules, and this software "
                f"knows version {governance.RULES_VERSION}: install a later one"
            )
        first, height = self.genesis.parameters, at.height
        transactions_max = governance.value_at(parent, Parameter.BLOCK_TRANSACTIONS_MAX, first, height)
        return transactions_max, governance.value_at(parent, Parameter.BLOCK_BYTES_MAX, first, height)


class Trial:
    """Transactions tried out on one parent, each for itself: none sees what another would write.

    What they read in common, such as their sponsor, is read and decoded once for all of them.
    """

    def __init__(self, machine: Machine, parent: StateReader, at: Round) -> None:
        self._machine, self._parent, self._at = machine, parent, at
        self._ground = Ground(Changes(parent), machine.context(at))
        self._sponsors: dict[str, registry.Organisation] = {}
        self._unused: Set[Hash] = frozenset()

    def check(self, transaction: Transaction) -> Quota:
        """A dry run: raises what executing the transaction alone would raise, or returns its `quota`.

        Raises: InvalidTransaction.
        """
        rule, payload = self._machine._payloads.open(transaction)
        is_used = transaction.id not in self._unused and bool(self._parent.used([transaction.id]))
        check_once_and_in_time(self._machine.genesis, transaction, self._at, is_used=is_used)
        changes = self._ground.changes
        mark = changes.mark()
        try:
            self._ground.apply(transaction, rule, payload)
        finally:
            changes.undo(mark)
            self._ground.context.rows.clear()
        return registry.check_sponsor(changes, transaction.body.sponsor, self._at).quota

    def check_all(self, transactions: Sequence[Transaction]) -> list[Quota | InvalidTransaction]:
        """What `check` returns or raises for each; for less where many of a kind follow each other.

        Raises: InvalidTransaction for the first that no state could accept (`Machine.check_forms`).
        """
        opened = [(one, *self._machine._payloads.open(one)) for one in transactions]
        self._ground.read_ahead(transactions, [(rule, payload) for _, rule, payload in opened])
        ids = {transaction.id for transaction in transactions}
        self._unused = ids - self._parent.used(ids)
        found: list[Quota | InvalidTransaction] = []
        for run in runs(opened):
            found += self._check_run(run) or [_answer(self.check, one) for one, _, _ in run]
        return found

    def _check_run(self, run: Sequence[Opened]) -> list[Quota] | None:
        """What `check` returns for each of a run; None where it cannot be told of all of them together."""
        check_run, ground, at = run[0][1].check_run, self._ground, self._at
        latest_ms = at.time_ms + self._machine.genesis.parameters.expiry_window_ms
        some = [one for one, _, _ in run]
        ends_ms = [one.body.expires_ms for one in some]
        if check_run is None or not {one.id for one in some} <= self._unused:
            return None
        if min(ends_ms) < at.time_ms or max(ends_ms) > latest_ms:
            return None
        sizes = sizes_by_sponsor(some)
        quotas: dict[str, Quota] = {}
        try:
            for name, each in sizes.items():
                quotas[name] = registry.check_sponsor(ground.changes, name, at).quota
                ground.charges.check(name, quotas[name], max(each))
        except InvalidTransaction:
            return None
        if not check_run(ground.changes, ground.context, some, [payload for _, _, payload in run]):
            return None
        return [quotas[one.body.sponsor] for one in some]

    def quota_all(self, transactions: Sequence[Transaction]) -> list[Quota | InvalidTransaction | None]:
        """What `quota` returns or raises for each, for less."""
        self._ground.read_ahead(transactions, ())
        opened = self._machine._payloads.opened(transactions)
        return [
            _answer(self.quota, one) if known is None else self._quota(one, *known)
            for one, known in zip(transactions, opened, strict=True)
        ]

    def quota(self, transaction: Transaction) -> Quota | None:
        """The quota that a transaction is to be charged to; None when it is not entitled to any now.

        Raises: InvalidTransaction when no state could accept it.
        """
        return self._quota(transaction, *self._machine._payloads.open(transaction))

    def _quota(self, transaction: Transaction, rule: Rule, payload: Any) -> Quota | None:
        ground, name = self._ground, transaction.body.sponsor
        ground.context.turn_to(transaction)
        try:
            if name not in self._sponsors:  # all that is written here is undone: it stays the same
                self._sponsors[name] = registry.check_sponsor(ground.changes, name, self._at)
            rule.check_signers(ground.changes, ground.context, payload)
        except InvalidTransaction:
            return None
        return self._sponsors[name].quota


def _answer(ask: Callable[[Transaction], T], transaction: Transaction) -> T | InvalidTransaction:
    try:
        return ask(transaction)
    except InvalidTransaction as error:
        return error
