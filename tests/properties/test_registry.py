"""The registry's invariants under any run of rules: one owner per key, and a past that stays as it was."""

from copy import deepcopy
from dataclasses import replace

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from p2pledger.chain.genesis import KeyRole, Quota
from p2pledger.chain.invite import InviteTerms, sign_invite
from p2pledger.chain.payloads import (
    Action,
    DeviceEnroll,
    DeviceRetire,
    DeviceTransfer,
    GatewayJoin,
    KeyAdd,
    KeyRevoke,
    KeyRotate,
    OrgQuota,
    OrgRegister,
    RecordAppend,
    RevocationReason,
)
from p2pledger.errors import Code, InvalidTransaction
from p2pledger.ledger.modules.records import sequence
from p2pledger.ledger.modules.registry import MEASURES, live_key, organisation
from p2pledger.ledger.modules.registry.rows import DEVICES, gateway
from p2pledger.ledger.overlay import Overlay
from p2pledger.ledger.rules import Context
from p2pledger.ledger.state import Changes
from p2pledger.simulator.invariants.registry import RegistryInvariants
from p2pledger.types import Height, Millis, PeerId
from tests.ledgers import START_MS, Effects, Ledger, genesis, quota, signer, transaction
from tests.properties.effort import effort

GENESIS = genesis()
MEASURES_BY_KIND = {measure.kind: measure for measure in MEASURES}
FIRST = {"city 1": "city", "city 2": "city", "utility 1": "utility", "city gateway": "city"}
NAMES = (*FIRST, "a", "b", "c", "d", "e", "f")
names = st.sampled_from(NAMES)
sponsors = st.sampled_from(["city", "utility", "clinic"])
organisations = st.sampled_from(["clinic", "city"])
founders = st.sampled_from(["city", "utility"])
peers = st.sampled_from([PeerId("city-gateway-peer"), PeerId("another-peer"), PeerId("another-peer")])
ahead = st.sampled_from([0, 0, 1, 2, 5, -1])
AHEAD_MAX = 8
READING = RecordAppend(
    "sensor.reading/1", START_MS, None, None, Action.OBSERVE, (), None, None, None, (), None, None
)


