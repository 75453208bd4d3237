"""An authority's votes, certificates and proposals, truly signed, for the signer's tests."""

from pathlib import Path

from p2pledger.chain.block import Header, Justification, Proposal, evidence_root, tx_root
from p2pledger.chain.transaction import Transaction
from p2pledger.chain.vote import Ballot, Certificate, Vote, certificate_of, notarise
from p2pledger.signer.guardfile import GuardFile
from p2pledger.signer.local import LocalSigner
from p2pledger.types import ZERO_HASH, Epoch, Hash, Height, Millis, Signature, View
from tests.unit.storage.chains import GENESIS, KEYS, START_MS, Chain

SETS = {Epoch(0): GENESIS.authorities, Epoch(1): GENESIS.next_authorities}
KEY = KEYS[0]
UNSIGNED = Signature(bytes(64))


def open_signer(directory: Path) -> LocalSigner:
    guard_file = GuardFile(directory, KEY.public_key, GENESIS.hash)
    return LocalSigner(KEY, guard_file, GENESIS.hash, SETS.get)


def new_signer(directory: Path) -> LocalSigner:
    GuardFile.create(directory, KEY.public_key, GENESIS.hash)
    return open_signer(directory)


def certificate(ballot: Ballot) -> Certificate:
    authorities = SETS[ballot.epoch]
    digest = ballot.sign_digest(GENESIS.hash, authorities.hash)
    by_key = {key.public_key: key for key in KEYS}
    return certificate_of(
        [Vote(ballot, i, by_key[authorities.members[i].key].sign(digest)) for i in range(3)], 4
    )


def proposal(view: int, transactions: tuple[Transaction, ...] = (), epoch: int = 0) -> Proposal:
    ids = tuple(transaction.id for transaction in transactions)
    header = Header(
        version=1,
        genesis_hash=GENESIS.hash,
        epoch=Epoch(epoch),
        view=View(view),
        height=Height(view),
        parent_digest=Hash(b"p" * 32),
        parent_view=View(view - 1),
        time_ms=Millis(START_MS + view),
        tx_root=tx_root(ids),
        state_root=Hash(b"s" * 32),
        receipts_root=Hash(b"r" * 32),
        next_set_hash=ZERO_HASH,
        evidence_root=evidence_root(()),
        proposer=0,
    )
    vote = Vote(notarise(Epoch(epoch), View(view), header.digest), 0, UNSIGNED)
    return Proposal(header, ids, (), Justification(None, ()), None, vote)


def transactions(count: int) -> tuple[Transaction, ...]:
    chain = Chain()
    return tuple(chain.transaction() for _ in range(count))
