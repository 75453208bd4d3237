import pytest
from p2pledger.chain.payloads import KeyRevoke, RevocationReason
from p2pledger.ledger.mempool import EXPIRING_MS, Full, Mempool, Share, ShareFull
from p2pledger.types import Millis
from tests.ledgers import START_MS, genesis, quota, signer, transaction

GENESIS = genesis()
PAYLOAD = KeyRevoke(signer("anyone").public_key, RevocationReason.UNSPECIFIED, 0)
ALL = Share("city", 10**6, 10**9)


def make(count: int):
    return [transaction(GENESIS, PAYLOAD, "city", "city 1") for _ in range(count)]


def taken(mempool, transactions, share):
    """How many go in before one is too many."""
    for count, one in enumerate(transactions):
        try:
            mempool.add(one, START_MS, share)
        except ShareFull:
            return count
    return len(transactions)


def test_no_sponsor_takes_more_than_its_quota_or_half_and_strangers_take_little_together():
    mempool = Mempool(64, 10**6, retry_after_ms=1)
    size = len(make(1)[0].encoded)
    rich, strangers = mempool.share("rich", quota()), mempool.share("whoever", None)
    assert strangers == mempool.share("anybody else", None)
    first = make(40)
    assert taken(mempool, first, rich) == 32
    assert taken(mempool, make(40), mempool.share("poor", quota(5))) == 5
    assert taken(mempool, make(40), mempool.share("brief", quota(size_bytes=3 * size + 1))) == 3
    assert taken(mempool, make(40), strangers) == 4
    mempool.remove([one.id for one in first[:2]])
    assert taken(mempool, make(40), rich) == 2


def test_bytes_are_a_bound_of_their_own():
    one, other = make(2)
    mempool = Mempool(10, len(one.encoded) + 1, retry_after_ms=250)
    assert mempool.add(one, START_MS, ALL)
    with pytest.raises(Full) as full:
        mempool.add(other, START_MS, ALL)
    assert full.value.retry_after_ms == 250
    assert other.id not in mempool and mempool.get(one.id) is one
    mempool.remove([one.id])
    assert mempool.add(other, START_MS, ALL)


def test_a_known_transaction_is_no_news_even_when_full():
    (one,) = make(1)
    mempool = Mempool(1, 10**6, retry_after_ms=1)
    assert mempool.add(one, START_MS, ALL)
    assert not mempool.add(one, START_MS + 5, ALL)


def test_what_stays_unincluded_counts_in_at_most_n_views():
    (one,) = make(1)
    mempool = Mempool(10, 10**6, retry_after_ms=1)
    mempool.add(one, START_MS, ALL)
    counts = [len(mempool.count_for_view(0, view, 4, set(), START_MS)) for view in range(1, 8)]
    assert counts == [1, 1, 1, 1, 0, 0, 0]


def test_while_others_become_final_it_counts_on():
    mempool, (waiting, unknown, *others) = Mempool(10, 10**6, retry_after_ms=1), make(5)
    mempool.add(waiting, START_MS, ALL)
    for number, other in enumerate(others):
        views = range(10 * number + 1, 10 * number + 8)
        counts = [waiting in mempool.count_for_view(0, view, 4, set(), START_MS) for view in views]
        assert counts == [True] * 4 + [False] * 3
        mempool.add(other, START_MS, ALL)
        mempool.settle([other.id], START_MS)
    mempool.settle([], START_MS)
    mempool.settle([unknown.id], START_MS)
    counts = [len(mempool.count_for_view(0, view, 4, set(), START_MS)) for view in range(91, 98)]
    assert counts == [1] * 4 + [0] * 3, "an empty block is no progress, nor is what never waited here"


def test_passed_over_is_what_younger_ones_have_overtaken_or_what_waits_while_nothing_moves():
    mempool, (first, second, third, unknown) = Mempool(10, 10**6, retry_after_ms=1), make(4)
    for one, after_ms in ((first, 0), (second, 5_000), (third, 9_000)):
        mempool.add(one, START_MS + after_ms, ALL)
    assert mempool.passed_over_before(START_MS + 9_000, 100) == START_MS + 8_900
    mempool.settle([second.id], START_MS + 9_100)
    assert mempool.passed_over_before(START_MS + 9_200, 100) == START_MS + 4_000
    assert mempool.passed_over_before(START_MS + 10_200, 100) == START_MS + 10_100
    mempool.settle([unknown.id], START_MS + 10_200)
    assert mempool.passed_over_before(START_MS + 10_200, 100) == START_MS + 10_100, "it never waited here"
    mempool.settle([third.id], START_MS + 10_200)
    assert mempool.passed_over_before(START_MS + 10_200, 3_000) == START_MS + 7_200


def test_a_view_of_a_later_epoch_is_another_view():
    (one,) = make(1)
    mempool = Mempool(10, 10**6, retry_after_ms=1)
    mempool.add(one, START_MS, ALL)
    assert mempool.count_for_view(0, 1, 4, set(), START_MS) == [one]
    assert mempool.count_for_view(0, 1, 4, set(), START_MS) == []
    assert mempool.count_for_view(1, 1, 4, set(), START_MS) == [one]


