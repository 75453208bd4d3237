"""The judge of histories is no judge if it lets everything pass."""

import pytest
from p2pledger.types import Height
from tests.faults.history import Entry, end_of
from tests.unit.node.solo import fact, genesis

NODES = ("one", "other")
FINAL = {"outcome": "final", "height": 7}
EXPIRED = {"outcome": "expired"}
UNKNOWN = {"outcome": "unknown"}
NOWHERE: tuple[int, ...] = ()


def judge(heights, answers, *told: str, is_accepted: bool = True) -> str:
    entry = Entry(fact(genesis()), is_accepted, list(told))
    places = {name: tuple(map(Height, at)) for name, at in zip(NODES, heights, strict=True)}
    return end_of(entry, places, dict(zip(NODES, answers, strict=True)))


def test_each_has_one_end() -> None:
    assert judge([(7,), (7,)], [FINAL, FINAL], "final") == "final"
    assert judge([(7,), (7,)], [FINAL, FINAL]) == "final"  # whoever asked had given up
    assert judge([NOWHERE, NOWHERE], [EXPIRED, UNKNOWN], "expired") == "expired"
    assert judge([NOWHERE, NOWHERE], [UNKNOWN, UNKNOWN]) == "expired"  # lost with the memory of its node
    assert judge([NOWHERE, NOWHERE], [UNKNOWN, UNKNOWN], is_accepted=False) == "never accepted"


@pytest.mark.parametrize(
    ("why", "heights", "answers", "told"),
    [
        ("not the same everywhere", [(7,), NOWHERE], [FINAL, UNKNOWN], ()),
        ("not the same everywhere", [(7,), (8,)], [FINAL, FINAL], ()),
        ("final twice", [(7, 9), (7, 9)], [FINAL, FINAL], ()),
        ("says otherwise", [(7,), (7,)], [FINAL, EXPIRED], ()),
        ("final elsewhere", [(8,), (8,)], [FINAL, FINAL], ()),
        ("final after all", [(7,), (7,)], [FINAL, FINAL], ("expired",)),
        ("was lost", [NOWHERE, NOWHERE], [UNKNOWN, UNKNOWN], ("final",)),
        ("has no end", [NOWHERE, NOWHERE], [{"outcome": "pending"}, UNKNOWN], ()),
        ("two ends", [NOWHERE, NOWHERE], [EXPIRED, {"outcome": "refused", "code": "a"}], ()),
        ("two reasons", [NOWHERE, NOWHERE], [{"outcome": "refused", "code": c} for c in "ab"], ()),
    ],
)
def test_whatever_is_not_true_is_found(why, heights, answers, told) -> None:
    with pytest.raises(AssertionError, match=why):
        judge(heights, answers, *told)
