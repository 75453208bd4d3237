"""Status lists: in their cadence, long enough to hide in, and no larger than a node can hold."""

import gzip
import zlib
from dataclasses import replace

import pytest
from p2pledger.chain.payloads import StatusPublish, StatusPurpose
from p2pledger.codec import decode
from p2pledger.ledger.modules.registry.status import (
    STATUS_BITS_MAX,
    STATUS_BITS_MIN,
    STATUS_INDEX,
    STATUS_SLOT_MS,
    StatusList,
    bits_of,
    status_list,
)
from tests.asking import code, every
from tests.ledgers import START_MS, Ledger

NOTHING = bytes(STATUS_BITS_MIN // 8)


def packed(bits: bytes) -> bytes:
    return gzip.compress(bits, mtime=0)


def version(number: int, bits: bytes = NOTHING, **changes) -> StatusPublish:
    return replace(StatusPublish("badges", number, StatusPurpose.REVOCATION, packed(bits)), **changes)


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


def next_slot(ledger: Ledger, slots: int = 1) -> None:
    ledger.time_ms += slots * STATUS_SLOT_MS


def test_a_list_is_found_by_any_name_that_it_may_have(ledger):
    name = "urn:badges:2026-1"
    ledger.does(version(1, list_id=name), "city", "city 1")
    asked = {"organisation": "city", "list_id": name, "index": 0}
    (found,) = every(ledger, "registry.status-bit", **asked)
    assert (found.list_id, found.is_set) == (name, False)


def test_the_newest_version_is_found_and_its_bits_are_in_its_transaction(ledger):
    bits = bytearray(NOTHING)
    bits[0], bits[-1] = 0b1000_0000, 0b0000_0001
    one = ledger.does(version(1, bytes(bits)), "city", "city 1")
    slot = ledger.time_ms // STATUS_SLOT_MS
    row = StatusList(1, StatusPurpose.REVOCATION, STATUS_BITS_MIN, slot, 0, one.id)
    assert status_list(ledger.reader, "city", "badges") == row
    (listed,) = (one for one in ledger.rows if one.name == STATUS_INDEX)
    assert (listed.key, decode(StatusList, listed.value)) == (b"city\0badges", row)
    badges, query = {"organisation": "city", "list_id": "badges"}, "registry.status-bit"
    asked = [
        found.is_set
        for index in (0, 1, STATUS_BITS_MIN - 2, STATUS_BITS_MIN - 1)
        for found in every(ledger, query, index=index, **badges)
    ]
    assert asked == [True, False, False, True]
    [found] = every(ledger, query, index=7, **badges)
    assert (found.version, found.purpose, found.transaction_id) == (1, StatusPurpose.REVOCATION, one.id)
    assert (found.is_stale, found.missed) == (False, 0)
    assert code(ledger, query, index=STATUS_BITS_MIN, **badges) == "invalid_parameter"
    assert code(ledger, query, organisation="utility", list_id="badges", index=0) == "unknown_status_list"
    assert code(ledger, query, index=0, dropped=[one.id], **badges) == "pruned"
    next_slot(ledger, 2)
    assert every(ledger, query, index=0, **badges)[0].is_stale


def test_a_version_in_each_slot_changed_or_not(ledger):
    ledger.does(version(1), "city", "city 1")
    assert ledger.refuses(version(2), "city", "city 1") == "status_too_early"
    next_slot(ledger)
    ledger.does(version(2), "city", "city 1")
    row = status_list(ledger.reader, "city", "badges")
    assert (row.version, row.missed) == (2, 0)
    next_slot(ledger, 3)
    assert row.is_stale(ledger.time_ms) and not row.is_stale(ledger.time_ms - 2 * STATUS_SLOT_MS)
    ledger.does(version(3), "city", "city 1")
    assert status_list(ledger.reader, "city", "badges").missed == 2


def test_a_slot_begins_with_the_hour(ledger):
    ledger.time_ms += STATUS_SLOT_MS - START_MS % STATUS_SLOT_MS - 2
    ledger.does(version(1), "city", "city 1")
    assert ledger.time_ms % STATUS_SLOT_MS == STATUS_SLOT_MS - 1
    ledger.does(version(2), "city", "city 1")


def test_versions_follow_one_by_one(ledger):
    assert ledger.refuses(version(2), "city", "city 1") == "status_version"
    ledger.does(version(1), "city", "city 1")
    next_slot(ledger)
    for number in (1, 3):
        assert ledger.refuses(version(number), "city", "city 1") == "status_version"


def test_a_list_is_its_issuers_and_stays_what_it_is(ledger):
    ledger.does(version(1), "city", "city 1")
    ledger.does(version(1, NOTHING * 2), "utility", "utility 1")
    next_slot(ledger)
    suspended = version(2, purpose=StatusPurpose.SUSPENSION)
    for other in (suspended, version(2, NOTHING * 2)):
        assert ledger.refuses(other, "city", "city 1") == "status_changed"
    assert ledger.refuses(version(2), "city", "city gateway") == "not_entitled"


@pytest.mark.parametrize(
    "compressed",
    [
        packed(NOTHING[1:]),
        packed(bytes(STATUS_BITS_MAX // 8 + 1)),
        packed(bytes(10_000_000)),
        packed(NOTHING)[:-1],
        packed(NOTHING) + b"0",
        packed(NOTHING) + packed(NOTHING),
        packed(NOTHING)[:-8] + bytes(8),
        zlib.compress(NOTHING),
        b"\x1f\x8b\x08\x08" + packed(NOTHING)[4:],
        bytes(18),
    ],
    ids=["short", "long", "bomb", "cut", "tail", "two", "checksum", "zlib", "named", "nothing"],
)
def test_bits_that_are_none(ledger, compressed):
    assert ledger.refuses(version(1, compressed=compressed), "city", "city 1") == "status_bits"


def test_bits_that_do_not_compress_fit(ledger):
    state, noise = 1, bytearray()
    while len(noise) < len(NOTHING):
        state = state * 6_364_136_223_846_793_005 + 1 & (1 << 64) - 1
        noise.append(state >> 56)
    one = version(1, bytes(noise))
    assert len(one.compressed) > len(NOTHING) and bits_of(one.compressed) == noise
    ledger.does(one, "city", "city 1")
    ledger.does(version(1, bytes(STATUS_BITS_MAX // 8), list_id="largest"), "city", "city 1")
