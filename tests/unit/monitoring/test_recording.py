"""Recording rules ask for what nodes export and for earlier rules, and know the protocol's quorum."""

import re
from math import floor

from p2pledger.chain.authority import quorum
from p2pledger.monitoring.recording import AUTHORITIES, QUORUM, recordings
from tests.unit.monitoring.series import asked, exported, unknown


def test_a_rule_asks_for_what_is_there_and_was_recorded_before() -> None:
    there = exported()
    recorded = {rule.record for rule in recordings()}
    before: set[str] = set()
    for rule in recordings():
        assert unknown(rule.expr, there) == [], rule.record
        assert {name for name, _ in asked(rule.expr)} & recorded <= before, rule.record
        before.add(rule.record)


def test_names_say_level_series_and_operation() -> None:
    for rule in recordings():
        assert re.fullmatch(r"[a-z_]+:p2pledger_[a-z_]+:[a-z0-9]+", rule.record)
        assert rule.what.endswith(".")


def test_the_quorum_is_the_protocols() -> None:
    (rule,) = [rule for rule in recordings() if rule.record == QUORUM]
    assert rule.expr == f"floor((2 * {AUTHORITIES} + 2) / 3)"
    assert [floor((2 * n + 2) / 3) for n in range(1, 101)] == [quorum(n) for n in range(1, 101)]
