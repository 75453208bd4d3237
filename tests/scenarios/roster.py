"""Who the authorities of a story are, epoch by epoch, and what they sign.

Signatures are made by rote: anybody can write down anybody's, which is what stories about liars need, and
a core believes only those that are a key's own for just this ballot under just this list.
"""

from collections.abc import Iterable, Sequence

from p2pledger.chain.authority import Authority, AuthoritySet
from p2pledger.chain.vote import Ballot, Certificate, Vote, certificate_of
from p2pledger.consensus.checks import leader_offset
from p2pledger.crypto import KeySigner
from p2pledger.types import Epoch, Hash, PeerId, PublicKey, Signature, View
from tests.scenarios.names import GENESIS_DIGEST, GENESIS_HASH


def sign(key: bytes, digest: bytes) -> Signature:
    """What stands for this key's signature over 32 bytes: 64 bytes."""
    return Signature(digest + key[1:])


def is_signed(key: bytes, digest: bytes, signature: bytes) -> bool:
    """Verifies what `sign` makes."""
    return sign(key, digest) == signature


def key_of(name: str) -> PublicKey:
    """The consensus key of the authority with this name."""
    return KeySigner(ord(name).to_bytes(32, "big")).public_key


def list_named(names: Iterable[str]) -> AuthoritySet:
    """The authority list of these, in this order."""
    return AuthoritySet(tuple(Authority(name.lower(), key_of(name), PeerId(name)) for name in names))


class Roster:
    """The authority lists by epoch. Positions count from 0 in the order of an epoch's list."""

    def __init__(self) -> None:
        self.lists: dict[Epoch, AuthoritySet] = {}
        self.bases: dict[Epoch, Hash] = {Epoch(0): GENESIS_DIGEST}
        """The block that each epoch grows from, as far as it is known."""

    def of(self, epoch: int) -> AuthoritySet:
        """The list of an epoch: the newest one named up to it."""
        return self.lists[max(e for e in self.lists if e <= epoch)]

    def index(self, name: str, epoch: int) -> int | None:
        """The position of an authority in an epoch; None for whoever is not in its list."""
        return self.of(epoch).index_of(key_of(name))

    def name(self, index: int, epoch: int) -> str:
        """Who stands at a position in an epoch."""
        return self.of(epoch).members[index].peer

    def leader(self, epoch: Epoch, view: View) -> str:
        """Who leads a view."""
        authorities = self.of(epoch)
        offset = leader_offset(self.bases[epoch], epoch, len(authorities))
        return self.name(authorities.leader(view, offset), epoch)

    def vote(self, name: str, ballot: Ballot) -> Vote:
        """The vote that this key gives for a ballot: its holder's, or a liar's.

        Whoever is not in the list any more signs at the position that it had.
        """
        digest = ballot.sign_digest(GENESIS_HASH, self.of(ballot.epoch).hash)
        index = self.index(name, ballot.epoch)
        position = index if index is not None else self.index(name, ballot.epoch - 1)
        assert position is not None, f"{name} never was an authority"
        return Vote(ballot, position, sign(key_of(name), digest))

    def certificate(self, ballot: Ballot, signers: Sequence[str]) -> Certificate:
        """A certificate by these signers, be they a quorum or not."""
        return certificate_of([self.vote(name, ballot) for name in signers], len(self.of(ballot.epoch)))
