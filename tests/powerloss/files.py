"""One authority's two files below a directory, opened by the code of every start."""

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from p2pledger.chain.authority import AuthoritySet
from p2pledger.chain.genesis import Genesis
from p2pledger.chain.vote import IsSigned
from p2pledger.consensus.core import Consensus
from p2pledger.consensus.situation import Setting
from p2pledger.crypto import Signer
from p2pledger.ledger.machine import Machine
from p2pledger.node.recovery import recovered
from p2pledger.signer.guardfile import GuardFile
from p2pledger.signer.local import LocalSigner
from p2pledger.storage.sqlite import SqliteStore
from p2pledger.types import Epoch

GUARD_MADE, OPENED = "the guard is made", "the files are open"
"""Marks of a workload."""
GUARD, DATA = "guard", "data"


@dataclass(frozen=True)
class Party:
    """Who votes on which ledger."""

    genesis: Genesis
    key: Signer
    is_signed: IsSigned

    def make_guard(self, directory: Path) -> None:
        """What `p2pledger init` does. Raises: Fatal when there is a guard already."""
        GuardFile.create(directory / GUARD, self.key.public_key, self.genesis.hash)


@dataclass
class Files:
    """The chain and the guard, open."""

    party: Party
    store: SqliteStore
    guard: GuardFile
    signer: LocalSigner

    @classmethod
    def open(cls, directory: Path, party: Party) -> "Files":
        """Raises: GuardMissing, Fatal."""
        genesis = party.genesis
        with ExitStack() as stack:
            store = SqliteStore(directory / DATA, genesis, Machine(genesis, party.is_signed).start())
            stack.callback(store.close)
            guard = GuardFile(directory / GUARD, party.key.public_key, genesis.hash)
            stack.pop_all()

        def authorities_of(epoch: Epoch) -> AuthoritySet | None:
            if epoch < 2:
                return (genesis.authorities, genesis.next_authorities)[epoch]
            boundary = store.boundary(Epoch(epoch - 2))
            return boundary.next_set if boundary is not None else None

        return cls(party, store, guard, LocalSigner(party.key, guard, genesis.hash, authorities_of))

    def start_core(self) -> Consensus:
        """A core that goes on where these files stop."""
        party = self.party
        setting = Setting(party.genesis.hash, party.genesis.parameters, party.key.public_key, party.is_signed)
        found = recovered(party.genesis, self.store, self.signer.load())
        return Consensus(setting, found, party.genesis.time_ms)

    def close(self) -> None:
        self.signer.close()
        self.store.close()
