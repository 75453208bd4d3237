"""Votes and the certificates that they add up to. Floor 3.

A vote is signed over a fixed-width string, so that a hardware signer can parse what it signs:

    "rota1" | genesis hash (32) | set hash (32) | kind (1) | epoch (8) | view (8) | digest (32)
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from hashlib import sha256
from typing import Annotated

from p2pledger.chain.authority import AUTHORITIES_MAX, AuthoritySet, from_bitmap, to_bitmap
from p2pledger.codec import U8, Length
from p2pledger.errors import InvalidMessage
from p2pledger.types import ZERO_HASH, Epoch, Hash, PublicKey, Signature, View

IsSigned = Callable[[PublicKey, Hash, Signature], bool]
"""Verifies one signature: `crypto.is_signed`, or what a simulator puts in its place."""


class VoteKind(Enum):
    """What a vote asks for. The value is the byte that is signed."""

    NOTARISE = 1
    """N: this block is the one valid block of its view that I sign."""
    SKIP = 2
    """X: this view may pass without a block."""
    FINALISE = 3
    """F: I saw this block notarised and did not skip its view."""


@dataclass(frozen=True)
class Ballot:
    """What is voted, before anyone signs it. `digest` is zero for a skip."""

    kind: VoteKind
    epoch: Epoch
    view: View
    digest: Hash

    def __post_init__(self) -> None:
        if (self.kind is VoteKind.SKIP) != (self.digest == ZERO_HASH):
            raise ValueError("a skip names no block, every other vote names one")

    def sign_digest(self, genesis_hash: Hash, set_hash: Hash) -> Hash:
        """The 32 bytes that are signed: SHA-256 of the fixed-width string at this module's head."""
        return Hash(
            sha256(
                b"rota1"
                + genesis_hash
                + set_hash
                + bytes([self.kind.value])
                + self.epoch.to_bytes(8, "big")
                + self.view.to_bytes(8, "big")
                + self.digest
            ).digest()
        )


def notarise(epoch: Epoch, view: View, digest: Hash) -> Ballot:
    """The ballot N of a block."""
    return Ballot(VoteKind.NOTARISE, epoch, view, digest)


def skip(epoch: Epoch, view: View) -> Ballot:
    """The ballot X of a view."""
    return Ballot(VoteKind.SKIP, epoch, view, ZERO_HASH)


def finalise(epoch: Epoch, view: View, digest: Hash) -> Ballot:
    """The ballot F of a block."""
    return Ballot(VoteKind.FINALISE, epoch, view, digest)


@dataclass(frozen=True)
class Vote:
    """A ballot signed by the authority at position `signer` of its epoch's list."""

    TAG = 2

    ballot: Ballot
    signer: U8
    signature: Signature


@dataclass(frozen=True)
class Certificate:
    """At least a quorum of signatures over one ballot, in the order of their signers.

    Well formed by construction (one signature per bit); whether it is a true certificate under a set,
    `check_certificate` says.
    """

    ballot: Ballot
    bitmap: Annotated[bytes, Length(1, AUTHORITIES_MAX // 8)]
    signatures: Annotated[tuple[Signature, ...], Length(1, AUTHORITIES_MAX)]

    def __post_init__(self) -> None:
        if len(from_bitmap(self.bitmap)) != len(self.signatures):
            raise ValueError("a certificate has one signature per signer")

    def votes(self) -> tuple[Vote, ...]:
        """The votes inside, by ascending signer."""
        signers = from_bitmap(self.bitmap)
        return tuple(Vote(self.ballot, i, s) for i, s in zip(signers, self.signatures, strict=True))


def certificate_of(votes: Iterable[Vote], n: int) -> Certificate:
    """The certificate that votes over one ballot make, in an epoch of n authorities. Pure.

    The caller has verified them and counted a quorum of distinct signers.
    """
    ordered = sorted(votes, key=lambda vote: vote.signer)
    return Certificate(
        ordered[0].ballot, to_bitmap((v.signer for v in ordered), n), tuple(v.signature for v in ordered)
    )


def check_certificate(
    certificate: Certificate, genesis_hash: Hash, authorities: AuthoritySet, is_signed: IsSigned
) -> None:
    """Refuse a certificate that does not hold under this authority list.

    The caller chooses the list by the ballot's epoch: an ex-member's signature counts for nothing.
    Raises: InvalidMessage when it has fewer signers than a quorum, a signer outside the list, or a
    signature that is not its signer's.
    """
    signers = from_bitmap(certificate.bitmap)
    if len(certificate.bitmap) != (len(authorities) + 7) // 8 or signers[-1] >= len(authorities):
        raise InvalidMessage("a certificate names a signer that its epoch does not have")
    if len(signers) < authorities.quorum:
        raise InvalidMessage(f"{len(signers)} signatures are fewer than the quorum of {authorities.quorum}")
    digest = certificate.ballot.sign_digest(genesis_hash, authorities.hash)
    for signer, signature in zip(signers, certificate.signatures, strict=True):
        if not is_signed(authorities.members[signer].key, digest, signature):
            raise InvalidMessage(f"the signature of authority {signer} does not verify")


Offence = tuple[Epoch, View, int]
"""Epoch, view and the signer's position in that epoch's list: what evidence is counted once per."""


@dataclass(frozen=True)
class Evidence:
    """Two votes of one authority that no honest one signs both of.

    N and N, or F and F, of one view for different blocks (a leader's two proposals carry two such N
    votes), or X beside F. An N and then an X is honest.
    Raises ValueError for votes that do not contradict each other, or that are not in canonical order
    (by kind, then digest): one contradiction has one encoding.
    """

    TAG = 6

    first: Vote
    second: Vote

    def __post_init__(self) -> None:
        if not is_contradiction(self.first, self.second):
            raise ValueError("these votes do not contradict each other")
        if _order(self.first) > _order(self.second):
            raise ValueError("the votes of evidence stand by kind, then digest")

    @property
    def offence(self) -> Offence:
        """What it is counted once per: epoch, view and signer."""
        return self.first.ballot.epoch, self.first.ballot.view, self.first.signer


def _order(vote: Vote) -> tuple[int, Hash]:
    return vote.ballot.kind.value, vote.ballot.digest


def is_contradiction(one: Vote, other: Vote) -> bool:
    """Whether an honest authority could not have signed both."""
    a, b = one.ballot, other.ballot
    if (one.signer, a.epoch, a.view) != (other.signer, b.epoch, b.view):
        return False
    if a.kind is b.kind:
        return a.digest != b.digest
    return {a.kind, b.kind} == {VoteKind.SKIP, VoteKind.FINALISE}


def evidence_of(one: Vote, other: Vote) -> Evidence:
    """The evidence that two contradicting votes make, in canonical order."""
    first, second = sorted((one, other), key=_order)
    return Evidence(first, second)


def check_evidence(
    evidence: Evidence, genesis_hash: Hash, authorities: AuthoritySet, is_signed: IsSigned
) -> None:
    """Refuse evidence whose signatures are not both the accused one's own. Raises: InvalidMessage."""
    if evidence.first.signer >= len(authorities):
        raise InvalidMessage("evidence names a signer that its epoch does not have")
    key = authorities.members[evidence.first.signer].key
    for vote in (evidence.first, evidence.second):
        if not is_signed(key, vote.ballot.sign_digest(genesis_hash, authorities.hash), vote.signature):
            raise InvalidMessage("a signature inside evidence does not verify")
