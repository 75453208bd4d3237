"""Who may sign what, from which height to which."""

from dataclasses import replace

import pytest
from p2pledger.chain.genesis import GATEWAYS_MAX, KeyRole
from p2pledger.chain.invite import Invite, InviteTerms, sign_invite
from p2pledger.chain.payloads import (
    Action,
    DeviceEnroll,
    DeviceRetire,
    DeviceTransfer,
    GatewayJoin,
    KeyAdd,
    KeyRevoke,
    KeyRotate,
    RecordAppend,
    RevocationReason,
)
from p2pledger.chain.transaction import Transaction
from p2pledger.codec import decode, encode
from p2pledger.errors import InvalidTransaction
from p2pledger.ledger.machine import Machine
from p2pledger.ledger.modules.registry import Device, Gateway, allowed_peers, gateway, live_key, organisation
from p2pledger.ledger.modules.registry.devices import DEVICES_INDEX
from p2pledger.ledger.modules.registry.rows import DEVICES, GatewayCount, apply_gateway
from p2pledger.ledger.state import Changes
from p2pledger.types import Height, Millis, PeerId
from tests.asking import every
from tests.ledgers import GRANTED, START_MS, Ledger, genesis, quota, signer, transaction

ACT = RecordAppend(
    "admin.act/1", START_MS, None, None, Action.OBSERVE, (), None, None, None, (), GRANTED, None
)
METER, PEER, NEW_PEER = b"meter".ljust(16), PeerId("city-gateway-peer"), PeerId("new-gateway-peer")


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


def key(name: str):
    return signer(name).public_key


def add(name: str, role: KeyRole = KeyRole.SERVICE, from_height: int = 0) -> KeyAdd:
    return KeyAdd(key(name), role, None, Height(from_height))


def revoke(name: str, from_height: int = 0) -> KeyRevoke:
    return KeyRevoke(key(name), RevocationReason.COMPROMISED, Height(from_height))


def rotate(old: str, new: str, from_height: int = 0) -> KeyRotate:
    return KeyRotate(key(old), key(new), None, Height(from_height))


def invite(ledger: Ledger, number: int = 1, issuer: str = "city 1", **changes) -> Invite:
    terms = InviteTerms(
        id=bytes([number]) * 16,
        organisation="city",
        role=KeyRole.GATEWAY,
        expires_ms=Millis(START_MS + 3_600_000),
        uses=1,
        genesis_hash=ledger.genesis.hash,
        issuer=key(issuer),
    )
    return sign_invite(replace(terms, **changes), signer(issuer))


def enroll(name: str = "meter", device: bytes = METER, peer: PeerId = PEER) -> DeviceEnroll:
    return DeviceEnroll(device, key(name), peer, "meter", bytes(32))


def test_the_residents_quota_is_nobodys(ledger):
    residents = organisation(ledger.reader, "residents")
    assert residents is not None and residents.quota == ledger.genesis.residents_quota
    assert residents.admins == ()
    assert ledger.refuses(add("new"), "residents", "city 1", "new") == "not_entitled"
    assert ledger.refuses(ACT, "residents", "city gateway") == "not_entitled"


def test_genesis_is_where_it_begins(ledger):
    city = organisation(ledger.reader, "city")
    assert city is not None and set(city.admins) == {key("city 1"), key("city 2")}
    assert live_key(ledger.reader, key("city 1"), Height(0)).role is KeyRole.ADMIN
    assert live_key(ledger.reader, key("city gateway"), Height(0)).peer == PEER
    assert allowed_peers(ledger.reader, Height(0)) == {PEER}
    assert [row.key for row in ledger.rows if row.name == "registry.peers"] == [PEER.encode()]


def test_a_key_is_live_from_the_next_block_until_its_end(ledger):
    ledger.does(add("service"), "city", "city 1", "service")
    added = ledger.height
    ledger.does(ACT, "city", "service")
    ledger.does(revoke("service"), "city", "city 1")
    ended = ledger.height + 1
    assert ledger.refuses(ACT, "city", "service") == "not_entitled"
    live = [h for h in range(ended + 3) if live_key(ledger.reader, key("service"), Height(h))]
    assert live == list(range(added + 1, ended))


def test_a_key_signs_nothing_in_the_block_that_adds_it_and_all_in_the_one_that_revokes_it(ledger):
    both = [
        transaction(ledger.genesis, add("service"), "city", "city 1", "service"),
        transaction(ledger.genesis, ACT, "city", "service"),
    ]
    built = ledger.machine.build(ledger.reader, ledger.execution.frontier, ledger.next_round, both)
    assert [one.error.code for one in built.refused] == ["not_entitled"]
    ledger.block(both[0])
    ledger.block(
        transaction(ledger.genesis, revoke("service"), "city", "city 1"),
        transaction(ledger.genesis, ACT, "city", "service"),
    )


