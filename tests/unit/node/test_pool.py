"""Transactions are judged once, wait within bounds, and end as exactly one thing."""

from dataclasses import replace

import pytest
import trio
from p2pledger.chain.payloads import KeyRevoke, RevocationReason
from p2pledger.chain.transaction import Outcome, Transaction
from p2pledger.errors import InvalidMessage, InvalidTransaction
from p2pledger.ledger import mempool as mempool_module
from p2pledger.ledger.fates import Fate
from p2pledger.ledger.machine import Machine, Round
from p2pledger.node import backlog
from p2pledger.node import pool as pool_module
from p2pledger.node.clock import Clock
from p2pledger.node.service import Busy
from p2pledger.types import Signature
from tests import ledgers
from tests.unit.node.solo import Solo, fact, genesis


@pytest.fixture
def solo(tmp_path):
    made = Solo(tmp_path)
    yield made
    made.signer.close()


def revoking(of, key, by="city 1"):
    payload = KeyRevoke(key, RevocationReason.COMPROMISED, 0)
    return ledgers.transaction(of, payload, "city", by, expires_ms=Clock().now() + 60_000)


def forged(transaction):
    return Transaction(transaction.body, (Signature(bytes(63) + b"\1"),) * len(transaction.signatures))


def let_wait(monkeypatch, count):
    """At a node that has had nothing to do yet, so many may wait."""
    monkeypatch.setattr(backlog, "WAITING_MIN", count)
    monkeypatch.setattr(backlog, "WAITING_START", count)


async def test_each_of_many_is_judged_on_its_own(solo):
    good, other = fact(solo.genesis), fact(genesis(quota=ledgers.quota(7)))
    late = fact(solo.genesis, expires_ms=solo.clock.now() - 1_000)
    offered = [good.encoded, good.encoded[:-1], forged(good).encoded, other.encoded, late.encoded]
    offered += [fact(solo.genesis).encoded for _ in range(5)]
    answers = await solo.pool.submit(offered)
    codes = [getattr(answer, "code", "accepted") for answer in answers]
    assert codes[:5] == ["accepted", "malformed", "bad_signature", "wrong_genesis", "expired"]
    assert codes[5:] == ["accepted"] * 5
    assert solo.count("mempool_txs_received_total", source="api", result="accepted") == 6
    for kind in (InvalidMessage, InvalidTransaction):
        assert any(isinstance(answer, kind) for answer in answers)


async def test_a_pending_one_is_accepted_again_and_counted_as_repeated(solo):
    one = fact(solo.genesis)
    assert await solo.pool.submit([one.encoded]) == await solo.pool.submit([one.encoded]) == [one]
    assert len(solo.pool.mempool) == 1
    assert solo.count("mempool_txs_received_total", source="api", result="repeated") == 1


async def test_no_sponsor_keeps_the_others_out(solo):
    answers = await solo.pool.submit([fact(solo.genesis).encoded for _ in range(53)])
    assert [isinstance(answer, Busy) for answer in answers] == [False] * 50 + [True] * 3
    assert answers[-1].retry_after_ms > 0 and answers[-1].code == "too_many_pending"
    assert solo.count("mempool_txs_received_total", source="api", result="too_many_pending") == 3
    other = fact(solo.genesis, "utility 1", "utility")
    assert await solo.pool.submit([other.encoded]) == [other]


async def test_a_thief_who_fills_its_owners_share_cannot_keep_the_revocation_out(solo, monkeypatch):
    let_wait(monkeypatch, 20)
    stolen = ledgers.signer("city gateway").public_key
    for _ in range(15):
        await solo.pool.submit([fact(solo.genesis, "city gateway").encoded])
    assert [a.code for a in await solo.pool.submit([fact(solo.genesis).encoded])] == ["too_many_pending"]
    revocation = revoking(solo.genesis, stolen)
    assert await solo.pool.submit([revocation.encoded]) == [revocation]
    # Nor can the thief say it for itself, whatever it names.
    forged_wish = revoking(solo.genesis, stolen, "city gateway")
    assert [a.code for a in await solo.pool.submit([forged_wish.encoded])] == ["not_entitled"]


