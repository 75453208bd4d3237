"""The six modules' invariants together, over what a run's chain holds. Floor 8."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from p2pledger.chain.authority import AuthoritySet
from p2pledger.chain.genesis import Genesis
from p2pledger.chain.payloads import (
    MEASURES,
    AuthorityAdd,
    AuthorityRemove,
    GovPropose,
    MandateEnd,
    MandateGive,
    OrgQuota,
    OrgRegister,
    ParameterSet,
    ProgramChange,
    ProgramCreate,
    UpgradePlan,
)
from p2pledger.chain.transaction import Transaction
from p2pledger.chain.vote import Offence
from p2pledger.codec import decode
from p2pledger.simulator.invariants.consent import ConsentInvariants
from p2pledger.simulator.invariants.custody import CustodyInvariants
from p2pledger.simulator.invariants.governance import GovernanceInvariants
from p2pledger.simulator.invariants.programs import ProgramsInvariants
from p2pledger.simulator.invariants.records import RecordsInvariants
from p2pledger.simulator.invariants.registry import RegistryInvariants

Judgement = Callable[[Any, int], None]
"""Takes a measure and the height that it works from. Raises: ValueError."""


class Books:
    """Shows each module's books every accepted transaction, block by block, and every measure adopted.

    Each method raises ValueError when a module's books say that this should not have been. A measure that
    cannot be carried out may not be proposed. One that could be then, and cannot any more when it is adopted
    (of two that conflict, the second), has failed: it is in no books, so that whoever acts on it breaks them.
    """

    def __init__(self, genesis: Genesis) -> None:
        self.carried_out: Counter[str] = Counter()
        """How many measures of each kind were adopted and carried out."""
        self.failed: dict[bytes, str] = {}
        """The kind of each measure that failed when it was adopted, by the id of its proposal."""
        self._governance = GovernanceInvariants(genesis)
        registry, programs = RegistryInvariants(genesis), ProgramsInvariants()
        custody, consent = CustodyInvariants(genesis), ConsentInvariants()
        self._custody = custody
        books = (self._governance, registry, RecordsInvariants(), custody, programs, consent)
        self._applied: tuple[Callable[[Transaction, int, int], None], ...] = tuple(
            book.apply for book in books
        )
        governance = self._governance
        self._measures: Mapping[type[Any], tuple[Judgement, Sequence[Judgement]]] = {
            OrgRegister: (registry.check, (registry.enact, custody.enact)),
            OrgQuota: (registry.check, (registry.enact,)),
            ProgramCreate: (programs.check, (programs.enact,)),
            ProgramChange: (programs.check, (programs.enact,)),
            MandateGive: (consent.check, (consent.enact,)),
            MandateEnd: (consent.check, (consent.enact,)),
            AuthorityAdd: (governance.check, (governance.enact,)),
            AuthorityRemove: (governance.check, (governance.enact,)),
            ParameterSet: (governance.check, (governance.enact,)),
            UpgradePlan: (governance.check, (governance.enact,)),
        }
        """For each measure what says whether it can be carried out, and what carries it out."""

    def apply(self, transaction: Transaction, height: int, time_ms: int) -> None:
        """The next accepted transaction, in the block of this height and time."""
        try:
            for apply in self._applied:
                apply(transaction, height, time_ms)
            if transaction.body.kind == GovPropose.KIND:
                self._propose(decode(GovPropose, transaction.body.payload))
            for proposal, measure, from_height in self._governance.take_adopted():
                self._enact(proposal, measure, from_height)
        except LookupError as error:
            kind = transaction.body.kind
            raise ValueError(f"{kind} in block {height} names what is in no books: {error!r}") from error

    def _propose(self, proposal: GovPropose) -> None:
        measure = decode(MEASURES[proposal.kind], proposal.measure)
        check, _ = self._measures[type(measure)]
        check(measure, proposal.activation_height)

    def _enact(self, proposal: bytes, measure: Any, from_height: int) -> None:
        check, enacting = self._measures[type(measure)]
        try:
            check(measure, from_height)
        except ValueError:
            self.failed[proposal] = measure.KIND
            return
        for enact in enacting:
            enact(measure, from_height)
        self.carried_out[measure.KIND] += 1

    def check_block(self, height: int, sizes: Iterable[int]) -> None:
        """Whether a block's transactions, of these sizes in bytes, are within what was set for its height."""
        self._governance.check_block(height, sizes)

    def convict(self, offences: Iterable[Offence]) -> None:
        """The evidence of a block, after its transactions."""
        self._governance.convict(offences)

    def close(self, height: int) -> AuthoritySet:
        """The list that the last block of an epoch decides."""
        return self._governance.close(height)

    def recount(self) -> None:
        """Count every lot again: what each step kept in balance has to be what is there."""
        self._custody.recount()

    def authorities(self, epoch: int) -> AuthoritySet:
        """The list of an epoch that is decided."""
        return self._governance.authorities(epoch)

    def is_adopted(self, proposal: bytes) -> bool:
        """Whether a proposal, by the id of its transaction, has the votes that it needs."""
        return self._governance.is_adopted(proposal)

    def suspended_until_ms(self, organisation: str) -> int:
        """Until when an organisation is suspended; 0 when it never was."""
        return self._governance.suspended.get(organisation, 0)