def test_a_planned_height_is_kept(ledger):
    start = ledger.height + 3
    ledger.does(add("service", from_height=start), "city", "city 1", "service")
    assert ledger.refuses(ACT, "city", "service") == "not_entitled"
    ledger.block()
    ledger.does(ACT, "city", "service")
    assert ledger.height == start


def test_nothing_works_backwards(ledger):
    ledger.block()
    ledger.block()
    past = ledger.next_round.height
    assert ledger.refuses(add("service", from_height=past), "city", "city 1", "service") == "backdated"
    assert ledger.refuses(revoke("city 2", from_height=past), "city", "city 1") == "backdated"
    assert ledger.refuses(rotate("city 2", "x", past), "city", "city 1", "x") == "backdated"
    ledger.machine.check(
        ledger.reader,
        ledger.next_round,
        transaction(ledger.genesis, revoke("city 2", from_height=past + 1), "city", "city 1"),
    )


def test_a_planned_end_can_only_come_earlier(ledger):
    ledger.does(revoke("city 2", from_height=100), "city", "city 1")
    assert ledger.refuses(revoke("city 2", from_height=100), "city", "city 1") == "key_revoked"
    assert ledger.refuses(revoke("city 2", from_height=101), "city", "city 1") == "key_revoked"
    assert ledger.refuses(rotate("city 2", "x"), "city", "city 1", "x") == "key_revoked"
    ledger.does(revoke("city 2", from_height=50), "city", "city 1")
    assert live_key(ledger.reader, key("city 2"), Height(49))
    assert not live_key(ledger.reader, key("city 2"), Height(50))


def test_a_key_has_one_owner_for_ever(ledger):
    ledger.does(add("service"), "city", "city 1", "service")
    assert ledger.refuses(add("service"), "utility", "utility 1", "service") == "key_taken"
    ledger.does(revoke("service"), "city", "city 1")
    ledger.block()
    assert ledger.refuses(add("service"), "city", "city 1", "service") == "key_taken"
    assert ledger.refuses(add("authority 1"), "city", "city 1", "authority 1") == "key_taken"
    assert ledger.refuses(enroll("service"), "city", "city gateway", "service") == "key_taken"
    assert ledger.refuses(rotate("city 2", "service"), "city", "city 1", "service") == "key_taken"


def test_a_new_key_shows_that_it_is_the_submitters(ledger):
    assert ledger.refuses(add("service"), "city", "city 1") == "missing_signature"
    assert ledger.refuses(rotate("city 2", "x"), "city", "city 1") == "missing_signature"
    broken = KeyAdd(bytes([2]) + b"\xff" * 32, KeyRole.SERVICE, None, Height(0))
    assert ledger.refuses(broken, "city", "city 1") == "invalid_key"


def test_as_many_admins_sign_as_the_threshold_asks():
    ledger = Ledger(genesis(threshold=2))
    assert ledger.refuses(add("service"), "city", "city 1", "service") == "too_few_admins"
    assert ledger.refuses(add("x"), "city", "city 1", "utility 1", "x") == "too_few_admins"
    assert ledger.refuses(add("x"), "city", "city gateway", "x") == "not_entitled"
    ledger.does(add("service"), "city", "city 1", "city 2", "service")
    assert ledger.refuses(revoke("city 1"), "city", "city 1", "city 2") == "admins_locked_out"
    ledger.does(add("city 3", KeyRole.ADMIN), "city", "city 1", "city 2", "city 3")
    ledger.does(revoke("city 1"), "city", "city 1", "city 2")
    assert set(organisation(ledger.reader, "city").admins) == {key("city 2"), key("city 3")}
    assert ledger.refuses(revoke("city 2"), "city", "city 2", "city 3") == "admins_locked_out"
    assert ledger.refuses(add("x"), "city", "city 1", "city 2", "x") == "too_few_admins"
    ledger.does(add("x"), "city", "city 2", "city 3", "x")


def test_another_organisations_keys_are_out_of_reach(ledger):
    assert ledger.refuses(revoke("city 1"), "utility", "utility 1") == "unknown_key"
    assert ledger.refuses(revoke("stranger"), "city", "city 1") == "unknown_key"
    assert ledger.refuses(rotate("city 1", "x"), "utility", "utility 1", "x") == "unknown_key"


