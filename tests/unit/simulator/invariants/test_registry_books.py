"""The registry's books, where they could hold an honest ledger guilty."""

from dataclasses import replace

import pytest
from p2pledger.simulator.invariants.registry import RegistryInvariants
from tests.ledgers import Ledger
from tests.unit.ledger.modules.test_registry import ACT, METER, enroll, rotate

FACT = replace(ACT, schema="sensor.reading/1", device=METER, seq=0, body=None)


class Judged(Ledger):
    """A ledger, all of whose transactions are judged."""

    def __init__(self) -> None:
        super().__init__()
        self.judge = RegistryInvariants(self.genesis)

    def does(self, payload, sponsor, *names):
        one = super().does(payload, sponsor, *names)
        self.judge.apply(one, self.height, self.time_ms)
        return one


@pytest.mark.parametrize("gone", ["meter", "city gateway"])
def test_a_key_speaks_for_its_device_or_gateway_until_the_height_of_its_rotation(gone):
    ledger = Judged()
    ledger.does(enroll(), "city", "city gateway", "meter")
    turn = ledger.height + 5
    ledger.does(rotate(gone, "fresh", turn), "city", "city 1", "fresh")
    ledger.does(FACT, "city", gone)
    if gone == "city gateway":
        ledger.does(enroll("other", b"other".ljust(16)), "city", gone, "other")
    while ledger.height + 1 < turn:
        ledger.block()
    assert ledger.refuses(replace(FACT, seq=1), "city", gone) == "not_entitled"
    ledger.does(replace(FACT, seq=1), "city", "fresh")
