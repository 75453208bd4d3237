"""What authorities say to each other, and what anyone may ask of anyone. Floor 3.

Frames ride direct streams between authorities; requests and replies ride the ask protocol, where every
reply is a page that its limits bound.
"""

from dataclasses import dataclass
from typing import Annotated

from p2pledger.chain.block import Boundary, FinalBlock, Proposal
from p2pledger.chain.transaction import Batch
from p2pledger.chain.vote import Certificate, Evidence, Vote
from p2pledger.codec import Length, Range
from p2pledger.types import Epoch, Hash, Height, View

CERTIFICATES_MAX = 256
BODIES_MAX = 1_024
BLOCKS_MAX = 256


@dataclass(frozen=True)
class Status:
    """Where its sender stands: said every second, and whenever a view drags on.

    `echo` holds the receiver's own signed votes of its highest view that the sender has seen: a
    receiver whose guard was lost or restored from a backup learns from them what it has signed.
    """

    TAG = 3

    epoch: Epoch
    view: View
    final_view: View
    final_height: Height
    final_digest: Hash
    echo: Annotated[tuple[Vote, ...], Length(0, 3)]
    is_reply: bool
    """Answers a status: it is not answered again."""


@dataclass(frozen=True)
class Certificates:
    """Certificates that a peer seems to lack."""

    TAG = 4

    certificates: Annotated[tuple[Certificate, ...], Length(0, CERTIFICATES_MAX)]


Frame = Proposal | Vote | Status | Certificates | Batch | Evidence
"""Everything that may come over a direct stream. A batch holds transactions for the view's leader."""


@dataclass(frozen=True)
class BoundariesRequest:
    """Asks for the ends of epochs, from `from_epoch` on. Answered by `Boundary` replies in order."""

    TAG = 1

    from_epoch: Epoch
    count: Annotated[int, Range(1, 64)]


@dataclass(frozen=True)
class BlocksRequest:
    """Asks for final blocks, from `from_height` on. Answered by `FinalBlock` replies in order."""

    TAG = 2

    from_height: Height
    count: Annotated[int, Range(1, BLOCKS_MAX)]


@dataclass(frozen=True)
class BodiesRequest:
    """Asks for transactions. Answered by `Batch` replies: those that the peer has, in the order asked."""

    TAG = 3

    ids: Annotated[tuple[Hash, ...], Length(1, BODIES_MAX)]


@dataclass(frozen=True)
class CertificatesRequest:
    """Asks for the certificates of views `from_view` to `to_view`. Answered by `Certificates` replies."""

    TAG = 4

    epoch: Epoch
    from_view: View
    to_view: View


@dataclass(frozen=True)
class ProposalsRequest:
    """Asks for proposals by their block's digest: unfinal ancestors. Answered by `Proposal`s."""

    TAG = 5

    epoch: Epoch
    digests: Annotated[tuple[Hash, ...], Length(1, 16)]


Request = BoundariesRequest | BlocksRequest | BodiesRequest | CertificatesRequest | ProposalsRequest
Reply = Boundary | FinalBlock | Batch | Certificates | Proposal

__all__ = [
    "Batch",
    "BlocksRequest",
    "BodiesRequest",
    "BoundariesRequest",
    "Certificates",
    "CertificatesRequest",
    "Frame",
    "ProposalsRequest",
    "Reply",
    "Request",
    "Status",
]