def test_at_most_16_admins(ledger):
    for n in range(3, 17):
        ledger.does(add(f"city {n}", KeyRole.ADMIN), "city", "city 1", f"city {n}")
    assert ledger.refuses(add("city 17", KeyRole.ADMIN), "city", "city 1", "city 17") == "too_many_admins"


def test_rotation_leaves_no_block_without_and_none_with_both(ledger):
    ledger.does(rotate("city 2", "fresh"), "city", "city 1", "fresh")
    turn = ledger.height + 1
    for height in range(turn + 2):
        assert bool(live_key(ledger.reader, key("city 2"), Height(height))) == (height < turn)
        assert bool(live_key(ledger.reader, key("fresh"), Height(height))) == (height >= turn)
    assert set(organisation(ledger.reader, "city").admins) == {key("city 1"), key("fresh")}
    ledger.does(add("service"), "city", "fresh", "service")


def test_a_key_that_has_not_begun_is_not_rotated_away_before(ledger):
    ledger.does(add("service", from_height=50), "city", "city 1", "service")
    assert ledger.refuses(rotate("service", "x", 50), "city", "city 1", "x") == "backdated"


def test_a_gateway_joins_with_its_invite_and_speaks_from_the_next_block(ledger):
    ledger.does(GatewayJoin(key("new"), NEW_PEER, invite(ledger)), "city", "new")
    assert allowed_peers(ledger.reader, Height(ledger.height)) == {PEER, NEW_PEER}
    assert gateway(ledger.reader, NEW_PEER).key == key("new")
    assert (ledger.rows[-1].name, ledger.rows[-1].key) == ("registry.peers", NEW_PEER.encode())
    assert decode(Gateway, ledger.rows[-1].value) == gateway(ledger.reader, NEW_PEER)
    ledger.does(ACT, "city", "new")
    again = GatewayJoin(key("third"), PeerId("third-peer"), invite(ledger))
    assert ledger.refuses(again, "city", "third") == "invite_used"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"expires_ms": START_MS}, "invite_expired"),
        ({"role": KeyRole.ADMIN}, "invite_invalid"),
        ({"genesis_hash": bytes(32)}, "invite_invalid"),
        ({"organisation": "utility"}, "invite_invalid"),
        ({"issuer": "utility 1"}, "invite_invalid"),
        ({"issuer": "city gateway"}, "invite_invalid"),
        ({"issuer": "stranger"}, "invite_invalid"),
    ],
)
def test_an_invite_that_is_not_good(ledger, changes, code):
    bad = invite(ledger, **changes)
    assert ledger.refuses(GatewayJoin(key("new"), NEW_PEER, bad), "city", "new") == code


def test_an_invite_is_bound_to_its_signature_and_its_sponsor(ledger):
    good = invite(ledger)
    forged = Invite(replace(good.terms, id=bytes(16)), good.signature)
    assert ledger.refuses(GatewayJoin(key("new"), NEW_PEER, forged), "city", "new") == "invite_invalid"
    assert ledger.refuses(GatewayJoin(key("new"), NEW_PEER, good), "utility", "new") == "invite_invalid"
    assert ledger.refuses(GatewayJoin(key("new"), NEW_PEER, good), "city", "thief") == "missing_signature"
    ledger.does(revoke("city 1"), "city", "city 2")
    assert ledger.refuses(GatewayJoin(key("new"), NEW_PEER, good), "city", "new") == "invite_invalid"


def test_a_peer_and_a_key_join_once(ledger):
    for peer in (PEER, PeerId("authority-peer-2")):
        assert ledger.refuses(GatewayJoin(key("new"), peer, invite(ledger)), "city", "new") == "peer_taken"
    taken = GatewayJoin(key("city 2"), NEW_PEER, invite(ledger))
    assert ledger.refuses(taken, "city", "city 2") == "key_taken"


def test_gateways_are_bounded(ledger):
    changes = Changes(ledger.reader)
    changes.put(b"gateway-count/", encode(GatewayCount(GATEWAYS_MAX)))
    with pytest.raises(InvalidTransaction) as refusal:
        apply_gateway(changes, Gateway(NEW_PEER, key("new"), "city"))
    assert refusal.value.code == "too_many_gateways"
    apply_gateway(changes, Gateway(PEER, key("fresh"), "city"))
    assert gateway(changes, PEER).key == key("fresh")


