"""Who decides in an epoch, and how many of them it takes. Floor 3."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated

from p2pledger.codec import Length, Pattern, encode
from p2pledger.crypto import Domain, is_public_key
from p2pledger.types import Hash, PeerId, PublicKey, View

AUTHORITIES_MAX = 256

OrganisationId = Annotated[str, Length(1, 32), Pattern("[a-z0-9]+(-[a-z0-9]+)*")]
"""The name of an organisation on the ledger."""

_SET_DOMAIN = Domain("p2pledger/authorities/1")


def quorum(n: int) -> int:
    """How many of n authorities decide: two quorums share more than `faulty(n)` of them (PROTOCOL, R1).

    The familiar 2f+1 is right only when n is 3f+1: with n = 6 it forks.
    """
    return (2 * n + 2) // 3


def faulty(n: int) -> int:
    """How many of n authorities may lie or fail without harm."""
    return (n - 1) // 3


@dataclass(frozen=True)
class Authority:
    """One member of an epoch's list: an organisation, the key it votes with, and where it is reached."""

    organisation: OrganisationId
    key: PublicKey
    peer: PeerId


@dataclass(frozen=True)
class AuthoritySet:
    """The ordered authority list of an epoch, and the position from which its leaders rotate.

    Raises ValueError for a list in which an organisation, a key or a peer id stands twice.
    """

    members: Annotated[tuple[Authority, ...], Length(1, AUTHORITIES_MAX)]

    def __post_init__(self) -> None:
        for what in ("organisation", "key", "peer"):
            if len({getattr(member, what) for member in self.members}) != len(self.members):
                raise ValueError(f"an {what} stands twice in an authority list")
        if not all(is_public_key(member.key) for member in self.members):
            raise ValueError("an authority's key is not a point of the curve")

    def __len__(self) -> int:
        return len(self.members)

    @cached_property
    def hash(self) -> Hash:
        """The set hash that votes of this epoch are bound to."""
        return _SET_DOMAIN.hash(encode(self))

    @property
    def quorum(self) -> int:
        """How many members make a certificate."""
        return quorum(len(self.members))

    @property
    def faulty(self) -> int:
        """How many members may be Byzantine."""
        return faulty(len(self.members))

    @cached_property
    def _index(self) -> dict[bytes | str, int]:
        by_key: dict[bytes | str, int] = {member.key: i for i, member in enumerate(self.members)}
        return by_key | {member.peer: i for i, member in enumerate(self.members)}

    def index_of(self, key: PublicKey | PeerId) -> int | None:
        """The position of the member with this consensus key or peer id; None for a stranger."""
        return self._index.get(key)

    def leader(self, view: View, offset: int) -> int:
        """The position of the leader of a view (round robin from the epoch's offset)."""
        return (view + offset) % len(self.members)


def to_bitmap(signers: Iterable[int], n: int) -> bytes:
    """Positions below n as bits, least significant bit of the first byte first: ceil(n / 8) bytes."""
    bitmap = bytearray((n + 7) // 8)
    for signer in signers:
        bitmap[signer // 8] |= 1 << signer % 8
    return bytes(bitmap)


def from_bitmap(bitmap: bytes) -> tuple[int, ...]:
    """The positions of the bits that are set, ascending."""
    return tuple(i for i in range(len(bitmap) * 8) if bitmap[i // 8] >> i % 8 & 1)
