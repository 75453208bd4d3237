"""What the command tells the engine for each fault, and what it refuses before it tells it anything."""

from collections.abc import Mapping

import pytest
from p2pledger.testnet.compose.engine import Container
from p2pledger.testnet.compose.faults import make
from p2pledger.testnet.fault import Fault, FaultRefused, Kind
from tests.unit.testnet.compose.scripted import P2P, ScriptedEngine, container, whole

ONE, TWO, THREE, FOUR = (f"authority-{n}" for n in range(1, 5))


@pytest.mark.parametrize(
    ("found", "fault", "why"),
    [
        ({}, Fault(Kind.KILL, (ONE,)), "`testnet/testnet up` starts one"),
        (whole(), Fault(Kind.KILL, ("authority-9",)), "there are authority-1, "),
        (whole(), Fault(Kind.PAUSE, (ONE,), for_s=0), "--for is more than 0"),
        (whole(), Fault(Kind.RESTART, (ONE,), for_s=1), "leave out --for"),
        (whole(), Fault(Kind.TWIN, (ONE,)), "`p2pledger testnet up --faults`"),
        (whole(), Fault(Kind.CLOCK, (ONE,), ms=5), "`p2pledger testnet fault clock`"),
        (whole(), Fault(Kind.DELAY, ms=5), "`testnet/testnet up --faults`"),
        (whole(links="exited"), Fault(Kind.LOSS, percent=5), "`testnet/testnet up --faults`"),
        (whole(authority_1="exited"), Fault(Kind.KILL, (ONE,)), "`fault restart authority-1` starts it"),
        (whole(authority_1="paused"), Fault(Kind.KILL, (ONE,)), "`fault resume authority-1` first"),
        (whole(), Fault(Kind.RESUME, (ONE,)), "is not paused"),
        (whole(), Fault(Kind.DISCONNECT, (ONE,), is_silent=True), "leave out --silent"),
        (
            whole() | {ONE: container(ONE, networks=("net_front",))},
            Fault(Kind.DISCONNECT, (ONE,)),
            "`fault heal`",
        ),
        (whole(), Fault(Kind.PARTITION, (f"{ONE},{TWO}",)), "two sides or more"),
    ],
)
def test_what_cannot_be_done_is_refused_and_nothing_touched(
    found: Mapping[str, Container], fault: Fault, why: str
) -> None:
    engine = ScriptedEngine(found)
    with pytest.raises(FaultRefused, match=why):
        make(engine, fault)
    assert engine.told == []


def test_one_partition_at_a_time() -> None:
    engine = ScriptedEngine(whole(), (P2P, "net_side-1"))
    with pytest.raises(FaultRefused, match="`fault heal` first"):
        make(engine, Fault(Kind.PARTITION, (ONE, TWO)))
    assert engine.told == []


@pytest.mark.parametrize(
    ("fault", "told", "undone"),
    [
        (Fault(Kind.PAUSE, (ONE, TWO)), "pause AUTHORITY-1 AUTHORITY-2", "unpause AUTHORITY-1 AUTHORITY-2"),
        (Fault(Kind.KILL, (ONE,)), "kill AUTHORITY-1", "restart --time 20 AUTHORITY-1"),
        (
            Fault(Kind.DISCONNECT, (ONE,)),
            f"network disconnect {P2P} AUTHORITY-1",
            f"network connect --alias authority-1.p2p {P2P} AUTHORITY-1",
        ),
    ],
)
def test_a_fault_is_made_and_undone(fault: Fault, told: str, undone: str) -> None:
    engine = ScriptedEngine(whole())
    _, undo = make(engine, fault)
    assert engine.told == [told]
    assert undo is not None and undo()
    assert engine.told == [told, undone]


def test_each_side_gets_a_network_and_who_is_on_none_is_in_both() -> None:
    engine = ScriptedEngine(whole())
    done, _ = make(engine, Fault(Kind.PARTITION, (f"{ONE},{TWO}", f"{THREE},{FOUR}")))
    assert done == "authority-1, authority-2 | authority-3, authority-4: apart"
    joined = {tuple(line.split()[-2:]) for line in engine.told if line.startswith("network connect")}
    left = {line.split()[-1] for line in engine.told if line.startswith(f"network disconnect {P2P}")}
    both = {"GATEWAY-1", "GATEWAY-2"}
    assert joined == {
        *(("net_side-1", name) for name in {"AUTHORITY-1", "AUTHORITY-2", *both}),
        *(("net_side-2", name) for name in {"AUTHORITY-3", "AUTHORITY-4", *both}),
    }
    assert left == {"AUTHORITY-1", "AUTHORITY-2", "AUTHORITY-3", "AUTHORITY-4"}
    assert engine.told.count("network create --internal net_side-1") == 1


@pytest.mark.parametrize(
    ("fault", "told", "undone"),
    [
        (
            Fault(Kind.DELAY, (ONE,), ms=5, jitter_ms=2),
            "delay authority-1 --ms=5 --jitter=2",
            "delay authority-1",
        ),
        (Fault(Kind.LOSS, percent=2), "loss --percent=2", "loss"),
        (
            Fault(Kind.PARTITION, (ONE, TWO), is_silent=True),
            "partition authority-1|authority-2 --silent",
            "heal",
        ),
        (Fault(Kind.DISCONNECT, (ONE,)), "disconnect authority-1", "heal"),
    ],
)
def test_where_there_are_links_they_are_broken(fault: Fault, told: str, undone: str) -> None:
    engine = ScriptedEngine(whole(links="running"))
    done, undo = make(engine, fault)
    assert done == "done by links" and undo is not None and undo()
    prefix = "exec links p2pledger testnet fault --dir=/tmp"
    assert engine.told == [f"{prefix} {told}", f"{prefix} {undone}"]
    engine.answer = (1, "Error: --percent is less than 100")
    with pytest.raises(FaultRefused, match=r"^--percent"):
        make(engine, fault)


def test_heal_mends_whatever_is_broken_and_says_so() -> None:
    found = whole(authority_1="paused", authority_2="exited", links="running")
    found[THREE] = container(THREE, networks=("net_front", "net_side-1"))
    engine = ScriptedEngine(found, (P2P, "net_side-1", "other_side-1"))
    done, undo = make(engine, Fault(Kind.HEAL))
    assert undo is None
    assert done == ("healed: authority-1 resumed; one network again; authority-2 started; all links are calm")
    assert engine.told == [
        "unpause AUTHORITY-1",
        f"network connect --alias authority-3.p2p {P2P} AUTHORITY-3",
        "network disconnect --force net_side-1 AUTHORITY-3",
        "network rm net_side-1",
        "start AUTHORITY-2",
        "exec links p2pledger testnet fault --dir=/tmp heal",
    ]
    assert make(ScriptedEngine(whole()), Fault(Kind.HEAL))[0] == "healed: there was nothing to mend"


def test_a_paused_node_is_restarted_too() -> None:
    engine = ScriptedEngine(whole(authority_1="paused"))
    make(engine, Fault(Kind.RESTART, (ONE,)))
    assert engine.told == ["unpause AUTHORITY-1", "restart --time 20 AUTHORITY-1"]
