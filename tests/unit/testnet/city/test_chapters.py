"""What the chapters know of the data: the city's own arithmetic, held against sums done another way."""

import csv
import gzip
from fractions import Fraction

import pytest
from p2pledger.chain.payloads import Drive
from p2pledger.ledger.modules.programs.mobility import points_of, score_of
from p2pledger.testnet.city.chapters.driving import points_by_hand
from p2pledger.testnet.city.chapters.energy import part_of, used_wh
from p2pledger.testnet.city.chapters.programs import MOBILITY
from p2pledger.testnet.city.chapters.waste import FRACTIONS, composition
from p2pledger.testnet.city.stage import Check
from p2pledger.testnet.city.trace import ride
from p2pledger.testnet.sources import data_directory
from p2pledger.types import Millis, PublicKey

BEGIN_MS = Millis(1_800_000_000_000)


def test_the_ride_earns_what_the_published_rule_gives() -> None:
    trace = ride(BEGIN_MS)
    drive = trace.drive(MOBILITY)
    assert isinstance(drive, Drive) and drive.samples == len(trace.readings)
    earned = points_of(score_of(drive, MOBILITY), drive.distance_m, MOBILITY)
    assert 0 < earned == points_by_hand(trace)


def test_an_altered_second_gives_another_root_and_nothing_else_is_altered() -> None:
    trace = ride(BEGIN_MS)
    other = trace.altered()
    differing = [a.seq for a, b in zip(trace.readings, other.readings, strict=True) if a != b]
    assert len(differing) == 1 and trace.root != other.root


def test_two_rides_have_other_salts_and_so_other_roots() -> None:
    assert ride(BEGIN_MS).root != ride(BEGIN_MS).root


@pytest.mark.parametrize(
    ("name", "file", "month"),
    [
        ("meter-a", "meter_halfhourly_a.csv.gz", "2012-11"),
        ("meter-b", "meter_halfhourly_b.csv.gz", "2012-02"),
    ],
)
def test_a_month_of_a_meter_is_what_its_half_hours_add_up_to(name: str, file: str, month: str) -> None:
    rows = csv.reader(gzip.decompress((data_directory() / file).read_bytes()).decode().splitlines())
    by_stamp: dict[str, Fraction] = {}
    for stamp, kwh in rows:
        if stamp.startswith(month):
            by_stamp.setdefault(stamp, Fraction(kwh))  # what stands twice counts once
    assert abs(used_wh(name) - sum(by_stamp.values()) * 1_000) < 1  # the register shows whole Wh


def test_parts_of_a_surplus_add_up_to_it_and_differ_by_a_remainder_at_most() -> None:
    keys = [PublicKey(bytes([2]) + bytes([i]) * 32) for i in range(3)]
    fed_in = dict(zip(keys, (7, 11, 2), strict=True))
    parts = {key: part_of(fed_in, key, 10) for key in keys}
    assert sum(parts.values()) == 10
    assert all(abs(Fraction(10 * fed_in[key], 20) - parts[key]) < 1 for key in keys)


def test_what_is_in_the_waste_is_known_and_no_more_than_all_of_it() -> None:
    shares = composition()
    assert set(shares) <= set(FRACTIONS) and 0 < sum(shares.values()) <= 1


def test_a_check_holds_when_what_was_found_is_what_was_expected() -> None:
    assert Check("a", 1, 1).holds and not Check("a", 1, 2).holds and not Check("a", [], [1]).holds
