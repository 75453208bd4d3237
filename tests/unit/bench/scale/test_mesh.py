from dataclasses import replace
from random import Random

import pytest
from p2pledger.bench.scale.mesh import Costs, Mesh, Rules, rules_of_our_router
from p2pledger.network import router

NODES = 60
BEAT_MS = 1_000
COSTS = Costs(first_us=250, receive_us=100, send_us=100)


@pytest.fixture(scope="module")
def rules() -> Rules:
    return rules_of_our_router()


def links(nodes: int = NODES, dials: int = 6, hub: int = 0) -> list[tuple[int, int]]:
    """Everybody dials some at random, and all dial the first `hub` nodes."""
    random = Random(1)
    found = {(number, other) for number in range(nodes) for other in range(hub) if other < number}
    for number in range(nodes):
        for other in random.sample(range(nodes), dials):
            if other != number:
                found.add((min(number, other), max(number, other)))
    return sorted(found)


def settled(rules: Rules, *, seed: int = 7, hub: int = 0) -> Mesh:
    mesh = Mesh(NODES, links(hub=hub), rules, COSTS, seed=seed)
    mesh.run(20 * BEAT_MS)
    return mesh


def check_bounds(mesh: Mesh, rules: Rules) -> None:
    """Nobody's mesh is fuller than it may be, or thinner than it must."""
    for number in mesh.alive:
        assert mesh.nodes[number].mesh <= mesh.nodes[number].delay_ms.keys()
        assert len(mesh.nodes[number].mesh) <= rules.degree_high
        assert len(mesh.nodes[number].mesh) >= min(rules.degree_low, len(mesh.nodes[number].delay_ms.keys()))


def check_symmetry(mesh: Mesh) -> None:
    for number in mesh.alive:
        assert all(number in mesh.nodes[peer].mesh for peer in mesh.nodes[number].mesh)


def publish(mesh: Mesh, count: int, every_ms: float = 50) -> None:
    begin_ms, random = mesh.now, Random(3)
    for index in range(count):
        mesh.schedule(begin_ms + index * every_ms, mesh.publish, random.choice(mesh.alive))
    mesh.run(begin_ms + count * every_ms + 6 * BEAT_MS)


def test_the_rules_are_those_of_the_real_router(rules: Rules) -> None:
    assert (rules.degree, rules.degree_low, rules.degree_high) == (
        router.DEGREE,
        router.DEGREE_LOW,
        router.DEGREE_HIGH,
    )
    assert rules.heartbeat_ms == router.HEARTBEAT_S * 1_000
    recent = router.RecentMessages()
    assert (rules.announced_beats, rules.kept_beats) == (recent.window_size, recent.history_size)
    assert rules.announced_to(0) == rules.announced_to(24) < rules.announced_to(100) == 25


def test_everybody_takes_each_message_as_new_once_and_all_that_is_sent_arrives(rules: Rules) -> None:
    mesh = settled(rules)
    mesh.reset_loads()
    publish(mesh, 40)
    assert len(mesh.messages) == 40
    for message in mesh.messages:
        assert message.taken_ms.keys() == set(mesh.alive) - {message.publisher}
        assert all(at > message.published_ms for at in message.taken_ms.values())
    loads = [mesh.nodes[number].load for number in mesh.alive]
    assert sum(load.sent for load in loads) == sum(load.received for load in loads)
    assert sum(load.sent_bytes for load in loads) == sum(load.received_bytes for load in loads)
    assert sum(load.copies for load in loads) >= 40 * (NODES - 1)


def test_meshes_keep_their_bounds_from_heartbeat_to_heartbeat(rules: Rules) -> None:
    mesh = settled(rules)
    check_bounds(mesh, rules)
    check_symmetry(mesh)


