"""Custody's invariants under any run of its transactions, against books that share no code with it."""

from copy import copy
from dataclasses import asdict, replace

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from p2pledger.chain.payloads import (
    DiscrepancyReason,
    DiscrepancyResolve,
    Fate,
    LotClose,
    LotTransform,
    NewLot,
    ShipAccept,
    ShipOffer,
    ShipReceive,
)
from p2pledger.errors import InvalidTransaction
from p2pledger.ledger.modules import custody
from p2pledger.ledger.modules.custody.rows import OFFER_LAPSES_MS
from p2pledger.simulator.invariants.custody import CustodyInvariants
from tests.asking import LedgerChain, every
from tests.ledgers import transaction
from tests.properties.effort import effort
from tests.unit.ledger.modules.custody_city import (
    ADMINS,
    CARRIER,
    COLLECTOR,
    FACILITY,
    MIXED,
    PAPER,
    PLANT,
    SCALES,
    CustodyCity,
    lot_id,
)

ORGANISATIONS = (COLLECTOR, CARRIER, PLANT)
MATERIALS = (MIXED, PAPER)
CLOSED_AS = {fate: f"{fate.name.lower()}_g" for fate in Fate}
numbers = st.integers(0, 2**16)
organisations = st.sampled_from(ORGANISATIONS)
materials = st.sampled_from(MATERIALS)
masses = st.sampled_from([1, 2, 3, 999, 50_000, 120_001, 2_000_000])
mostly = st.sampled_from([True] * 7 + [False])


