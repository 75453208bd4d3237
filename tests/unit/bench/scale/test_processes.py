from io import StringIO

from p2pledger.bench.scale.processes import Limits, grow, limits_of_this_machine
from rich.console import Console


def test_more_memory_than_allowed_is_not_asked_for() -> None:
    told = StringIO()
    grown = grow((4,), 10, 1, Limits(cores=2, memory_mib=700), Console(file=told))
    assert grown.fleets == ()
    assert grown.stopped == "memory: 750 MiB for 4 authorities, 700 allowed"
    assert told.getvalue() == ""


def test_a_node_and_a_gateway_as_processes() -> None:
    grown = grow((1,), 10, 1, Limits(cores=2, memory_mib=1_000), Console(file=StringIO()))
    assert len(grown.fleets) == 1, grown.stopped
    fleet = grown.fleets[0]
    assert fleet.agree and fleet.blocks_per_s > 0 and fleet.transactions_per_s > 0
    assert fleet.authority_share > 0 and fleet.gateway_share > 0 and fleet.cores < 3
    assert 50 < fleet.node_mib <= fleet.memory_mib


def test_what_may_be_taken_is_a_part_of_what_is_free() -> None:
    whole, half = limits_of_this_machine(100), limits_of_this_machine(50)
    assert whole.cores == half.cores >= 1
    assert 0.4 < half.memory_mib / whole.memory_mib < 0.6