def test_a_node_that_all_are_connected_to_prunes_and_is_left_alone(rules: Rules) -> None:
    mesh = Mesh(NODES, links(hub=1), rules, COSTS, seed=7)
    mesh.run(0.99 * BEAT_MS)
    assert len(mesh.nodes[0].delay_ms.keys()) > rules.degree_high
    mesh.run(20 * BEAT_MS)
    check_bounds(mesh, rules)
    check_symmetry(mesh)


def test_who_was_pruned_keeps_away_and_asks_for_what_is_announced(rules: Rules) -> None:
    star = Mesh(21, [(0, leaf) for leaf in range(1, 21)], rules, COSTS, seed=7)
    star.run(5 * BEAT_MS)
    kept = set(star.nodes[0].mesh)
    assert len(kept) == rules.degree
    assert {leaf for leaf in range(1, 21) if star.nodes[leaf].mesh} == kept
    star.publish(0)
    star.run(rules.back_off_ms)
    taken_ms = star.messages[0].taken_ms
    at_once = {leaf for leaf, at in taken_ms.items() if at - star.messages[0].published_ms < 100}
    assert at_once == star.nodes[0].mesh == kept
    assert len(taken_ms) > 15, "three times, six of the others are told of it"
    star.run(rules.back_off_ms + 5 * BEAT_MS)
    assert star.nodes[0].mesh != kept and len(star.nodes[0].mesh) == rules.degree


def test_the_same_seed_gives_the_same_run_and_another_seed_another(rules: Rules) -> None:
    def taken(seed: int) -> list[dict[int, float]]:
        mesh = settled(rules, seed=seed)
        publish(mesh, 5)
        return [message.taken_ms for message in mesh.messages]

    assert taken(7) == taken(7)
    assert taken(7) != taken(8)


def test_the_mesh_heals_after_nodes_have_left(rules: Rules) -> None:
    mesh = settled(rules)
    orphan = mesh.alive[-1]
    for number in sorted(mesh.nodes[orphan].mesh):
        mesh.leave(number)
    assert not mesh.nodes[orphan].mesh and mesh.nodes[orphan].delay_ms
    mesh.run(mesh.now + 5 * BEAT_MS)
    check_bounds(mesh, rules)
    publish(mesh, 5)
    assert all(message.taken_ms.keys() == set(mesh.alive) - {message.publisher} for message in mesh.messages)


def test_what_is_only_announced_is_asked_for_hop_by_hop(rules: Rules) -> None:
    nobody_grafts = replace(rules, degree_low=0)
    line = Mesh(4, [(0, 1), (1, 2), (2, 3)], nobody_grafts, COSTS, seed=7)
    line.run(3 * BEAT_MS)
    line.publish(0)
    line.run(line.now + 3.5 * BEAT_MS)
    assert list(line.messages[0].taken_ms) == [1, 2, 3]
    assert [line.nodes[number].load.copies for number in range(4)] == [0, 1, 1, 1]


@pytest.mark.parametrize("nodes", [2, 3, 4, 5])
def test_a_few_that_are_all_connected_send_as_many_copies_as_real_hosts_do(rules: Rules, nodes: int) -> None:
    everybody = [(one, other) for one in range(nodes) for other in range(nodes) if one < other]
    mesh = Mesh(nodes, everybody, rules, COSTS, seed=7, delay_spread=0)
    mesh.run(2 * BEAT_MS)
    publish(mesh, 10)
    assert sum(mesh.nodes[number].load.copies for number in mesh.alive) == 10 * (nodes - 1) ** 2


def test_a_busy_node_is_late(rules: Rules) -> None:
    def last_ms(costs: Costs) -> float:
        mesh = Mesh(NODES, links(), rules, costs, seed=7)
        mesh.run(20 * BEAT_MS)
        publish(mesh, 50, every_ms=1)
        return max(at - message.published_ms for message in mesh.messages for at in message.taken_ms.values())

    assert last_ms(Costs(2_500, 1_000, 1_000)) > 3 * last_ms(COSTS)
