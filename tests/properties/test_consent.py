"""Consent's invariants under any run of rules, several to a block, held against books of their own."""

from itertools import count

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from p2pledger.chain.genesis import RESIDENTS
from p2pledger.chain.payloads import (
    AccessRefused,
    AccessServed,
    EraseDone,
    EraseRequest,
    ErasureMethod,
    GrantRevoke,
    HoldPlace,
    MandateEnd,
    Power,
    Price,
    Purpose,
    RefusalReason,
)
from p2pledger.errors import InvalidTransaction
from p2pledger.ledger.modules.consent import is_entitled, sealed_accesses, uses
from p2pledger.ledger.modules.consent.rows import DATA, INTENTS
from p2pledger.simulator.invariants.consent import ConsentInvariants
from p2pledger.types import Hash, Height, Millis
from tests.asking import LedgerChain, every
from tests.consents import (
    ADMINS,
    CUSTODIANS,
    DAY_MS,
    GATEWAY,
    ConsentLedger,
    ask,
    give,
    key,
    mandate,
    register,
)
from tests.properties.effort import effort

HANDLES = ("handle 0", "handle 1")
BUYERS = ("utility", "city")
ABSENT = Hash(bytes(32))
handles, buyers = st.sampled_from(HANDLES), st.sampled_from(BUYERS)
custodians = st.sampled_from(CUSTODIANS)
numbers = st.integers(0, 7)
likely, rarely = st.sampled_from([True, True, True, False]), st.sampled_from([False, False, True])
mandates = st.sampled_from([bytes([n]) * 16 for n in (0, 0, 1)])
orders = st.sampled_from([Hash(bytes([n]) * 32) for n in range(2)])
purposes = st.sampled_from([Purpose.ENFORCE_SECURITY, Purpose.MARKETING])
some_days = st.sampled_from([40, 365, 5, 1, 366])
openings = st.sampled_from([3, None, 1, 0, 2**20 + 1])


