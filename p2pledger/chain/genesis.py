"""The file that a ledger grows from: its rules' numbers, its first organisations and authorities. Floor 3.

Everything here is under the genesis hash, and every signature on the ledger is bound to that hash.
"""

from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import Annotated

from p2pledger.chain.authority import AuthoritySet, OrganisationId
from p2pledger.codec import U32, U64, Length, Pattern, Range, encode
from p2pledger.crypto import Domain
from p2pledger.types import Hash, Millis, PeerId, PublicKey

GENESIS_VERSION = 1
ORGANISATIONS_MAX = 4_096
GATEWAYS_MAX = 16_384

BLOCK_BYTES_RANGE = Range(1_024, 64 * 1024 * 1024)
BLOCK_TRANSACTIONS_RANGE = Range(1, 15_000)
"""A final block is gossiped as header, certificate and ids, 512 kB at most: hence 15,000."""

RESIDENTS = "residents"
"""The sponsor of what gateways hand in for residents: a quota that the genesis file reserves, and nobody's.

Residents themselves have no row on the ledger; this name has no keys and no admins.
"""

_GENESIS_DOMAIN = Domain("p2pledger/genesis/1")


@dataclass(frozen=True)
class Parameters:
    """The numbers that every node must agree on (PROTOCOL, "Genesis parameters"). Times in milliseconds."""

    delta_ms: Annotated[int, Range(1, 60_000)]
    """Δ: how long a message takes at most once the network is calm; deadlines are made of it."""
    block_interval_ms: Annotated[int, Range(1, 60_000)]
    idle_interval_ms: Annotated[int, Range(100, 3_600_000)]
    clock_drift_ms: Annotated[int, Range(1, 600_000)]
    status_interval_ms: Annotated[int, Range(100, 60_000)]
    leader_silence_ms: Annotated[int, Range(100, 600_000)]
    epoch_blocks: Annotated[int, Range(1, 2**32)]
    vote_window_views: Annotated[int, Range(8, 65_536)]
    unfinal_blocks_max: Annotated[int, Range(2, 256)]
    block_bytes_max: Annotated[int, BLOCK_BYTES_RANGE]
    """Encoded transactions in a block, together."""
    block_transactions_max: Annotated[int, BLOCK_TRANSACTIONS_RANGE]
    expiry_window_ms: Annotated[int, Range(1_000, 86_400_000)]
    quota_window_ms: Annotated[int, Range(1_000, 86_400_000)]
    state_buckets: Annotated[int, Range(16, 65_536)]
    """A power of 16."""

    def __post_init__(self) -> None:
        if self.state_buckets not in (16, 256, 4_096, 65_536):
            raise ValueError("state_buckets is a power of 16")


LAN = Parameters(
    delta_ms=100,
    block_interval_ms=30,
    idle_interval_ms=10_000,
    clock_drift_ms=500,
    status_interval_ms=1_000,
    leader_silence_ms=3_000,
    epoch_blocks=10_000,
    vote_window_views=1_024,
    unfinal_blocks_max=16,
    block_bytes_max=4 * 1024 * 1024,
    block_transactions_max=4_000,
    expiry_window_ms=120_000,
    quota_window_ms=60_000,
    state_buckets=65_536,
)
"""One building or one data centre: the launcher's default."""

WAN = Parameters(
    delta_ms=500,
    block_interval_ms=500,
    idle_interval_ms=30_000,
    clock_drift_ms=2_000,
    status_interval_ms=1_000,
    leader_silence_ms=3_000,
    epoch_blocks=10_000,
    vote_window_views=1_024,
    unfinal_blocks_max=16,
    block_bytes_max=4 * 1024 * 1024,
    block_transactions_max=4_000,
    expiry_window_ms=120_000,
    quota_window_ms=60_000,
    state_buckets=65_536,
)
"""Sites in one country, over the internet."""


class KeyRole(Enum):
    """What a transaction key of an organisation may be used for."""

    ADMIN = 1
    """Adds and revokes its organisation's keys, with as many others as the threshold asks."""
    GATEWAY = 2
    """Speaks for the devices behind one gateway."""
    SERVICE = 3
    """Writes the organisation's own records."""
    DEVICE = 4
    """Speaks for one device."""


@dataclass(frozen=True)
class Quota:
    """How much an organisation may write in one quota window."""

    transactions: U32
    size_bytes: U64


@dataclass(frozen=True)
class GenesisOrganisation:
    """An organisation that exists from the start."""

    id: OrganisationId
    kind: Annotated[str, Length(1, 32), Pattern("[a-z]+(-[a-z]+)*")]
    admin_keys: Annotated[tuple[PublicKey, ...], Length(1, 16)]
    threshold: Annotated[int, Range(1, 7)]
    """How many admins must sign together; a transaction's eighth signature is the new key's own."""
    quota: Quota

    def __post_init__(self) -> None:
        if self.threshold > len(self.admin_keys):
            raise ValueError("an admin threshold lies between 1 and the number of admin keys")


@dataclass(frozen=True)
class GenesisGateway:
    """A gateway that exists from the start: its transaction key, and the peer that it connects as."""

    organisation: OrganisationId
    key: PublicKey
    peer: PeerId


@dataclass(frozen=True)
class Genesis:
    """All that two nodes must have in common to be on one ledger.

    The authority lists of epochs 0 and 1 are both named, because a list takes office two epochs after
    it is decided.
    """

    version: Annotated[int, Range(GENESIS_VERSION, GENESIS_VERSION)]
    chain_id: Annotated[str, Length(1, 32), Pattern("[a-z0-9]+(-[a-z0-9]+)*")]
    time_ms: Millis
    parameters: Parameters
    authorities: AuthoritySet
    next_authorities: AuthoritySet
    organisations: Annotated[tuple[GenesisOrganisation, ...], Length(1, ORGANISATIONS_MAX)]
    gateways: Annotated[tuple[GenesisGateway, ...], Length(0, GATEWAYS_MAX)]
    residents_quota: Quota
    """What all gateways together may write for residents (grants, revocations, erasures) in a window."""

    def __post_init__(self) -> None:
        names = {organisation.id for organisation in self.organisations}
        if len(names) != len(self.organisations):
            raise ValueError("an organisation stands twice in the genesis file")
        if RESIDENTS in names:
            raise ValueError(f"{RESIDENTS!r} is the sponsor of what residents write, not an organisation")
        members = (*self.authorities.members, *self.next_authorities.members)
        for name in {m.organisation for m in members} | {g.organisation for g in self.gateways}:
            if name not in names:
                raise ValueError(f"{name!r} is not among the organisations of the genesis file")
        keys = [key for o in self.organisations for key in o.admin_keys] + [g.key for g in self.gateways]
        if len(set(keys)) != len(keys) or set(keys) & {m.key for m in members}:
            raise ValueError("a key stands twice in the genesis file; keys are never shared between roles")

    @cached_property
    def hash(self) -> Hash:
        """The genesis hash, which names this ledger."""
        return _GENESIS_DOMAIN.hash(encode(self))
