from p2pledger.bench.scale.assumptions import Assumptions
from p2pledger.bench.scale.authorities import agreement
from p2pledger.simulator.city import city


def test_what_a_block_takes_without_faults() -> None:
    found = agreement(4, Assumptions(blocks=4, frame_us=1_000))
    assert found.blocks >= 4
    # A proposal goes to everybody else, and so does each node's vote in each of two rounds.
    assert 2.5 <= found.messages_of["proposal"] <= 3.5
    assert 2 * 4 * 3 * 0.6 <= found.messages_of["vote"] <= 2 * 4 * 3
    assert found.messages == round(sum(found.messages_of.values()), 1)
    assert found.size_bytes > 100 * found.messages
    assert abs(found.node_frames_ms - found.messages / 4) < 0.02
    assert found.full_at < 1_000 / found.node_frames_ms


def test_votes_grow_with_the_square_of_the_authorities() -> None:
    few, many = (agreement(n, Assumptions(blocks=3)) for n in (4, 8))
    assert 3 < many.messages_of["vote"] / few.messages_of["vote"] < 6


def test_a_hundred_authorities_have_keys_of_their_own() -> None:
    genesis = city(100, False, False).genesis
    assert len(genesis.authorities.members) == 100
