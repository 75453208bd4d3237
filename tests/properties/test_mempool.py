"""The mempool against a plain list, and fates: every accepted id ends exactly once."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from p2pledger.chain.payloads import KeyRevoke, RevocationReason
from p2pledger.chain.transaction import Outcome
from p2pledger.ledger.fates import EXPIRED, Fate, Fates
from p2pledger.ledger.mempool import Full, Mempool, Share
from tests.ledgers import START_MS, genesis, signer, transaction

GENESIS = genesis()
PAYLOAD = KeyRevoke(signer("anyone").public_key, RevocationReason.UNSPECIFIED, 0)
POOL = [transaction(GENESIS, PAYLOAD, "city", "city 1", expires_ms=START_MS + 700 * n) for n in range(1, 15)]
SIZE = len(POOL[0].encoded)
COUNT_MAX, BYTES_MAX, AUTHORITIES = 8, 10 * SIZE, 3
SHARE = Share("city", COUNT_MAX, BYTES_MAX)
chosen = st.integers(0, len(POOL) - 1).map(lambda n: POOL[n])


class MempoolAgainstAList(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.mempool = Mempool(COUNT_MAX, BYTES_MAX, retry_after_ms=70)
        self.fates = Fates(1_000)
        self.model: dict[bytes, int] = {}
        self.views: dict[bytes, set[int]] = {}
        self.ended: dict[bytes, Fate] = {}
        self.now, self.view = START_MS, 1

    @rule(one=chosen)
    def add(self, one):
        if one.id in self.ended:
            return
        try:
            taken = self.mempool.add(one, self.now, SHARE)
        except Full as full:
            assert len(self.model) == COUNT_MAX and full.retry_after_ms == 70
            return
        assert taken == (one.id not in self.model)
        self.model.setdefault(one.id, self.now)
        if taken:
            self.views[one.id] = set()

    @rule(one=chosen, refused=st.booleans())
    def end(self, one, refused):
        if one.id not in self.model:
            return
        fate = Fate(Outcome.REFUSED, code="duplicate") if refused else Fate(Outcome.FINAL, height=3)
        self.mempool.remove([one.id, bytes(32)])
        del self.model[one.id]
        assert self.fates.end(one.id, fate)
        self.ended[one.id] = fate

    @rule(by_ms=st.integers(0, 1_500))
    def time_passes(self, by_ms):
        self.now += by_ms
        expired = self.mempool.expire(self.now)
        by_id = {one.id: one for one in POOL}
        assert set(expired) == {i for i in self.model if by_id[i].body.expires_ms < self.now}
        for one in expired:
            del self.model[one]
            assert self.fates.end(one, EXPIRED)
            self.ended[one] = EXPIRED

    @rule(exclude=st.sets(chosen.map(lambda one: one.id)), min_age_ms=st.sampled_from([0, 500]))
    def offer(self, exclude, min_age_ms):
        offered = self.mempool.candidates(4, 3 * SIZE, min_age_ms, self.now, exclude)
        good = [i for i, came in self.model.items() if i not in exclude and came + min_age_ms <= self.now]
        assert [one.id for one in offered] == good[:3]

    @rule(
        exclude=st.sets(chosen.map(lambda one: one.id)),
        enter=st.booleans(),
        age_ms=st.sampled_from([0, 500]),
    )
    def count(self, exclude, enter, age_ms):
        self.view += enter
        by_ms = self.now - age_ms
        found = self.mempool.count_for_view(0, self.view, AUTHORITIES, exclude, by_ms)
        counted = [one.id for one in found]
        expected = [
            i
            for i, came in self.model.items()
            if i not in exclude
            and came <= by_ms
            and self.view not in self.views[i]
            and len(self.views[i]) < AUTHORITIES
        ]
        assert sorted(counted) == sorted(expected)
        for one in counted:
            self.views[one].add(self.view)
        young = [i for i, came in self.model.items() if came > by_ms and len(self.views[i]) < AUTHORITIES]
        waiting = [i for i in young if i not in exclude and self.view not in self.views[i]]
        assert self.mempool.has_uncounted(exclude) == bool(waiting)

    @invariant()
    def holds_what_it_should_within_bounds(self):
        assert [one.id for one in self.mempool.transactions()] == list(self.model)
        assert len(self.mempool) == len(self.model) <= COUNT_MAX
        assert self.mempool.size_bytes == SIZE * len(self.model) <= BYTES_MAX

    @invariant()
    def knows_who_waits_since_when(self):
        early = [i for i, came in self.model.items() if came < self.now - 400]
        assert self.mempool.arrived_before(self.now - 400) == early
        assert all(self.mempool.arrived_ms(i) == came for i, came in self.model.items())

    @invariant()
    def every_id_is_pending_or_has_ended_once(self):
        for one in POOL:
            assert self.fates.get(one.id) == self.ended.get(one.id)
            assert (one.id in self.mempool) == (one.id in self.model)
            assert not (one.id in self.ended and one.id in self.mempool)


TestMempoolAgainstAList = MempoolAgainstAList.TestCase