def test_a_revoked_gateway_is_off_the_allow_list_from_that_height(ledger):
    assert ledger.rows == list(ledger.machine.start().index_rows)
    ledger.does(revoke("city gateway", from_height=9), "city", "city 1")
    assert [row.key for row in ledger.rows] == [PEER.encode()] * 2
    assert allowed_peers(ledger.reader, Height(8)) == {PEER}
    assert allowed_peers(ledger.reader, Height(9)) == frozenset()


def test_a_gateway_that_rotates_its_key_stays_connected_and_keeps_its_devices(ledger):
    ledger.does(enroll(), "city", "city gateway", "meter")
    ledger.does(rotate("city gateway", "fresh", 9), "city", "city 1", "fresh")
    for height in (3, 8, 9, 20):
        assert allowed_peers(ledger.reader, Height(height)) == {PEER}
    while ledger.height < 8:
        ledger.block()
    assert ledger.refuses(enroll("b", b"b" * 16), "city", "city gateway", "b") == "not_entitled"
    ledger.does(DeviceRetire(METER, bytes(32)), "city", "fresh", "meter")


def test_a_device_is_enrolled_by_gateway_and_device_together(ledger):
    assert ledger.refuses(enroll(), "city", "city gateway") == "missing_signature"
    assert ledger.refuses(enroll(), "city", "city 1", "meter") == "not_entitled"
    assert ledger.refuses(enroll(peer=NEW_PEER), "city", "city gateway", "meter") == "unknown_gateway"
    ledger.does(enroll(), "city", "city gateway", "meter")
    assert live_key(ledger.reader, key("meter"), Height(ledger.height + 1)).device == METER
    assert ledger.refuses(enroll("other"), "city", "city gateway", "other") == "device_taken"


def test_a_gateway_enrols_behind_itself_only(ledger):
    ledger.does(GatewayJoin(key("new"), NEW_PEER, invite(ledger)), "city", "new")
    assert ledger.refuses(enroll(), "city", "new", "meter") == "missing_signature"


def join_utility(ledger: Ledger) -> None:
    terms = invite(ledger, 7, "utility 1", organisation="utility")
    ledger.does(GatewayJoin(key("new"), NEW_PEER, terms), "utility", "new")


def test_a_device_moves_to_another_organisation_with_its_own_consent(ledger):
    ledger.does(enroll(), "city", "city gateway", "meter")
    join_utility(ledger)
    move = DeviceTransfer(METER, NEW_PEER, bytes([1]) * 32)
    assert ledger.refuses(move, "utility", "new") == "missing_signature"
    ledger.does(move, "utility", "new", "meter")
    assert DEVICES.get(ledger.reader, METER).organisation == "utility"
    assert live_key(ledger.reader, key("meter"), Height(99)).organisation == "utility"
    assert ledger.refuses(DeviceRetire(METER, bytes(32)), "city", "city gateway", "meter") == (
        "missing_signature"
    )


def test_devices_are_listed_by_organisation(ledger):
    ledger.does(enroll(), "city", "city gateway", "meter")
    join_utility(ledger)

    def listed() -> dict[bytes, Device]:
        rows = [row for row in ledger.rows if row.name == DEVICES_INDEX]
        return {row.key: decode(Device, row.value) for row in rows}

    before = DEVICES.get(ledger.reader, METER)
    assert listed() == {b"city\0" + METER: before}
    ledger.does(DeviceTransfer(METER, NEW_PEER, bytes(32)), "utility", "new", "meter")
    moved = replace(before, organisation="utility", gateway=NEW_PEER)
    assert listed() == {b"city\0" + METER: moved, b"utility\0" + METER: moved}
    ledger.does(DeviceRetire(METER, bytes(32)), "utility", "new", "meter")
    assert listed()[b"utility\0" + METER] == replace(moved, is_retired=True)


def test_a_retired_device_is_silent_for_good(ledger):
    ledger.does(enroll(), "city", "city gateway", "meter")
    assert ledger.refuses(DeviceRetire(METER, bytes(32)), "city", "city gateway") == "missing_signature"
    assert ledger.refuses(DeviceRetire(b"x" * 16, bytes(32)), "city", "city gateway") == "unknown_device"
    ledger.does(DeviceRetire(METER, bytes(32)), "city", "city gateway", "meter")
    assert not live_key(ledger.reader, key("meter"), Height(ledger.height + 1))
    for payload in (DeviceRetire(METER, bytes(32)), DeviceTransfer(METER, PEER, bytes(32))):
        assert ledger.refuses(payload, "city", "city gateway", "meter") == "device_retired"
    assert ledger.refuses(enroll("other"), "city", "city gateway", "other") == "device_taken"


