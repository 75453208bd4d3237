"""The mempool against a plain list, and fates: every accepted id ends exactly once."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from p2pledger.chain.transaction import Outcome
from p2pledger.ledger.fates import EXPIRED, Fate, Fates
from p2pledger.ledger.mempool import Full, Mempool, ShareFull
from tests.ledgers import START_MS, genesis, quota, transaction
from tests.properties.effort import effort

GENESIS = genesis()
PAYLOADS = [b"\x80" * size for size in (1, 40, 400)]
POOL = [
    transaction(
        GENESIS, PAYLOADS[n % 3], "city", "city 1", expires_ms=START_MS + 500 * n, kind="record.append"
    )
    for n in range(1, 37)
]
SIZES = {one.id: len(one.encoded) for one in POOL}
LARGEST = max(SIZES.values())
COUNT_MAX, BYTES_MAX, AUTHORITIES = 16, 10 * LARGEST, 3
QUOTAS = {"poor": quota(4), "brief": quota(size_bytes=3 * LARGEST), "rich": quota(), "unknown": None}
SHARES = {
    "poor": ("poor", 4, BYTES_MAX // 2),
    "brief": ("brief", 8, 3 * LARGEST),
    "rich": ("rich", 8, BYTES_MAX // 2),
    "unknown": ("", 1, BYTES_MAX // 16),
}
"""Account, transactions and bytes: what a quota allows, and half of the whole at most."""
sponsors = st.sampled_from([*QUOTAS, "brief", "brief"])
chosen = st.integers(0, len(POOL) - 1).map(lambda n: POOL[n])


class MempoolAgainstAList(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.mempool = Mempool(COUNT_MAX, BYTES_MAX, retry_after_ms=70)
        self.fates = Fates(1_000)
        self.model: dict[bytes, int] = {}
        self.payers: dict[bytes, str] = {}
        self.views: dict[bytes, set[int]] = {}
        self.budgets: dict[bytes, int] = {}
        self.held: set[bytes] = set()
        self.passed: set[bytes] = set()
        self.ended: dict[bytes, Fate] = {}
        self.final: set[bytes] = set()
        self.now, self.view = START_MS, 1

    @rule(one=chosen, sponsor=sponsors)
    def add(self, one, sponsor):
        if one.id in self.over():
            return
        expected = self.expect(one, sponsor)
        try:
            taken = self.mempool.add(one, self.now, self.mempool.share(sponsor, QUOTAS[sponsor]))
        except Full as full:
            taken = full
        self.check_same([taken], [expected])

    @rule(many=st.lists(st.tuples(chosen, sponsors), max_size=24), one_sponsor=st.none() | sponsors)
    def add_many(self, many, one_sponsor):
        many = [(one, one_sponsor or sponsor) for one, sponsor in many if one.id not in self.over()]
        expected = [self.expect(one, sponsor) for one, sponsor in many]
        shares = [self.mempool.share(sponsor, QUOTAS[sponsor]) for _, sponsor in many]
        self.check_same(self.mempool.add_many([one for one, _ in many], self.now, shares), expected)

    def over(self):
        return self.ended.keys() | self.final

    def check_same(self, taken, expected):
        assert [one if isinstance(one, bool) else type(one) for one in taken] == expected
        assert all(one.retry_after_ms == 70 for one in taken if isinstance(one, Full))

    def expect(self, one, sponsor):
        """What comes of offering one by itself, and the model after that."""
        if one.id in self.model:
            return False
        account, count_max, bytes_max = SHARES[sponsor]
        own = [i for i, payer in self.payers.items() if payer == account]
        if len(self.model) == COUNT_MAX or self.bytes_of(self.model) + SIZES[one.id] > BYTES_MAX:
            return Full
        if len(own) >= count_max or self.bytes_of(own) + SIZES[one.id] > bytes_max:
            return ShareFull
        self.model[one.id], self.payers[one.id] = self.now, account
        self.views[one.id], self.budgets[one.id] = set(), AUTHORITIES
        return True

    def bytes_of(self, ids):
        return sum(SIZES[one] for one in ids)

    @rule(one=chosen, refused=st.booleans())
    def end(self, one, refused):
        if one.id not in self.model:
            return
        fate = Fate(Outcome.REFUSED, code="duplicate") if refused else EXPIRED
        self.mempool.remove([one.id, bytes(32)])
        del self.model[one.id], self.payers[one.id]
        assert self.fates.end(one.id, fate)
        self.ended[one.id] = fate

    @rule(some=st.sets(chosen.map(lambda one: one.id), max_size=4))
    def settle(self, some):
        self.mempool.settle([*some, bytes(32)], self.now)
        final = some & self.model.keys()
        if final:
            self.budgets = dict.fromkeys(self.budgets, AUTHORITIES)
        self.fates.remove(final)
        for one in final:
            del self.model[one], self.payers[one]
            self.final.add(one)

    @rule(some=st.lists(chosen.map(lambda one: one.id), max_size=6))
    def hold(self, some):
        self.mempool.hold(some)
        self.held |= set(some) & self.model.keys()

    @rule(some=st.lists(chosen.map(lambda one: one.id), max_size=6))
    def release(self, some):
        self.mempool.release(some, self.now)
        for one in some:
            if one in self.held:
                self.held.remove(one)
                if one in self.model:
                    del self.model[one]
                    self.model[one] = self.now

    @rule(by_ms=st.integers(0, 800))
    def time_passes(self, by_ms):
        self.pass_until(self.now + by_ms)

    @rule(by_ms=st.sampled_from([0, 1]))
    def time_passes_to_the_edge_of_an_expiry(self, by_ms):
        nearest = min((one.body.expires_ms for one in POOL if one.id in self.model), default=self.now)
        self.pass_until(nearest + by_ms)

    def pass_until(self, time_ms):
        self.now = max(self.now, time_ms)
        expired = self.mempool.expire(self.now)
        by_id = {one.id: one for one in POOL}
        assert set(expired) == {i for i in self.model if by_id[i].body.expires_ms < self.now}
        for one in expired:
            del self.model[one], self.payers[one]
            assert self.fates.end(one, EXPIRED)
            self.ended[one] = EXPIRED

    @rule(
        exclude=st.sets(chosen.map(lambda one: one.id), max_size=6),
        min_age_ms=st.sampled_from([0, 500]),
        count=st.integers(0, 6),
        size=st.integers(0, BYTES_MAX // 2),
    )
    def offer(self, exclude, min_age_ms, count, size):
        fitting = []
        for one, came in self.model.items():
            if one not in exclude and one not in self.held:
                if came + min_age_ms > self.now:
                    break
                if len(fitting) == count or self.bytes_of([*fitting, one]) > size:
                    break
                fitting.append(one)
        offered = self.mempool.candidates(count, size, min_age_ms, self.now, exclude)
        assert [one.id for one in offered] == fitting

    @rule(
        exclude=st.sets(chosen.map(lambda one: one.id)),
        enter=st.booleans(),
        age_ms=st.sampled_from([0, 500]),
    )
    def count(self, exclude, enter, age_ms):
        self.view += enter
        self.passed = set() if enter else self.passed
        by_ms = self.now - age_ms
        found = self.mempool.count_for_view(0, self.view, AUTHORITIES, exclude, by_ms)
        counted = [one.id for one in found]
        self.passed |= {i for i in self.model if not self.budgets[i] and self.view not in self.views[i]}
        left = [i for i in self.model if self.view not in self.views[i] and i not in self.passed]
        free = [i for i in left if i not in exclude and i not in self.held]
        expected = [i for i in free if self.model[i] <= by_ms]
        assert sorted(counted) == sorted(expected)
        for one in counted:
            self.views[one].add(self.view)
            self.budgets[one] -= 1
        assert self.mempool.has_uncounted(exclude) == (len(expected) < len(free))

    @invariant()
    def holds_what_it_should_within_bounds(self):
        assert [one.id for one in self.mempool.transactions()] == list(self.model)
        assert len(self.mempool) == len(self.model) <= COUNT_MAX
        assert self.mempool.size_bytes == self.bytes_of(self.model) <= BYTES_MAX

    @invariant()
    def knows_who_waits_since_when(self):
        early = [i for i, came in self.model.items() if came < self.now - 400]
        assert self.mempool.arrived_before(self.now - 400) == early
        assert {one.id for one in self.mempool.of_before(POOL, self.now - 400)} == set(early)

    @invariant()
    def every_id_is_pending_or_has_ended_once(self):
        for one in POOL:
            assert self.fates.get(one.id) == self.ended.get(one.id)
            assert (one.id in self.mempool) == (one.id in self.model)
            assert [one.id in ended for ended in (self.ended, self.final, self.mempool)].count(True) <= 1


TestMempoolAgainstAList = MempoolAgainstAList.TestCase
TestMempoolAgainstAList.settings = effort(80)
