import pytest
import trio
import trio.testing
from libp2p.peer.id import ID
from p2pledger.network.standing import BAN_SCORE, COST, INVALID_MESSAGE_COST, Offence, Standing

PEER, OTHER = ID(b"peer"), ID(b"other")


@pytest.fixture
def banned() -> list[tuple[ID, Offence]]:
    return []


@pytest.fixture
def standing(banned: list[tuple[ID, Offence]]) -> Standing:
    return Standing(["blocks", "evidence"], lambda peer, offence: banned.append((peer, offence)), ban_s=10.0)


async def test_a_spotless_peer_scores_zero_whatever_it_delivers(standing: Standing) -> None:
    for _ in range(1000):
        standing.on_first_delivery(PEER, "blocks")
        standing.on_join_mesh(PEER, "blocks")
    assert standing.total(PEER) == 0.0


async def test_refused_messages_of_all_topics_add_up(
    standing: Standing, banned: list[tuple[ID, Offence]]
) -> None:
    for count in range(1, 20):
        standing.refuse(PEER, "blocks" if count % 2 else "evidence")
        assert standing.total(PEER) == -INVALID_MESSAGE_COST * count
    assert banned == []
    assert (
        not standing.allow_publish(PEER, ["blocks"]) or standing.topic_score(PEER, "blocks") >= BAN_SCORE / 2
    )
    standing.refuse(PEER, "blocks")
    assert banned == [(PEER, Offence.INVALID)]
    assert standing.is_banned(PEER) and not standing.is_banned(OTHER)


@pytest.mark.parametrize("offence", Offence)
async def test_every_offence_ends_in_a_ban(
    offence: Offence, standing: Standing, banned: list[tuple[ID, Offence]]
) -> None:
    strikes = int(-BAN_SCORE / COST[offence])
    for _ in range(strikes - 1):
        standing.offend(PEER, offence)
    assert banned == []
    standing.offend(PEER, offence)
    assert banned == [(PEER, offence)]


async def test_a_ban_ends_and_begins_clean(
    standing: Standing, banned: list[tuple[ID, Offence]], autojump_clock: trio.testing.MockClock
) -> None:
    standing.offend(PEER, Offence.MUXER)
    standing.offend(PEER, Offence.GOSSIP)
    assert banned == [(PEER, Offence.MUXER)]
    await trio.sleep(9.9)
    assert standing.is_banned(PEER)
    await trio.sleep(0.2)
    assert not standing.is_banned(PEER)
    standing.forget(PEER)
    assert standing.total(PEER) == 0.0


async def test_a_record_heals_with_time(standing: Standing) -> None:
    standing.offend(PEER, Offence.GOSSIP)
    standing.refuse(PEER, "blocks")
    for _ in range(138):
        standing.on_heartbeat()
    assert standing.total(PEER) == pytest.approx(-15.0, abs=0.1)


async def test_a_disconnect_keeps_the_record_and_forgetting_drops_it(standing: Standing) -> None:
    standing.offend(PEER, Offence.GOSSIP)
    standing.remove_peer(PEER)
    assert standing.total(PEER) == -25.0
    standing.forget(PEER)
    assert standing.total(PEER) == 0.0
