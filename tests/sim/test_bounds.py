"""What liars send is not kept without bound."""

from dataclasses import replace

import pytest
from p2pledger.simulator.faults import Fault, Kind
from p2pledger.simulator.run import case_of, run
from p2pledger.simulator.world import World


@pytest.mark.parametrize("name", ["FutureSpammer", "StaleEpochVoter", "DoubleVoter", "CertificateForger"])
def test_what_liars_send_is_not_kept_without_bound(name: str) -> None:
    worlds: list[World] = []
    case = replace(case_of(2, n=4), faults=(Fault(0, Kind.LIE, (0,), how=name),), is_changing=False)
    report = run(case, worlds.append)
    assert report.violation is None and report.counts[f"lies: {name}"] > 20
    for node in worlds[0].nodes[1:]:
        s = node.core.situation
        assert len(s.tally._votes) < s.setting.parameters.vote_window_views + 200
        assert len(s.tree) < 32
        assert len(s.asking) < 8
        assert len(s.evidence) <= 16