class Registry(RuleBasedStateMachine):
    """Submits anything; judges only by who could sign at which height, as observed while it was so."""

    def __init__(self):
        super().__init__()
        self.ledger = Ledger(GENESIS)
        self.judge = RegistryInvariants(GENESIS)
        self.history: dict[int, dict[str, str]] = {}
        self.observe()

    @initialize(is_settled=st.sampled_from([True, True, True, False]))
    def settle(self, is_settled):
        """A device behind one gateway, and another gateway of another organisation."""
        if is_settled:
            self.enroll("a", "city gateway")
            issued = ("utility", "utility 1", KeyRole.GATEWAY, 60_000)
            self.join("b", PeerId("another-peer"), 9, *issued)

    def owners(self, height: int) -> dict[str, str]:
        found = {}
        for name in NAMES:
            row = live_key(self.ledger.reader, signer(name).public_key, Height(height))
            if row is not None:
                found[name] = row.organisation
        return found

    def observe(self):
        self.history[self.ledger.height] = self.owners(self.ledger.height)
        # What the next block is judged by is settled by now: nothing in it can change it.
        self.history[self.ledger.height + 1] = self.owners(self.ledger.height + 1)

    def submit(self, payload, sponsor, *signers) -> bool:
        entitled = self.history[self.ledger.height + 1]
        one = transaction(GENESIS, payload, sponsor, *set(signers), expires_ms=self.ledger.time_ms + 60_000)
        at = self.ledger.next_round
        try:
            self.ledger.block(one)
        except InvalidTransaction as error:
            if error.code == Code.OVER_QUOTA:
                with pytest.raises(ValueError, match="in a window"):
                    deepcopy(self.judge).apply(one, at.height, at.time_ms)
            return False
        by_invite = isinstance(payload, GatewayJoin)
        assert by_invite or sponsor in {entitled.get(name) for name in signers}, "nobody of it could sign"
        self.judge.apply(one, self.ledger.height, self.ledger.time_ms)
        self.observe()
        return True

    def enact(self, payload, from_height):
        changes, at = Changes(self.ledger.reader), self.ledger.next_round
        context = Context(GENESIS, at, lambda *_: True)
        try:
            MEASURES_BY_KIND[payload.KIND].enact(changes, context, payload, from_height)
        except InvalidTransaction:
            return
        self.ledger.reader = Overlay(
            self.ledger.reader, Effects(self.ledger.reader, changes.writes(), buckets=65_536)
        )
        self.judge.enact(payload, from_height)
        self.history.pop(self.ledger.height + 1)
        self.observe()

    def height(self, by):
        return Height(max(0, self.ledger.height + 1 + by) if by else 0)

    @rule(new=names, admin=names, sponsor=sponsors, by=ahead, is_admin=st.booleans())
    def add(self, new, admin, sponsor, by, is_admin):
        role = KeyRole.ADMIN if is_admin else KeyRole.SERVICE
        payload = KeyAdd(signer(new).public_key, role, None, self.height(by))
        self.submit(payload, sponsor, admin, new)

    @rule(old=names, new=names, admin=names, sponsor=sponsors, by=ahead)
    def rotate(self, old, new, admin, sponsor, by):
        payload = KeyRotate(signer(old).public_key, signer(new).public_key, None, self.height(by))
        self.submit(payload, sponsor, admin, new)

    @rule(key=names, admin=names, sponsor=sponsors, by=ahead)
    def revoke(self, key, admin, sponsor, by):
        payload = KeyRevoke(signer(key).public_key, RevocationReason.CEASED, self.height(by))
        self.submit(payload, sponsor, admin)

    @rule(key=names, gateway=st.sampled_from(["city gateway", "city gateway", *NAMES]))
    def enroll(self, key, gateway):
        device = key.encode().ljust(16)
        payload = DeviceEnroll(
            device, signer(key).public_key, PeerId("city-gateway-peer"), "meter", bytes(32)
        )
        self.submit(payload, "city", gateway, key)

    @rule(
        key=st.sampled_from(["a"] * 9 + [*NAMES]),
        gateway=st.sampled_from(["city gateway", "b"] * 4 + [*NAMES]),
    )
    def retire(self, key, gateway):
        sponsor = "utility" if gateway == "b" else "city"
        self.submit(DeviceRetire(key.encode().ljust(16), bytes(32)), sponsor, gateway, key)

    @rule(key=st.sampled_from(["a", "a", *NAMES]), author=st.sampled_from(["a", "city gateway", *NAMES]))
    def speak(self, key, author):
        """A device, or its gateway for it, by keys that were rotated, or are to be."""
        record, device = READING, key.encode().ljust(16)
        row = DEVICES.get(self.ledger.reader, device)
        if row is not None:
            record = replace(record, device=device, seq=sequence(self.ledger.reader, device).next_number)
            self.submit(record, row.organisation, author)

    @rule(old=st.sampled_from(["a", "city gateway"]), new=names, by=ahead)
    def rotate_a_machine(self, old, new, by):
        self.rotate(old, new, "city 1", "city", by)

    @rule(
        new=names,
        peer=peers,
        number=st.integers(0, 3),
        sponsor=founders,
        issuer=st.sampled_from(["city 1", "utility 1", "a"]),
        role=st.sampled_from([KeyRole.GATEWAY] * 4 + [KeyRole.ADMIN]),
        left_ms=st.sampled_from([60_000, 60_000, 60_000, -1]),
    )
    def join(self, new, peer, number, sponsor, issuer, role, left_ms):
        admin, expires_ms = signer(issuer), Millis(self.ledger.time_ms + left_ms)
        terms = InviteTerms(
            bytes([number]) * 16, sponsor, role, expires_ms, 1, GENESIS.hash, admin.public_key
        )
        self.submit(GatewayJoin(signer(new).public_key, peer, sign_invite(terms, admin)), sponsor, new)

    @rule(
        key=st.sampled_from(["a", "a", *NAMES]),
        peer=peers,
        is_right=st.sampled_from([True, True, True, False]),
        other=names,
    )
    def transfer(self, key, peer, is_right, other):
        """A device's key goes with it: from now on it was the new organisation's all along."""
        reader, device = self.ledger.reader, key.encode().ljust(16)
        row, behind = DEVICES.get(reader, device), gateway(reader, peer)
        if row is None or behind is None:
            return
        by_key = {signer(name).public_key: name for name in NAMES}
        moved = by_key[row.key]
        signers = {moved if is_right else other, by_key[behind.key]}
        payload = DeviceTransfer(device, peer, bytes(32))
        is_own = self.history[self.ledger.height + 1].get(moved) is not None
        if self.submit(payload, behind.organisation, *signers):
            assert moved in signers and is_own and not row.is_retired
            for owners in self.history.values():
                if moved in owners:
                    owners[moved] = behind.organisation

    @rule(
        name=st.sampled_from(["clinic", "city"]),
        admins=st.sets(names, min_size=1, max_size=2),
        by=st.integers(0, 5),
    )
    def register(self, name, admins, by):
        keys = tuple(signer(admin).public_key for admin in sorted(admins))
        self.enact(OrgRegister(name, "hospital", keys, 1, quota(5)), Height(self.ledger.height + 2 + by))

    @rule(name=organisations, size=st.integers(1, 9), by=st.integers(0, 5))
    def requota(self, name, size, by):
        self.enact(OrgQuota(name, Quota(size, 10**6)), Height(self.ledger.height + 2 + by))

    @rule()
    def time_passes(self):
        self.ledger.block()
        self.observe()

    @invariant()
    def the_past_and_the_next_block_never_change(self):
        for height, owners in self.history.items():
            assert self.owners(height) == owners

    @invariant()
    def a_key_keeps_its_owner_and_never_comes_back(self):
        for name in NAMES:
            lives = [owners.get(name) for owners in self.history.values()]
            assert len({owner for owner in lives if owner}) <= 1
            first = next((i for i, owner in enumerate(lives) if owner), len(lives))
            alive = [bool(owner) for owner in lives[first:]]
            assert alive == sorted(alive, reverse=True)

    @invariant()
    def the_rows_tell_what_the_books_do(self):
        for height in range(self.ledger.height, self.ledger.height + AHEAD_MAX):
            owners = {name: self.judge.owner_at(signer(name).public_key, height) for name in NAMES}
            assert {name: owner for name, owner in owners.items() if owner} == self.owners(height)
        for height in range(self.ledger.height + 1, self.ledger.height + AHEAD_MAX):
            for name in ("clinic", "city"):
                row, quota_then = organisation(self.ledger.reader, name), self.judge.quota_at(name, height)
                assert (None if row is None else row.quota_at(Height(height))) == quota_then

    @invariant()
    def admins_can_always_act(self):
        for name in ("city", "utility"):
            row = organisation(self.ledger.reader, name)
            assert len(row.admins) >= row.threshold


TestRegistry = Registry.TestCase
TestRegistry.settings = effort(25, steps=40)