async def test_a_full_mempool_says_when_to_come_back(solo):
    await solo.pool.submit([fact(solo.genesis).encoded for _ in range(50)])
    others = [fact(solo.genesis, "utility 1", "utility") for _ in range(50)]
    await solo.pool.submit([one.encoded for one in others])
    answers = await solo.pool.submit([fact(solo.genesis, "admin 1", "authority-1").encoded])
    assert [answer.code for answer in answers] == ["mempool_full"]
    assert solo.pool.fate(fact(solo.genesis).id).outcome is Outcome.UNKNOWN


async def test_more_than_becomes_final_soon_is_refused_before_it_is_looked_at(solo, monkeypatch):
    let_wait(monkeypatch, 20)
    offered = [fact(solo.genesis, "utility 1", "utility") for _ in range(15)]
    answers = await solo.pool.submit([one.encoded for one in offered])
    assert answers == offered
    answers = await solo.pool.submit([fact(solo.genesis, "utility 1", "utility").encoded])
    assert [answer.code for answer in answers] == ["too_many_pending"], "a quarter of the room is the others'"
    assert await solo.pool.submit([offered[0].encoded]) == [offered[0]], "what waits already is no more"
    answers = await solo.pool.submit([fact(solo.genesis).encoded for _ in range(5)] + [b"not even looked at"])
    assert [getattr(answer, "code", "accepted") for answer in answers] == ["accepted"] * 5 + ["too_busy"]
    assert solo.count("mempool_txs_received_total", source="api", result="too_busy") == 1
    settle(solo, *offered)
    assert len(await solo.pool.submit([fact(solo.genesis).encoded])) == 1


async def test_a_burst_after_a_pause_is_taken_as_the_one_before_it(solo, monkeypatch):
    monkeypatch.setattr(backlog, "WAITING_MIN", 4)
    monkeypatch.setattr(backlog, "MEMORY_MS", 1)
    start_ms, passed_ms = solo.clock.now(), 0
    monkeypatch.setattr(solo.pool, "_now", lambda: start_ms + passed_ms)
    first = [fact(solo.genesis) for _ in range(3)]
    assert await solo.pool.submit([one.encoded for one in first]) == first
    passed_ms = 100
    settle(solo, *first)
    passed_ms = 5_000
    settle(solo)
    burst = [fact(solo.genesis) for _ in range(20)]
    assert await solo.pool.submit([one.encoded for one in burst]) == burst


async def test_a_crowd_is_refused_each_for_itself_among_what_is_not_of_it(solo, monkeypatch):
    let_wait(monkeypatch, 24)
    waiting = [fact(solo.genesis) for _ in range(18)]
    await solo.pool.submit([one.encoded for one in waiting])
    new, other = fact(solo.genesis), fact(solo.genesis, "utility 1", "utility")
    foreign = fact(genesis(quota=ledgers.quota(7)))
    offered = [new, waiting[3], other, foreign, new]
    answers = await solo.pool.submit([new.encoded[:-1], *(one.encoded for one in offered)])
    codes = [getattr(answer, "code", "accepted") for answer in answers]
    crowd = "too_many_pending"
    assert codes == ["malformed", crowd, "accepted", "accepted", "wrong_genesis", crowd]
    assert solo.pool.mempool.transactions() == [*waiting, other]
    for result, count in ((crowd, 2), ("repeated", 1), ("accepted", 19), ("malformed", 1)):
        assert solo.count("mempool_txs_received_total", source="api", result=result) == count


async def test_what_strangers_sign_takes_nothing_from_the_sponsor_that_they_name(solo):
    strange = [fact(solo.genesis, "a stranger") for _ in range(20)]
    assert await solo.pool.take(strange, verified=True)
    assert len(solo.pool.mempool) == 6
    good = fact(solo.genesis)
    assert await solo.pool.submit([good.encoded]) == [good]


async def test_what_peers_send_is_taken_once_and_forgery_is_told(solo):
    news = []
    solo.pool.on_news = lambda: news.append(1)
    one = fact(solo.genesis)
    assert await solo.pool.take([one], verified=False)
    assert await solo.pool.take([one], verified=False) and news == [1]
    assert not await solo.pool.take([forged(fact(solo.genesis))], verified=False)
    assert len(solo.pool.mempool) == 1


