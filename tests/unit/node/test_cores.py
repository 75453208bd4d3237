from p2pledger.node.cores import PROBED_EVERY, RECENT_MAX, Cores


def test_a_core_is_free_while_nothing_is_known():
    assert Cores().is_for_thread()


def test_a_thread_works_where_the_loop_gets_a_core_to_itself():
    cores = Cores()
    cores.observe(elapsed_s=0.010, spent_s=0.0095)
    assert cores.is_for_thread()


def test_the_loop_works_itself_where_it_shares_its_core():
    cores = Cores()
    cores.observe(elapsed_s=0.020, spent_s=0.010)
    assert cores.are_taken
    assert not cores.is_for_thread()


def test_what_took_longer_counts_for_more():
    cores = Cores()
    cores.observe(elapsed_s=0.100, spent_s=0.050)
    for _ in range(RECENT_MAX - 1):
        cores.observe(elapsed_s=0.0001, spent_s=0.0001)
    assert cores.are_taken


def test_what_is_long_ago_is_forgotten():
    cores = Cores()
    cores.observe(elapsed_s=0.100, spent_s=0.020)
    for _ in range(RECENT_MAX):
        assert cores.are_taken
        cores.observe(elapsed_s=0.001, spent_s=0.001)
    assert cores.is_for_thread()


def test_now_and_then_the_loop_looks_whether_cores_are_still_free():
    cores = Cores()
    asked = [cores.is_for_thread() for _ in range(2 * PROBED_EVERY)]
    assert asked == 2 * [*[True] * (PROBED_EVERY - 1), False]
