"""A twin signs nothing but skips of final views: the first one has voted for those."""

from pathlib import Path

import pytest
from p2pledger.chain.message import Certificates
from p2pledger.chain.vote import Vote, VoteKind
from p2pledger.consensus import recovery
from p2pledger.testnet.twin import NotInATestnet, TwinConsensus, TwinVoice, become_twin
from tests.sim.bench import Bench, f, n_, x


@pytest.fixture
def twin(monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(recovery, "Voice", TwinVoice)
    bench = Bench(core=TwinConsensus)
    bench.speak()
    return bench


def test_it_contradicts_what_its_key_voted_to_finalise_and_holds_the_proof(twin: Bench):
    header = twin.header(3)
    twin.receive(1, Certificates((twin.certificate(f(3, header), signers=(0, 1, 2)),)))
    twin.tick()
    assert twin.ballots() == [x(3)]
    (proof,) = [item.evidence for item in twin.misbehaved if item.evidence is not None]
    assert {vote.ballot.kind for vote in (proof.first, proof.second)} == {VoteKind.SKIP, VoteKind.FINALISE}
    assert proof.offence == (0, 3, 0)


def test_it_skips_every_final_view_once_whoever_signed_for_it(twin: Bench):
    for view in (3, 4):
        twin.give(f(view, twin.header(view)))
        twin.tick()
        twin.tick()
    assert twin.ballots() == [x(3), x(4)]
    assert [send.frame.ballot for send in twin.sent if isinstance(send.frame, Vote)] == [x(3), x(4)]


def test_it_does_not_give_itself_away_by_any_other_vote(twin: Bench):
    header = twin.header(1)
    twin.receive(twin.leader(1), twin.proposal(header))
    twin.receive(1, Certificates((twin.certificate(n_(1, header), signers=(0, 1, 2)),)))
    twin.tick(60_000)
    assert twin.ballots() == []


def test_it_runs_in_a_testnet_only(tmp_path: Path):
    configuration = tmp_path / "authority-1" / "p2pledger.toml"
    with pytest.raises(NotInATestnet):
        become_twin(configuration)
