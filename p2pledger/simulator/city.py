"""The ledger that is simulated: its genesis, its keys, and the transactions to be had. Floor 8."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property, lru_cache
from hashlib import sha512
from typing import Any

from p2pledger.chain.authority import Authority, AuthoritySet
from p2pledger.chain.genesis import LAN, Genesis, GenesisGateway, GenesisOrganisation, Parameters, Quota
from p2pledger.chain.payloads import Action, DeviceEnroll, RecordAppend
from p2pledger.chain.payloads.bodies import SensorReading
from p2pledger.chain.transaction import Body, Transaction, decode_transaction
from p2pledger.chain.vote import IsSigned
from p2pledger.codec import encode
from p2pledger.crypto import KeySigner, Signer, is_signed
from p2pledger.ledger.machine import Execution, Machine
from p2pledger.types import ZERO_HASH, Hash, Millis, PeerId, PublicKey, Signature

START_MS = Millis(1_700_000_000_000)
DEVICES = 3
SHORT_LIVED_MS = 4_000
"""Some transactions expire so soon after the start that a fault can outlive them."""
LASTING_MS = 100_000
ADMIN_SALT = 2**32
QUOTA = Quota(1_000_000, 1_000_000_000)


def keyed_hash(key: PublicKey, digest: Hash) -> Signature:
    """Stands for a signature: 64 bytes that the key and the digest decide on."""
    return Signature(sha512(key + digest).digest())


def is_keyed_hash(key: PublicKey, digest: Hash, signature: Signature) -> bool:
    """Verifies a `keyed_hash`."""
    return keyed_hash(key, digest) == signature


class KeyedHash:
    """A `Signer` whose signatures anyone can make: it stands for ECDSA where a million runs are wanted.

    Liars forge by other means; that ECDSA cannot be forged is not what is tried.
    """

    def __init__(self, public_key: PublicKey) -> None:
        self.public_key = public_key

    def sign(self, digest: Hash) -> Signature:
        """See `Signer.sign`."""
        return keyed_hash(self.public_key, digest)


@lru_cache(maxsize=512)
def _real_signer(number: int) -> KeySigner:
    return KeySigner(number.to_bytes(32, "big"))


class City:
    """n authorities and one organisation with a gateway and devices.

    `is_changing`: from epoch 1 on one more authority sits in place of the first, and the authorities vote for
    another one to come and one to go. `is_real`: signatures are ECDSA instead of keyed hashes.
    """

    def __init__(self, n: int, *, is_changing: bool = False, is_real: bool = False) -> None:
        self.n, self.is_changing = n, is_changing
        self.is_signed: IsSigned = is_signed if is_real else is_keyed_hash
        self._is_real = is_real
        self._transactions: dict[int, Transaction] = {}
        self._decoded: dict[bytes, Transaction] = {}

    def signer(self, number: int) -> Signer:
        """The holder of the key with this number: authorities from 1, the gateway 300, devices above."""
        key = _real_signer(number)
        return key if self._is_real else KeyedHash(key.public_key)

    @property
    def authorities(self) -> int:
        """How many nodes may be authority in some epoch."""
        return self.n + 2 * self.is_changing

    def member(self, index: int) -> Authority:
        """An authority by the number of its node."""
        key = _real_signer(index + 1).public_key
        return Authority(f"authority-{index}", key, PeerId(f"peer-{index}"))

    @cached_property
    def genesis(self) -> Genesis:
        """Short epochs, so that a run crosses several; few buckets, so that executing is cheap."""
        members = [self.member(index) for index in range(self.authorities)]
        first = AuthoritySet(tuple(members[: self.n]))
        later = AuthoritySet((members[self.n], *members[1 : self.n])) if self.is_changing else first
        organisations = tuple(
            GenesisOrganisation(m.organisation, "department", (_admin_key(i),), 1, QUOTA)
            for i, m in enumerate(members)
        )
        gateway = _real_signer(300).public_key
        city = GenesisOrganisation("city", "department", (_real_signer(299).public_key,), 1, QUOTA)
        return Genesis(
            version=1,
            chain_id="simulated",
            time_ms=START_MS,
            parameters=self.parameters,
            authorities=first,
            next_authorities=later,
            organisations=(*organisations, city),
            gateways=(GenesisGateway("city", gateway, PeerId("city-gateway")),),
            residents_quota=QUOTA,
        )

    @property
    def parameters(self) -> Parameters:
        """The LAN profile with short epochs and a small state tree."""
        return replace(LAN, epoch_blocks=8, state_buckets=16, unfinal_blocks_max=4)

    @cached_property
    def machine(self) -> Machine:
        """The ledger's rules. Pure, so that all nodes can share it."""
        return Machine(self.genesis, self.is_signed)

    @cached_property
    def start(self) -> Execution:
        """What the genesis block writes."""
        return self.machine.start()

    def decoded(self, encoded: bytes) -> Transaction:
        """The transaction that these bytes encode. Raises: InvalidMessage."""
        if encoded not in self._decoded:
            self._decoded[encoded] = decode_transaction(encoded)
        return self._decoded[encoded]

    def transaction(self, number: int) -> Transaction:
        """The transaction with this number: devices enrol, then write numbered records.

        Every eleventh repeats a record's number under another id, so that one of the two is refused;
        every seventh is short-lived.
        """
        if number not in self._transactions:
            self._transactions[number] = self._make(number)
        return self._transactions[number]

    def by_admin(self, payload: Any, sponsor: str, number: int) -> Transaction:
        """A transaction of an authority's organisation, signed by its admin; another one for each number."""
        admin = self.admin(sponsor)
        expires_ms = Millis(START_MS + LASTING_MS)
        return self.signed(payload, sponsor, [admin], ADMIN_SALT + number, expires_ms)

    def admin(self, organisation: str) -> Signer:
        """The admin of an organisation, of which each has one."""
        if organisation == "city":
            return self.signer(299)
        names = [self.member(index).organisation for index in range(self.authorities)]
        return self.signer(_admin_number(names.index(organisation)))

    def _make(self, number: int) -> Transaction:
        device = number % DEVICES
        gateway = self.signer(300)
        payload: DeviceEnroll | RecordAppend
        signers = [gateway]
        if number < DEVICES:
            signers.append(self.signer(301 + device))
            key, peer = self.signer(301 + device).public_key, PeerId("city-gateway")
            payload = DeviceEnroll(_device_id(device), key, peer, "meter", ZERO_HASH)
        else:
            seq = number // DEVICES - 1
            if number % 11 == 0 and seq > 0:
                seq -= 1
            payload = _record(device, seq)
        is_short = number % 7 == 0 and number >= DEVICES
        expires_ms = Millis(START_MS + (SHORT_LIVED_MS if is_short else LASTING_MS))
        return self.signed(payload, "city", signers, number, expires_ms)

    def signed(
        self, payload: Any, sponsor: str, signers: Sequence[Signer], number: int, expires_ms: Millis
    ) -> Transaction:
        """A transaction that these sign; another one for each number."""
        signers = sorted(signers, key=lambda signer: signer.public_key)
        body = Body(
            version=1,
            genesis_hash=self.genesis.hash,
            expires_ms=expires_ms,
            salt=number.to_bytes(8, "big"),
            kind=payload.KIND,
            payload=encode(payload),
            sponsor=sponsor,
            signers=tuple(signer.public_key for signer in signers),
        )
        return Transaction(body, tuple(signer.sign(body.id) for signer in signers))


@lru_cache(maxsize=32)
def city(n: int, is_changing: bool, is_real: bool) -> City:
    """The city of these choices. Its genesis and its transactions are made once in a process."""
    return City(n, is_changing=is_changing, is_real=is_real)


def _admin_number(index: int) -> int:
    """The number of an authority's organisation's admin key. From 299 on there are keys of others."""
    return 200 + index if index < 99 else 301 + DEVICES + index


def _admin_key(index: int) -> PublicKey:
    return _real_signer(_admin_number(index)).public_key


def _device_id(device: int) -> bytes:
    return bytes([device + 1]) * 16


_BODY = encode(SensorReading("flow", "MTQ", 0, (1,)))


def _record(device: int, seq: int) -> RecordAppend:
    return RecordAppend(
        schema="sensor.reading/1",
        time_ms=Millis(START_MS),
        device=_device_id(device),
        seq=seq,
        action=Action.OBSERVE,
        what=(),
        where=None,
        business_step=None,
        disposition=None,
        references=(),
        body=_BODY,
        commitment=None,
    )