async def in_the_chain(directory, *transactions):
    """A node that was started anew, with these in its chain."""
    before = Solo(directory)
    await before.pool.submit([one.encoded for one in transactions])
    async with before.running():
        for one in transactions:
            assert (await before.pool.wait(one.id, 10_000)).outcome is Outcome.FINAL
    return Solo(directory, before.genesis, before.store)


async def test_each_of_many_that_a_peer_sends_is_judged_on_its_own(tmp_path):
    final = fact(genesis())
    solo = await in_the_chain(tmp_path, final)
    now, parameters = solo.clock.now(), solo.genesis.parameters
    good, strange = fact(solo.genesis), fact(solo.genesis, "a stranger")
    late = fact(solo.genesis, expires_ms=now - 1_000)
    far = fact(solo.genesis, expires_ms=now + 2 * parameters.expiry_window_ms + parameters.clock_drift_ms)
    foreign, other = fact(genesis(quota=ledgers.quota(7))), fact(solo.genesis, "utility 1", "utility")
    sent = [final, good, late, forged(fact(solo.genesis)), far, foreign, strange, good, other]
    assert not await solo.pool.take(sent, verified=False)
    assert solo.pool.mempool.transactions() == [good, strange, other]
    refused = ("replayed", "expired", "bad_signature", "expires_too_late", "wrong_genesis")
    for result, count in (*((code, 1) for code in refused), ("accepted", 4), ("repeated", 0)):
        assert solo.count("mempool_txs_received_total", source="gossip", result=result) == count
    assert await solo.pool.take([good, other], verified=False)
    assert solo.count("mempool_txs_received_total", source="gossip", result="accepted") == 4
    solo.signer.close()


async def test_where_room_ends_what_comes_with_it_and_has_room_is_taken(solo):
    many = [fact(solo.genesis) for _ in range(52)]
    others = [fact(solo.genesis, "utility 1", "utility") for _ in range(2)]
    assert await solo.pool.take([*many[:51], others[0], many[51], others[1]], verified=True)
    assert solo.pool.mempool.transactions() == [*many[:50], *others]
    assert solo.count("mempool_txs_received_total", source="gossip", result="too_many_pending") == 2
    assert solo.count("mempool_txs_received_total", source="gossip", result="accepted") == 52


async def test_what_had_expired_here_and_is_sent_again_is_open_again(solo):
    one = fact(solo.genesis)
    await solo.pool.submit([one.encoded])
    settle(solo, time_ms=one.body.expires_ms + 1)
    assert solo.pool.fate(one.id).outcome is Outcome.EXPIRED
    assert await solo.pool.take([one], verified=True)
    assert solo.pool.fate(one.id).outcome is Outcome.PENDING


async def test_a_body_kept_for_a_block_that_lost_is_pending_once_somebody_sends_it(solo):
    one = fact(solo.genesis)
    solo.pool.keep([one])  # what a guard file kept, or a proposal needed
    assert len(solo.pool.mempool) == 0
    # What is sent has other signatures than those that were verified: the id does not cover them.
    assert await solo.pool.take([forged(one)], verified=True)
    assert solo.pool.mempool.transactions() == [one]


async def test_bodies_that_were_not_asked_for_are_not_kept(solo):
    asked, unasked = fact(solo.genesis), fact(solo.genesis)
    assert await solo.pool.take_fetched([asked, unasked], {asked.id})
    assert solo.pool.get(asked.id) == asked and solo.pool.get(unasked.id) is None
    assert not await solo.pool.take_fetched([forged(unasked)], {unasked.id})


async def test_fetched_bodies_are_bounded_in_bytes_and_the_oldest_go_first(solo, monkeypatch):
    bodies = [fact(solo.genesis) for _ in range(5)]
    monkeypatch.setattr(pool_module, "FETCHED_BYTES_MAX", sum(len(one.encoded) for one in bodies[1:4]))
    for _ in range(2):  # what is here already is not counted twice
        solo.pool.keep(bodies[:3])
    assert all(solo.pool.get(one.id) for one in bodies[:3])
    settle(solo, bodies[0])
    solo.pool.keep(bodies[3:])
    assert [one for one in bodies if solo.pool.get(one.id)] == bodies[2:]