def test_a_retired_device_signs_nothing_from_the_next_block_on_whatever_end_was_planned(ledger):
    ledger.does(enroll(), "city", "city gateway", "meter")
    ledger.does(revoke("meter", ledger.height + 50), "city", "city 1")
    ledger.does(DeviceRetire(METER, bytes(32)), "city", "city gateway", "meter")
    assert not live_key(ledger.reader, key("meter"), Height(ledger.height + 1))


def test_a_device_with_a_rotation_to_come_is_not_retired_nor_moved_before(ledger):
    """Else the key that is live until then would go on signing, for its first organisation."""
    ledger.does(enroll(), "city", "city gateway", "meter")
    join_utility(ledger)
    turn = ledger.height + 3
    ledger.does(rotate("meter", "fresh", turn), "city", "city 1", "fresh")
    retire, move = DeviceRetire(METER, bytes(32)), DeviceTransfer(METER, NEW_PEER, bytes(32))
    for signer_ in ("meter", "fresh"):
        assert ledger.refuses(retire, "city", "city gateway", signer_) == "missing_signature"
        assert ledger.refuses(move, "utility", "new", signer_) == "missing_signature"
    while ledger.height + 1 < turn:
        ledger.block()
    assert ledger.refuses(move, "utility", "new", "meter") == "missing_signature"
    ledger.does(move, "utility", "new", "fresh")
    lives = [live_key(ledger.reader, key(name), Height(ledger.height + 1)) for name in ("meter", "fresh")]
    assert lives[0] is None and lives[1].organisation == "utility"


def test_a_stolen_device_is_bounded_by_its_organisations_admins(ledger):
    ledger.does(enroll(), "city", "city gateway", "meter")
    ledger.does(revoke("meter"), "city", "city 1")
    fact = replace(ACT, schema="sensor.reading/1", device=METER, seq=0, body=None)
    assert ledger.refuses(fact, "city", "meter") == "not_entitled"


def test_a_device_gets_a_new_key_and_its_numbers_go_on(ledger):
    ledger.does(enroll(), "city", "city gateway", "meter")
    fact = replace(ACT, schema="sensor.reading/1", device=METER, seq=0, body=None)
    ledger.does(fact, "city", "meter")
    ledger.does(rotate("meter", "fresh"), "city", "city 1", "fresh")
    assert ledger.refuses(fact, "city", "fresh") == "duplicate"
    ledger.does(replace(fact, seq=1), "city", "fresh")
    assert DEVICES.get(ledger.reader, METER).key == key("fresh")
    ledger.does(DeviceRetire(METER, bytes(32)), "city", "city gateway", "fresh")
    assert not live_key(ledger.reader, key("fresh"), Height(ledger.height + 1))


def test_roles_that_come_another_way_are_not_added():
    for role in (KeyRole.GATEWAY, KeyRole.DEVICE):
        with pytest.raises(ValueError):
            add("x", role)


def test_the_same_invite_in_one_block_lets_one_gateway_in(ledger):
    pair: list[Transaction] = [
        transaction(ledger.genesis, GatewayJoin(key(n), PeerId(n), invite(ledger)), "city", n)
        for n in ("first", "second")
    ]
    built = ledger.machine.build(ledger.reader, ledger.execution.frontier, ledger.next_round, pair)
    assert built.transactions == (pair[0],)
    assert built.refused[0].error.code == "invite_used"


def test_a_key_is_revoked_at_once_whatever_was_used_of_the_quota():
    ledger = Ledger(genesis(quota=quota(transactions=3)))
    for number in range(3):
        ledger.does(replace(ACT, time_ms=START_MS - number), "city", "city gateway")
    assert ledger.refuses(ACT, "city", "city gateway") == "over_quota"
    assert ledger.refuses(revoke("city gateway", from_height=20), "city", "city 1") == "over_quota"
    ledger.does(revoke("city gateway"), "city", "city 1")
    assert live_key(ledger.reader, key("city gateway"), Height(ledger.height + 1)) is None
    # It takes effect once: nothing is left that could be said again beyond the quota.
    assert ledger.refuses(revoke("city gateway"), "city", "city 1") == "key_revoked"
    (found,) = every(ledger, "registry.organisation", organisation="city")
    assert (found.used_transactions, found.quota_transactions) == (4, 3)


def test_what_is_urgent_takes_back_and_gives_nothing():
    assert Machine(genesis()).urgent_kinds == {"key.revoke", "grant.revoke", "erase.request"}