class Custody(RuleBasedStateMachine):
    """Submits what is often in order and sometimes not; books and module agree on what is."""

    def __init__(self):
        super().__init__()
        self.ledger = CustodyCity()
        self.books = CustodyInvariants(self.ledger.genesis)
        self.weighings: list[bytes] = []

    def weigh(self, organisation, is_new):
        if is_new or not self.weighings:
            scale = SCALES[organisation]
            assert self.submit(self.ledger.weighing(scale), organisation, scale)
            self.weighings.append(self.last.id)
        return self.weighings[-1]

    def submit(self, payload, sponsor, *signers):
        """Whether it was accepted: by the module and by the books alike."""
        ledger = self.ledger
        one = transaction(ledger.genesis, payload, sponsor, *signers, expires_ms=ledger.time_ms + 60_000)
        at, trial = ledger.next_round, twin(self.books)
        try:
            trial.apply(one, at.height, at.time_ms)
            refused = None
        except ValueError as error:
            refused = error
        try:
            ledger.block(one)
        except InvalidTransaction as error:
            assert refused is not None, f"the books take what was refused as {error}"
            return False
        self.books.apply(one, at.height, at.time_ms)
        self.last = one
        return True

    def lots(self, number, by=None):
        """One to three lots: of those that are held by one organisation, or any at all."""
        books = self.books.lots
        held = sorted(
            key for key, lot in books.items() if by is None or (lot.holder, lot.stands) == (by, "held")
        )
        held = held or sorted(books)
        count = 1 + number % 3
        return tuple(held[(number // 3 + n) % len(held)] for n in range(min(count, len(held))))

    def manifest(self, number, step, is_right):
        """A manifest that is at this step, if there is one and that is asked for."""
        books = self.books.manifests
        some = sorted(key for key, book in books.items() if book.step == step or not is_right)
        return some[number % len(some)] if some else lot_id("none")

    def new(self, number, what, is_right):
        """An id that is free, or one that may be taken."""
        known = len(self.books.lots) + len(self.books.manifests)
        return lot_id(f"{what} {known}") if is_right else self.lots(number)[0]

    def holder(self, number, by, is_right):
        """Who holds anything at all, if that is asked for."""
        held = sorted({lot.holder for lot in self.books.lots.values() if lot.stands == "held"})
        return held[number % len(held)] if held and is_right else by

    @initialize(some=st.lists(masses, min_size=4, max_size=4))
    def first_lots(self, some):
        for n, mass in enumerate(some):
            self.create(lot_id(f"first {n}"), MATERIALS[n % 2], mass, True)

    @rule(number=numbers, material=materials, mass=masses, is_new=mostly, is_right=mostly)
    def create_one(self, number, material, mass, is_new, is_right):
        self.create(self.new(number, "lot", is_right), material, mass, is_new)

    def create(self, lot, material, mass, is_new):
        weighing = self.weigh(COLLECTOR, is_new)
        payload = self.ledger.creation("", mass, material=material, weighing=weighing)
        self.submit(replace(payload, lot=lot), COLLECTOR, ADMINS[COLLECTOR], SCALES[COLLECTOR])

    @rule(number=numbers, by=organisations, consignee=organisations, is_right=mostly)
    def offer(self, number, by, consignee, is_right):
        self.offers(number, by, consignee, is_right)

    def offers(self, number, by, consignee, is_right):
        by = self.holder(number, by, is_right)
        some = self.lots(number, by if is_right else None)
        manifest = self.new(number, "load", is_right)
        return self.submit(ShipOffer(manifest, some, CARRIER, consignee), by, ADMINS[by])

    @rule(number=numbers, data=st.data())
    def ship(self, number, data):
        """A whole way, so that runs get far."""
        if self.offers(number, COLLECTOR, PLANT, True):
            self.accept(number, CARRIER, True)
            self.receive(number, data, True, True)

    @rule(number=numbers, by=organisations, is_right=mostly)
    def accept(self, number, by, is_right):
        self.submit(ShipAccept(self.manifest(number, "offered", is_right)), by, ADMINS[by])

    @rule(number=numbers, data=st.data(), is_new=mostly, is_right=mostly, is_theirs=mostly)
    def receive_one(self, number, data, is_new, is_right, is_theirs):
        self.receive(number, data, is_new, is_right, is_theirs)

    def receive(self, number, data, is_new, is_right, is_theirs=True):
        manifest = self.manifest(number, "accepted", is_right)
        book = self.books.manifests.get(manifest)
        sent = book.grams if book is not None else 5
        by = book.consignee if book is not None and is_theirs else COLLECTOR
        if by not in SCALES:
            return
        tolerated = max(1_000, sent // 100)
        differences = [0, 1, -1, tolerated, -tolerated, tolerated + 1, -tolerated - 1, -sent, sent]
        mass = max(0, sent + data.draw(st.sampled_from(differences)))
        payload = ShipReceive(manifest, mass, FACILITY, self.weigh(by, is_new))
        self.submit(payload, by, ADMINS[by])

    @rule(number=numbers, share=st.sampled_from([-1, 0, 1, 2, 3, 4, 5]), has_both=mostly, is_right=mostly)
    def resolve(self, number, share, has_both, is_right):
        manifest = self.manifest(number, "disputed", is_right)
        book = self.books.manifests.get(manifest)
        if book is None:
            return
        mass = max(0, book.grams + (book.received - book.grams) * share // 4)
        payload = DiscrepancyResolve(manifest, DiscrepancyReason.MOISTURE, mass)
        signers = {ADMINS[book.shipper], *([ADMINS[book.consignee]] if has_both else [])}
        self.submit(payload, book.shipper, *signers)

    @rule(
        number=numbers, by=organisations, made=st.integers(1, 3), material=materials,
        loss=st.sampled_from([0, 0, 1, 2, 500]), error=st.sampled_from([0, 0, 0, 0, 1, -1]), is_right=mostly,
    )  # fmt: skip
    def transform(self, number, by, made, material, loss, error, is_right):
        by = self.holder(number, by, is_right)
        some = self.lots(number, by if is_right else None)
        each, rest = divmod(sum(self.books.lots[lot].grams for lot in some) - loss - error, made)
        if each < 1:
            return
        known = len(self.books.lots)
        outputs = [NewLot(lot_id(f"made {known + n}"), material, each) for n in range(1, made)]
        outputs.append(NewLot(lot_id(f"made {known}"), PAPER, each + rest))
        payload = LotTransform(some, tuple(outputs), loss, "sorting", FACILITY)
        self.submit(payload, by, ADMINS[by])

    @rule(number=numbers, by=organisations, fate=st.sampled_from(Fate), is_right=mostly)
    def close(self, number, by, fate, is_right):
        by = self.holder(number, by, is_right)
        self.submit(LotClose(self.lots(number, by if is_right else None)[0], fate), by, ADMINS[by])

    @rule(is_lapse=st.booleans())
    def time_passes(self, is_lapse):
        self.ledger.block()
        # The next block stands at the last instant of the offers that were just made, or behind it.
        self.ledger.time_ms += OFFER_LAPSES_MS - (not is_lapse)

    @invariant()
    def the_books_add_up(self):
        self.books.recount()

    @invariant()
    def every_balance_is_that_of_the_books(self):
        for material in MATERIALS:
            for name in (*ORGANISATIONS, ""):
                row = custody.balance(self.ledger.reader, material, name)
                grams = self.books.grams
                assert asdict(row) == {
                    field: grams[name, material, field.removesuffix("_g")] for field in asdict(row)
                }
                assert row.into_g == row.out_of_g
            came = row.created_g + row.made_g + row.gains_g
            there = row.held_g + row.in_transit_g + row.frozen_g
            assert came == there + row.closed_g + row.spent_g + row.losses_g, "all hands together"

    @invariant()
    def every_lot_is_that_of_the_books(self):
        for key, book in self.books.lots.items():
            row = custody.lot(self.ledger.reader, key)
            assert (row.material, row.mass_g, row.holder, row.place) == (
                book.material, book.grams, book.holder, book.place,
            )  # fmt: skip
            words = {"HELD": "held", "OFFERED": "held", "IN_TRANSIT": "in_transit", "FROZEN": "frozen"}
            assert words.get(row.status.name) == book.stands

    def teardown(self):
        chain = LedgerChain(self.ledger)
        for name in (*ORGANISATIONS, ""):
            found = every(chain, "custody.mass-balance", 1, organisation=name)
            assert {one.material for one in found} == {
                material for by, material, _ in self.books.grams if by == name
            }
        disputed = {key for key, book in self.books.manifests.items() if book.step == "disputed"}
        found = every(chain, "custody.open-discrepancies", 1)
        assert {one.manifest for one in found} == disputed
        closed = {
            (one.material, one.month, one.place, fate.name): grams
            for material in MATERIALS
            for one in every(chain, "custody.recycling-of-material", 1, material=material)
            for fate in Fate
            if (grams := getattr(one, CLOSED_AS[fate]))
        }
        assert closed == {key: grams for key, grams in self.books.closed.items() if grams}
        for key in self.books.lots:
            events = every(chain, "custody.chain", 2, lot=key)
            row = custody.lot(chain, key)
            assert len(events) == row.events and events[-1].holder == row.holder
            assert events[-1].mass_g == row.mass_g
            assert [one.height for one in events] == sorted(one.height for one in events)
            for near in every(chain, "custody.trace-back", 1, lot=key):
                ahead = every(chain, "custody.trace-forward", 1, lot=near.lot)
                assert key in {one.lot for one in ahead}


def twin(books):
    """Books that can be tried on: a copy of all that changes."""
    other = copy(books)
    for name, value in vars(books).items():
        if isinstance(value, (dict, set)):
            setattr(other, name, copy(value))
    return other


TestCustody = Custody.TestCase
TestCustody.settings = effort(25, steps=30)