def test_what_left_an_unfinal_ancestor_counts_again_in_the_same_view():
    (one,) = make(1)
    mempool = Mempool(10, 10**6, retry_after_ms=1)
    mempool.add(one, START_MS, ALL)
    assert mempool.count_for_view(0, 1, 4, {one.id}, START_MS) == []
    assert mempool.count_for_view(0, 1, 4, set(), START_MS) == [one]


def test_a_young_transaction_waits_and_holds_back_what_came_after_it():
    old, young = make(2)
    mempool = Mempool(10, 10**6, retry_after_ms=1)
    mempool.add(old, START_MS, ALL)
    mempool.add(young, START_MS + 30, ALL)
    assert mempool.candidates(10, 10**6, 20, START_MS + 40, set()) == [old]
    assert mempool.candidates(10, 10**6, 20, START_MS + 50, set()) == [old, young]


def test_expiry_is_exact_to_the_millisecond():
    one = transaction(GENESIS, PAYLOAD, "city", "city 1", expires_ms=START_MS + 500)
    mempool = Mempool(10, 10**6, retry_after_ms=1)
    mempool.add(one, START_MS, ALL)
    assert mempool.expire(START_MS + 500) == []
    assert mempool.expire(START_MS + 501) == [one.id]
    assert len(mempool) == 0


def test_what_expires_much_later_is_found_when_its_time_has_come():
    at_ms = [START_MS + EXPIRING_MS * n for n in range(1, 5)]
    waiting = [transaction(GENESIS, PAYLOAD, "city", f"city {at}", expires_ms=at) for at in at_ms]
    mempool = Mempool(10, 10**6, retry_after_ms=1)
    mempool.add_many([waiting[3], waiting[1]], START_MS, [ALL] * 2)
    assert mempool.expire(START_MS) == []
    mempool.add(waiting[0], START_MS, ALL)
    assert mempool.expire(at_ms[0]) == []
    mempool.add(waiting[2], START_MS, ALL)
    assert mempool.expire(Millis(at_ms[2] + 1)) == [waiting[1].id, waiting[0].id, waiting[2].id]
    assert mempool.expire(at_ms[3]) == []
    assert mempool.expire(Millis(at_ms[3] + 1)) == [waiting[3].id]


def test_what_is_too_young_for_its_leader_counts_later_in_the_same_view():
    (one,) = make(1)
    mempool = Mempool(10, 10**6, retry_after_ms=1)
    mempool.add(one, START_MS, ALL)
    assert mempool.of_before([one], START_MS) == [] and mempool.of_before([one], START_MS + 1) == [one]
    assert mempool.count_for_view(0, 1, 4, set(), START_MS - 1) == []
    assert mempool.count_for_view(0, 1, 4, set(), START_MS) == [one]


def test_what_is_held_is_nobodys_until_it_is_released_and_is_as_old_as_its_release():
    first, second, third = make(3)
    mempool = Mempool(10, 10**6, retry_after_ms=1)
    for at, one in enumerate((first, second, third)):
        mempool.add(one, START_MS + at, ALL)
    mempool.hold([first.id, bytes(32)])
    assert mempool.candidates(10, 10**6, 10, START_MS + 100, ()) == [second, third]
    assert mempool.count_for_view(0, 1, 4, (), START_MS + 100) == [second, third]
    assert not mempool.has_uncounted(())
    mempool.release([first.id, second.id], START_MS + 95)
    assert mempool.candidates(10, 10**6, 10, START_MS + 100, ()) == [second, third]
    assert mempool.candidates(10, 10**6, 10, START_MS + 105, ()) == [second, third, first]
    assert mempool.count_for_view(0, 1, 4, (), START_MS + 95) == [first]
    mempool.hold([third.id])
    mempool.remove([third.id])
    mempool.add(third, START_MS, ALL)
    assert third in mempool.candidates(10, 10**6, 10, START_MS + 200, ())


def room_of(mempool, sponsors, waiting_max):
    """How many of each wait when all of these take turns as long as they may."""
    counts = dict.fromkeys(sponsors, 0)
    while free := [sponsor for sponsor in sponsors if not mempool.is_crowded(sponsor, waiting_max)]:
        for sponsor in free:
            counts[sponsor] += taken(mempool, make(1), mempool.share(sponsor, quota()))
    return list(counts.values())


@pytest.mark.parametrize(("sponsors", "counts"), [("a", [60]), ("ab", [35, 35]), ("abcd", [19] * 4)])
def test_a_sponsor_is_crowded_with_three_times_what_is_free_of_what_may_wait(sponsors, counts):
    mempool = Mempool(200, 10**6, retry_after_ms=1)
    assert room_of(mempool, sponsors, 80) == counts
    assert room_of(mempool, ["new"], 80)[0] > 0, "whoever comes finds room"


def test_who_is_crowded_is_not_any_more_when_the_ledger_gets_faster_or_others_have_gone():
    mempool = Mempool(200, 10**6, retry_after_ms=1)
    others = make(40)
    assert taken(mempool, others, mempool.share("others", quota())) == 40
    assert taken(mempool, make(30), mempool.share("one", quota())) == 30
    assert mempool.is_crowded("one", 80) and not mempool.is_crowded("one", 81)
    mempool.settle([one.id for one in others], 1)
    assert not mempool.is_crowded("one", 80)