def settle(solo, *transactions, time_ms=None):
    """As after a stored block that holds these; the store itself is left behind on purpose."""
    height, by_id = solo.store.tip().height + 1, {one.id: one for one in transactions}
    execution = replace(Machine(solo.genesis).start(), height=height, transactions=by_id, writes={})
    solo.pool.settle(execution, solo.clock.now() if time_ms is None else time_ms)


async def test_a_final_one_is_final_for_those_who_wait(tmp_path):
    solo = Solo(tmp_path)
    one = fact(solo.genesis)
    await solo.pool.submit([one.encoded])
    fates = []

    async def wait():
        fates.append(await solo.pool.wait(one.id, 10_000))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        assert solo.pool.fate(one.id).outcome is Outcome.PENDING
        async with solo.running():
            await solo.pool.wait(one.id, 10_000)
    assert (fates[0].outcome, fates[0].height) == (Outcome.FINAL, 1)
    assert one.id not in solo.pool.mempool
    assert solo.count("tx_finality_latency_seconds_count") == 1


async def test_what_was_refused_here_and_is_final_all_the_same_is_final(tmp_path):
    one = fact(genesis())
    solo = await in_the_chain(tmp_path, one)
    solo.pool._fates.end(one.id, Fate(Outcome.REFUSED, code="over_quota"))  # on a parent of its own
    settle(solo, one)
    assert solo.pool.fate(one.id).outcome is Outcome.FINAL
    solo.signer.close()


async def test_waiting_ends_without_an_end_and_leaves_nothing_behind(solo):
    fate = await solo.pool.wait(fact(solo.genesis).id, 10)
    assert fate.outcome is Outcome.UNKNOWN and solo.pool._waiting == {}


async def test_what_expired_has_ended_once_no_block_may_hold_it(solo):
    one = fact(solo.genesis, expires_ms=solo.clock.now() + 2_000)
    await solo.pool.submit([one.encoded])
    settle(solo, time_ms=one.body.expires_ms)
    assert solo.pool.fate(one.id).outcome is Outcome.PENDING
    settle(solo, time_ms=one.body.expires_ms + 1)
    assert solo.pool.fate(one.id).outcome is Outcome.EXPIRED


async def test_what_leaders_leave_out_is_refused_with_its_code(solo, monkeypatch):
    of = genesis(quota=ledgers.quota(1))
    monkeypatch.setattr(pool_module, "LEFT_OVER_MS", 0)
    solo.machine = None
    first, second = fact(of), fact(of)
    ledger = ledgers.Ledger(of)
    solo.pool._machine, solo.pool._genesis, solo.pool._store = ledger.machine, of, Reading(ledger)
    assert await solo.pool.submit([second.encoded]) == [second]
    at = Round(0, 1, solo.clock.now())
    execution = ledger.machine.execute(ledger.reader, ledger.execution.frontier, at, [first])
    ledger.reader = ledgers.Overlay(ledger.reader, execution)
    solo.pool.suspect([second.id])
    settle(solo, first, time_ms=at.time_ms + 1)
    fate = solo.pool.fate(second.id)
    assert (fate.outcome, fate.code) == (Outcome.REFUSED, "over_quota")
    assert len(solo.pool.mempool) == 0


async def test_only_what_younger_ones_overtook_is_tried_anew_while_the_ledger_moves(solo):
    tried, now_ms = [], solo.clock.now()
    solo.pool._now = lambda: now_ms
    solo.pool._check = lambda transaction, time_ms: tried.append(transaction.id)

    async def after_ms(ms):
        nonlocal now_ms
        now_ms += ms
        one = fact(solo.genesis, expires_ms=now_ms + 60_000)
        assert await solo.pool.submit([one.encoded]) == [one]
        return one

    first, waiting = await after_ms(0), await after_ms(0)
    now_ms += 1_500
    settle(solo, first, time_ms=now_ms)
    assert tried == []  # it waits its turn, however long that is
    younger = await after_ms(2 * mempool_module.OVERTAKEN_MS)
    settle(solo, younger, time_ms=now_ms)
    assert tried == [waiting.id]


