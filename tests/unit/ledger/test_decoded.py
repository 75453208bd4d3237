"""What is kept decoded, and for how long."""

import pytest
from p2pledger.codec import encode
from p2pledger.errors import InvalidMessage
from p2pledger.ledger.decoded import Decoded
from p2pledger.ledger.quota import Usage

USAGES = [Usage(number, 0, 0) for number in range(8)]
ENCODED = [encode(usage) for usage in USAGES]


def test_a_value_is_decoded_once():
    decoded = Decoded(100)
    first = decoded.get(Usage, ENCODED[0])
    assert first == USAGES[0]
    assert decoded.get(Usage, ENCODED[0]) is first
    assert decoded.get_all(Usage, {b"k": ENCODED[0], b"none": None}) == {b"k": first, b"none": None}
    several = decoded.get_all(Usage, {b"old": ENCODED[0], b"new": ENCODED[1], b"again": ENCODED[1]})
    assert several == {b"old": first, b"new": USAGES[1], b"again": USAGES[1]} and several[b"old"] is first
    assert several[b"new"] is several[b"again"] is decoded.get(Usage, ENCODED[1])
    decoded.cache_clear()
    assert decoded.get(Usage, ENCODED[0]) is not first


def test_what_was_read_ahead_or_kept_is_at_hand():
    decoded = Decoded(100)
    decoded.keep(Usage, {ENCODED[0]: USAGES[0]})
    decoded.read_ahead(Usage, ENCODED[:3])
    found = [decoded.get(Usage, data) for data in ENCODED[:3]]
    assert found == USAGES[:3] and found[0] is USAGES[0]
    decoded.read_ahead(Usage, ENCODED)
    assert [decoded.get(Usage, data) for data in ENCODED[:3]] == found
    assert all(decoded.get(Usage, data) is one for data, one in zip(ENCODED, found, strict=False))


def test_what_nobody_asks_for_is_forgotten_and_what_somebody_does_is_not():
    decoded = Decoded(4)
    asked, other = (decoded.get(Usage, data) for data in ENCODED[:2])
    for data in ENCODED[2:]:
        decoded.get(Usage, data)
        assert decoded.get(Usage, ENCODED[0]) is asked
    assert decoded.get(Usage, ENCODED[1]) == other and decoded.get(Usage, ENCODED[1]) is not other


def test_what_is_no_value_is_refused_alone_and_among_others():
    decoded = Decoded(100)
    with pytest.raises(InvalidMessage):
        decoded.get(Usage, b"rubbish")
    for read in (decoded.read_ahead, lambda kind, data: decoded.get_all(kind, dict(enumerate(data)))):
        with pytest.raises(InvalidMessage):
            read(Usage, [ENCODED[0], b"rubbish"])
    assert decoded.get(Usage, ENCODED[0]) == USAGES[0]
