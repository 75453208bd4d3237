"""What a leader builds, by limits that governance decided on."""

from p2pledger.consensus import events
from p2pledger.types import Epoch, Height, Millis, View
from tests.unit.node.solo import Solo


def test_a_leader_reads_the_blocks_limits_once(tmp_path, monkeypatch):
    solo = Solo(tmp_path)
    read, limits = [], solo.machine.limits

    def counted(parent, at):
        read.append(at.height)
        return limits(parent, at)

    monkeypatch.setattr(solo.machine, "limits", counted)
    now = Millis(solo.genesis.time_ms + 1_000)
    root = solo.core.situation.tree.root
    work = events.Build(
        epoch=Epoch(0),
        view=View(1),
        height=Height(1),
        parent_digest=root.digest,
        parent_view=View(0),
        time_ms=now,
        proposer=0,
        evidence=(),
        is_boundary=False,
        is_empty=False,
    )
    built = solo.executor.build(work, now)
    assert built.header.height == 1 and read == [1]