class Reading:
    """A store's state over a test ledger."""

    def __init__(self, ledger):
        self.ledger = ledger

    def tip(self):
        return type("Tip", (), {"height": 0})

    def locate(self, transaction_id):
        return None

    def __getattr__(self, name):
        return getattr(self.ledger.reader, name)


async def test_what_nobody_answered_is_gossiped_again(solo, monkeypatch):
    one = fact(solo.genesis)
    await solo.pool.submit([one.encoded])
    assert solo.pool.unspread() == []
    monkeypatch.setattr(pool_module, "SPREAD_MS", -1)
    assert solo.pool.unspread() == [one], "nothing becomes final"
    settle(solo, one)
    assert solo.pool.unspread() == []


async def test_what_waits_its_turn_is_not_said_again_but_what_was_passed_over_is(solo, monkeypatch):
    monkeypatch.setattr(pool_module, "SPREAD_MS", -1)
    mine, older, younger = (fact(solo.genesis) for _ in range(3))
    await solo.pool.take([older], verified=False)
    await solo.pool.submit([mine.encoded])
    await solo.pool.take([younger], verified=False)
    settle(solo, older)
    assert solo.pool.unspread() == []
    monkeypatch.setattr(mempool_module, "OVERTAKEN_MS", -1)
    settle(solo, younger)
    assert solo.pool.unspread() == [mine]


async def test_what_is_in_the_chain_is_never_pending_again_and_never_ends_otherwise(tmp_path):
    late, left_out = fact(genesis(), expires_ms=Clock().now() + 2_000), fact(genesis())
    solo = await in_the_chain(tmp_path, late, left_out)
    assert await solo.pool.take([late, left_out], verified=False)  # from a peer that is behind
    assert [solo.pool.fate(one.id).outcome for one in (late, left_out)] == [Outcome.FINAL] * 2
    assert len(solo.pool.mempool) == 0
    solo.pool.mempool.add(left_out, solo.clock.now(), solo.pool.mempool.share("city", None))
    solo.pool.suspect([left_out.id])  # as if it had come before its block did
    settle(solo, time_ms=late.body.expires_ms + 1)
    assert [solo.pool.fate(one.id).outcome for one in (late, left_out)] == [Outcome.FINAL] * 2
    assert len(solo.pool.mempool) == 0
    solo.signer.close()


async def test_nothing_is_refused_while_a_block_that_may_become_final_holds_it(solo):
    one = fact(solo.genesis)
    await solo.pool.submit([one.encoded])
    solo.pool._machine = Machine(genesis(quota=ledgers.quota(7)))  # which refuses it
    branch = {one.id}
    solo.pool.is_unfinal = branch.__contains__
    solo.pool.suspect([one.id])
    settle(solo)
    assert solo.pool.fate(one.id).outcome is Outcome.PENDING
    branch.clear()
    solo.pool.suspect([one.id])
    settle(solo)
    assert solo.pool.fate(one.id).outcome is Outcome.REFUSED


async def test_what_came_after_the_newest_final_block_does_not_expire_too_late(solo):
    """A block may become final long after its time; what was accepted meanwhile is judged by later ones."""
    one = fact(solo.genesis, expires_ms=solo.clock.now() + solo.genesis.parameters.expiry_window_ms)
    assert await solo.pool.submit([one.encoded]) == [one]
    solo.pool.suspect([one.id])
    settle(solo, time_ms=solo.clock.now() - 3_000)
    assert solo.pool.fate(one.id).outcome is Outcome.PENDING


async def test_what_is_final_is_counted_by_schema_and_a_fork_is_counted(tmp_path):
    solo = Solo(tmp_path)
    one = fact(solo.genesis)
    await solo.pool.submit([one.encoded])
    async with solo.running():
        await solo.pool.wait(one.id, 10_000)
        await trio.testing.wait_all_tasks_blocked()
    assert solo.count("records_total", schema="sensor.reading/1") == 1
    block = solo.store.block(1)
    solo.exchange._count_fork(block)
    assert solo.count("chain_conflicting_finality_total") == 0
    solo.exchange._count_fork(replace(block, header=replace(block.header, proposer=1)))
    assert solo.count("chain_conflicting_finality_total") == 1
