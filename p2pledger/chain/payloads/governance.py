"""Payloads of governance: what authorities propose and vote on, and their own standing. Floor 3."""

from dataclasses import dataclass
from enum import Enum
from typing import Annotated

from p2pledger.chain.authority import OrganisationId
from p2pledger.chain.payloads.words import Name
from p2pledger.chain.transaction import Kind
from p2pledger.codec import U64, Length, Range
from p2pledger.crypto import Domain, Signed, Signer
from p2pledger.types import Hash, Height, Millis, PeerId, PublicKey, Signature

MEASURE_BYTES_MAX = 8 * 1024

_READY_DOMAIN = Domain("p2pledger/authority-ready/1")


@dataclass(frozen=True)
class GovPropose:
    """A measure put to the vote. Signed by the admins of an organisation that is an authority.

    `kind` and `measure` are to a measure what a transaction's kind and payload are to it. It works from
    block `activation_height` on if it was decided before; what was not decided by then has failed.
    """

    KIND = "gov.propose"

    kind: Kind
    measure: Annotated[bytes, Length(1, MEASURE_BYTES_MAX)]
    activation_height: Height
    basis: Name
    """Why: the decision of a council, a contract, a law, by its identifier."""
    document_hash: Hash
    """SHA-256 of the document that gives the reasons, which is published elsewhere."""


@dataclass(frozen=True)
class GovVote:
    """An authority's voice on a proposal, given once. Signed by its organisation's admins.

    `proposal` is the id of the transaction that made it.
    """

    KIND = "gov.vote"

    proposal: Hash
    approves: bool


@dataclass(frozen=True)
class GovSuspend:
    """An authority wants an organisation to write nothing until a time. Signed by its admins.

    In force once more than half of the authorities have said the same; ends by itself.
    """

    KIND = "gov.suspend"

    organisation: OrganisationId
    until_ms: Millis


@dataclass(frozen=True)
class AuthorityReady:
    """A node that is to be an authority follows the chain, and holds the key that it will vote with.

    Signed by any key of its organisation but a device's. `height` and `digest` are of a final block that it
    has executed; `proof` is the consensus key's signature of `ready_digest`.
    """

    KIND = "authority.ready"

    key: PublicKey
    height: Height
    digest: Hash
    proof: Signature

    def signed_inside(self, genesis_hash: Hash, sponsor: OrganisationId) -> Signed:
        """The consensus key's word, whoever pays for the transaction."""
        return Signed(self.key, ready_digest(genesis_hash, self.key, self.height, self.digest), self.proof)


def ready_digest(genesis_hash: Hash, key: PublicKey, height: Height, digest: Hash) -> Hash:
    """What a consensus key signs to say that its node is ready: 32 bytes, which no vote ever hashes to."""
    return _READY_DOMAIN.hash(genesis_hash + key + height.to_bytes(8, "big") + digest)


def sign_ready(genesis_hash: Hash, signer: Signer, height: Height, digest: Hash) -> AuthorityReady:
    """What a node says that has executed this final block, and votes with this consensus key."""
    proof = signer.sign(ready_digest(genesis_hash, signer.public_key, height, digest))
    return AuthorityReady(signer.public_key, height, digest, proof)


@dataclass(frozen=True)
class AuthorityRotate:
    """An authority is to vote with another key, from another peer. Signed by its organisation's admins.

    It counts as one change of the list, and waits until the new key's node is ready.
    """

    KIND = "authority.rotate"

    key: PublicKey
    peer: PeerId


@dataclass(frozen=True)
class AuthorityAdd:
    """Measure: an organisation becomes an authority, once its node is ready."""

    KIND = "authority.add"

    organisation: OrganisationId
    key: PublicKey
    peer: PeerId


@dataclass(frozen=True)
class AuthorityRemove:
    """Measure: an organisation is no authority any more."""

    KIND = "authority.remove"

    organisation: OrganisationId


class Parameter(Enum):
    """What governance may set, of the genesis file's parameters, within the limits that hold there."""

    BLOCK_TRANSACTIONS_MAX = "block_transactions_max"
    BLOCK_BYTES_MAX = "block_bytes_max"


@dataclass(frozen=True)
class ParameterSet:
    """Measure: a parameter has another value."""

    KIND = "parameter.set"

    parameter: Parameter
    value: U64


@dataclass(frozen=True)
class UpgradePlan:
    """Measure: blocks follow the rules of a later version. A node that does not know them stops there."""

    KIND = "upgrade.plan"

    version: Annotated[int, Range(2, 2**32 - 1)]
