"""The six modules' invariants together, over what a run's chain holds. Floor 8."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from p2pledger.chain.authority import AuthoritySet
from p2pledger.chain.genesis import Genesis
from p2pledger.chain.payloads import (
    MandateEnd,
    MandateGive,
    OrgQuota,
    OrgRegister,
    ProgramChange,
    ProgramCreate,
)
from p2pledger.chain.transaction import Transaction
from p2pledger.chain.vote import Offence
from p2pledger.simulator.invariants.consent import ConsentInvariants
from p2pledger.simulator.invariants.custody import CustodyInvariants
from p2pledger.simulator.invariants.governance import GovernanceInvariants
from p2pledger.simulator.invariants.programs import ProgramsInvariants
from p2pledger.simulator.invariants.records import RecordsInvariants
from p2pledger.simulator.invariants.registry import RegistryInvariants


class Books:
    """Shows each module's books every accepted transaction, block by block, and every measure adopted.

    Each method raises ValueError when a module's books say that this should not have been. A measure that
    fails when it is carried out is one of these: no simulated client puts two to the vote that conflict.
    """

    def __init__(self, genesis: Genesis) -> None:
        self._governance = GovernanceInvariants(genesis)
        registry, programs = RegistryInvariants(genesis), ProgramsInvariants()
        custody, consent = CustodyInvariants(genesis), ConsentInvariants()
        self._custody = custody
        books = (self._governance, registry, RecordsInvariants(), custody, programs, consent)
        self._applied: tuple[Callable[[Transaction, int, int], None], ...] = tuple(
            book.apply for book in books
        )
        self._enacted: Mapping[type[Any], tuple[Callable[[Any, int], None], ...]] = {
            OrgRegister: (registry.enact, custody.enact),
            OrgQuota: (registry.enact,),
            ProgramCreate: (programs.enact,),
            ProgramChange: (programs.enact,),
            MandateGive: (consent.enact,),
            MandateEnd: (consent.enact,),
        }

    def apply(self, transaction: Transaction, height: int, time_ms: int) -> None:
        """The next accepted transaction, in the block of this height and time."""
        try:
            for apply in self._applied:
                apply(transaction, height, time_ms)
            for payload, from_height in self._governance.take_adopted():
                for enact in self._enacted.get(type(payload), ()):
                    enact(payload, from_height)
        except LookupError as error:
            kind = transaction.body.kind
            raise ValueError(f"{kind} in block {height} names what is in no books: {error!r}") from error

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