class Consent(RuleBasedStateMachine):
    """Puts anything into blocks; the books take what was accepted, and say what must hold of it."""

    def __init__(self):
        super().__init__()
        self.ledger, self.books = ConsentLedger(), ConsentInvariants()
        self.pending, self.block_size = [], 1
        self.ids = {"data.register": [], "grant.give": [], "access.intent": []}
        self.one_time = count()
        self.has_changed = True

    def put(self, payload, sponsor: str, *names: str) -> None:
        one = self.ledger.one(payload, sponsor, *names)
        self.pending.append(one)
        self.ids.get(payload.KIND, []).append(one.id)  # so that others of its block can name it
        if len(self.pending) >= self.block_size:
            self.end_block()

    def some(self, kind: str, number: int) -> Hash:
        """One of the last that were accepted, or are put into this block."""
        ids = self.ids[kind][-4:]
        return ids[number % len(ids)] if ids else ABSENT

    @initialize(block_size=st.integers(1, 5))
    def begin(self, block_size):
        self.block_size = block_size
        for handle in HANDLES:
            for _ in range(2):
                self.put(register(handle), "city", "city 1")
        self.end_block()
        for handle in HANDLES:
            self.put(give(self.ledger, handle), RESIDENTS, handle, GATEWAY)
        self.end_block()
        self.enact(mandate(self.ledger, id=bytes(16)), 1)

    @rule(handle=handles, sponsor=st.sampled_from(["city", "city", "utility"]), few=likely, days=some_days)
    def register(self, handle, sponsor, few, days):
        retain_until_ms = Millis((self.ledger.time_ms // DAY_MS + days) * DAY_MS)
        who = CUSTODIANS[:2] if few else CUSTODIANS
        payload = register(handle, custodians=who, retain_until_ms=retain_until_ms)
        self.put(payload, sponsor, ADMINS[sponsor])

    @rule(handle=handles, grantee=buyers, purpose=purposes, days=some_days, most=numbers, paid=rarely)
    def give(self, handle, grantee, purpose, days, most, paid):
        payload = give(
            self.ledger,
            handle,
            grantee=grantee,
            purpose=purpose,
            until_ms=Millis(self.ledger.time_ms + days * DAY_MS),
            max_uses=1 + most % 3,
            price=Price(500, "EUR") if paid else None,
        )
        self.put(payload, RESIDENTS, handle, GATEWAY)

    def own(self, grant_id: Hash) -> list[Hash]:
        """The data that a grant is for."""
        handle = self.books.grants[grant_id].payload.handle
        return [data_id for data_id, one in self.books.data.items() if one.payload.handle == handle]

    @rule(grant=numbers, by_itself=likely, handle=handles)
    def revoke(self, grant, by_itself, handle):
        names = HANDLES if by_itself else (handle,)
        self.put(GrantRevoke(self.some("grant.give", grant)), RESIDENTS, *names, GATEWAY)

    @rule(data=numbers, grant=numbers, fitting=likely, sponsor=buyers, purpose=purposes)
    def ask_by_grant(self, data, grant, fitting, sponsor, purpose):
        data_id, grant_id = self.some("data.register", data), self.some("grant.give", grant)
        if fitting and (known := self.books.grants.get(grant_id)) is not None:
            sponsor, purpose = known.payload.grantee, known.payload.purpose
            data_id = self.own(grant_id)[-1 - data % 2]
        payload = ask(data_id, grant_id, f"k{next(self.one_time)}", purpose=purpose)
        self.put(payload, sponsor, ADMINS[sponsor])

    @rule(
        handle=handles,
        most=numbers,
        asks=st.lists(numbers, min_size=1, max_size=4),
        end=st.sampled_from(["nothing", "revoke", "erase"]),
        at=numbers,
        served=st.booleans(),
        early=st.booleans(),
    )
    def crowd_a_block(self, handle, most, asks, end, at, served, early):
        """Several intents by one grant in a block, and somewhere among them the end of their basis."""
        self.end_block()
        size, self.block_size = self.block_size, 99
        self.register(handle, "city", True, 40)
        self.register(handle, "city", False, 40)
        self.give(handle, "utility", Purpose.MARKETING, 40, most, False)
        self.end_block()
        grant_id = self.some("grant.give", -1)
        if grant_id not in self.books.grants or self.books.grants[grant_id].payload.handle != key(handle):
            self.block_size = size
            return
        for place, data in enumerate(asks):
            self.ask_by_grant(data, -1, True, "", Purpose.MARKETING)
            if place == len(asks) - 1 - at % len(asks):
                if end == "revoke":
                    self.put(GrantRevoke(grant_id), RESIDENTS, handle, GATEWAY)
                if end == "erase":
                    target = self.own(grant_id)[-1 - at % 2]
                    self.put(EraseRequest(None, target), RESIDENTS, handle, GATEWAY)
        self.ask_by_mandate(-1, bytes(16), True, "utility", 2, False)
        self.report(-1, CUSTODIANS[0], early)
        self.end_block()
        for number, custodian in enumerate(CUSTODIANS if served else ()):
            self.report(number, custodian, True)
        self.end_block()
        self.block_size = size

    @rule(data=numbers, mandate=mandates, fitting=likely, sponsor=buyers, opens=openings, again=rarely)
    def ask_by_mandate(self, data, mandate, fitting, sponsor, opens, again):
        if fitting and (known := self.books.mandates.get(mandate)) is not None:
            sponsor = known.payload.organisation
        opens_height = None if opens is None else Height(self.ledger.height + 1 + opens)
        one_time = "k0" if again else f"k{next(self.one_time)}"
        data_id = self.some("data.register", data)
        payload = ask(data_id, None, one_time, mandate=mandate, opens_height=opens_height)
        self.put(payload, sponsor, ADMINS[sponsor])

    @rule(intent=numbers, custodian=custodians, served=likely)
    def report(self, intent, custodian, served):
        intent_id = self.some("access.intent", intent)
        payload = AccessServed(intent_id) if served else AccessRefused(intent_id, RefusalReason.UNLAWFUL)
        self.put(payload, custodian, ADMINS[custodian])

    @rule(handle=handles, data=numbers, one=likely, sincere=likely)
    def want_erased(self, handle, data, one, sincere):
        target = (None, self.some("data.register", data)) if one else (key(handle), None)
        self.put(EraseRequest(*target), RESIDENTS, handle if sincere else "stranger", GATEWAY)

    @rule(data=numbers, custodian=custodians, due=likely)
    def erase(self, data, custodian, due):
        time_ms = self.ledger.time_ms
        asked = [i for i, one in self.books.data.items() if one.is_to_be_erased(time_ms)][-3:]
        data_id = asked[data % len(asked)] if due and asked else self.some("data.register", data)
        self.put(EraseDone(data_id, ErasureMethod.PURGE), custodian, ADMINS[custodian])

    @rule(data=numbers)
    def erase_by_all(self, data):
        for custodian in CUSTODIANS:
            self.erase(data, custodian, False)

    @rule(handle=handles, data=numbers, one=likely, mandate=mandates, order=orders, days=some_days)
    def hold(self, handle, data, one, mandate, order, days):
        known = self.books.mandates.get(mandate)
        sponsor = "city" if known is None else known.payload.organisation
        target = (None, self.some("data.register", data)) if one else (key(handle), None)
        until_ms = Millis(self.ledger.time_ms + days * DAY_MS)
        self.put(HoldPlace(mandate, *target, order, until_ms), sponsor, ADMINS[sponsor])

    @rule(data=numbers, mandate=mandates, order=orders, days=some_days, custodian=custodians)
    def hold_and_try_to_erase(self, data, mandate, order, days, custodian):
        self.end_block()
        data_id = self.some("data.register", data)
        for handle in HANDLES:
            self.put(EraseRequest(None, data_id), RESIDENTS, handle, GATEWAY)
        self.hold("", data, True, mandate, order, days)
        self.put(EraseDone(data_id, ErasureMethod.PURGE), custodian, ADMINS[custodian])

    @rule(handle=handles, days=st.integers(1, 2), custodian=custodians)
    def ask_and_erase_around_the_end_of_a_retention(self, handle, days, custodian):
        self.end_block()
        self.register(handle, "city", True, 2)
        self.give(handle, "utility", Purpose.MARKETING, 40, 2, False)
        self.time_passes(days)
        self.ask_by_grant(0, -1, True, "utility", Purpose.MARKETING)
        self.erase(-1, custodian, False)

    @rule()
    def end_block(self):
        accepted = self.ledger.builds(*self.pending)
        refused = {one.id for one in self.pending} - {one.id for one in accepted}
        for kind, ids in self.ids.items():
            self.ids[kind] = [one for one in ids if one not in refused]
        for one in accepted:
            self.books.apply(one, self.ledger.height, self.ledger.time_ms)
        self.pending, self.has_changed = [], True

    @rule(days=st.sampled_from([0, 1, 0, 35]))
    def time_passes(self, days):
        self.end_block()
        self.ledger.passes(days * DAY_MS)
        self.end_block()

    @rule(id=mandates, organisation=buyers, by=st.integers(1, 3), is_weak=rarely, days=some_days)
    def decide_mandate(self, id, organisation, by, is_weak, days):
        self.end_block()
        powers = (Power.ACCESS,) if is_weak else (Power.ACCESS, Power.SEAL, Power.HOLD)
        until_ms = Millis(self.ledger.time_ms + days * DAY_MS)
        one = mandate(self.ledger, id=id, organisation=organisation, powers=powers, until_ms=until_ms)
        self.enact(one, by)

    @rule(id=mandates, by=st.integers(1, 3), sure=rarely)
    def end_mandate(self, id, by, sure):
        self.end_block()
        self.enact(MandateEnd(id if sure else b"x" * 16), by)

    def enact(self, payload, by: int) -> None:
        from_height = self.ledger.height + by
        try:
            self.ledger.enact(payload, from_height)
        except InvalidTransaction:
            return
        self.books.enact(payload, from_height, self.ledger.time_ms)

    @precondition(lambda self: self.has_changed)
    @invariant()
    def the_state_agrees_with_the_books(self):
        self.has_changed = False
        reader, height = self.ledger.reader, self.ledger.height
        for intent_id, known in self.books.intents.items():
            for at in range(known.height - 1, height + 1):
                expected = self.books.is_entitled(intent_id, at)
                assert is_entitled(reader, intent_id, Height(at)) == expected
            reports = INTENTS.get(reader, intent_id).reports
            assert {one.custodian: (one.height, one.refusal is None) for one in reports} == known.reports
        for grant_id, grant in self.books.grants.items():
            assert uses(reader, grant_id) == self.books.uses(grant_id) <= grant.payload.max_uses
        for data_id, data in self.books.data.items():
            row = DATA.get(reader, data_id)
            assert {one.custodian: one.height for one in row.erased} == data.erased
            assert row.is_erased == (set(data.erased) == set(data.payload.custodians))
            assert row.erase_by_ms == data.due_ms()
        for organisation in BUYERS:
            assert sealed_accesses(reader, organisation) == self.books.sealed(organisation)
        assert sealed_accesses(reader) == self.books.sealed()
        self.queries_agree(height)

    def queries_agree(self, height):
        books, chain = self.books, LedgerChain(self.ledger)

        def told(name, **parameters):
            return every(chain, f"consent.{name}", 3, **parameters)

        for handle in HANDLES:
            found = told("accesses-of", handle=key(handle))
            assert [one.id for one in found] == books.shown(height, handle=key(handle))
            assert all(one.had_basis == books.is_entitled(one.id, one.intent.height) for one in found)
            held = [one.id for one in told("held-of", handle=key(handle))]
            assert held == [i for i, one in books.data.items() if one.payload.handle == key(handle)]
            granted = told("grants", handle=key(handle))
            assert {one.id for one in granted} == {
                i for i, one in books.grants.items() if one.payload.handle == key(handle)
            }
        for buyer in BUYERS:
            found = told("accesses-by", organisation=buyer)
            assert [one.id for one in found] == books.shown(height, organisation=buyer)
            sold = told("commercial-grants", buyer=buyer)
            assert [one.id for one in sold] == books.commercial(buyer)
            assert all(one.uses == books.uses(one.id) for one in sold)
            decided = told("mandates", organisation=buyer)
            assert [one.id for one in decided] == sorted(
                i for i, one in books.mandates.items() if one.payload.organisation == buyer
            )
        for custodian in CUSTODIANS:
            held = told("held-by", custodian=custodian)
            assert [one.id for one in held] == books.held_by(custodian)
        for ahead in (0, 31 * DAY_MS, 400 * DAY_MS):
            time_ms = self.ledger.time_ms + ahead
            then = LedgerChain(self.ledger, time_ms=time_ms)
            late = every(then, "consent.overdue-erasures", 3)
            assert [(one.erase_by_ms, one.id, one.missing) for one in late] == books.overdue(time_ms)
            holds = every(then, "consent.open-holds", 3)
            shown = [(one.hold.until_ms, one.id, one.hold.order_hash, one.hold.organisation) for one in holds]
            assert shown == books.open_holds(time_ms)


TestConsent = Consent.TestCase
TestConsent.settings = effort(20, steps=50)
