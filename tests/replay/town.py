"""A city's chain in a `SqliteStore`, with transactions of every kind, changing authorities and evidence.

Built from what the modules' own tests build with: here their blocks are certified and stored, and what
governance decides is voted on.
"""

from dataclasses import replace
from pathlib import Path

from p2pledger.chain.block import FinalBlock, Header, evidence_root, genesis_digest
from p2pledger.chain.genesis import LAN, RESIDENTS, KeyRole
from p2pledger.chain.payloads import (
    AccessRefused,
    AccessServed,
    ClaimAudit,
    CorrectionReason,
    DeviceEnroll,
    DeviceRetire,
    DeviceTransfer,
    DiscrepancyReason,
    DiscrepancyResolve,
    Fate,
    LotClose,
    LotTransform,
    MandateEnd,
    NewLot,
    OrgQuota,
    OrgRegister,
    PointsRedeem,
    ProgramChange,
    RecordCorrect,
    RefusalReason,
)
from p2pledger.chain.payloads.governance import (
    AuthorityRemove,
    AuthorityRotate,
    GovPropose,
    GovSuspend,
    GovVote,
    Parameter,
    ParameterSet,
)
from p2pledger.chain.transaction import Transaction
from p2pledger.chain.vote import Evidence, Vote, certificate_of, evidence_of, finalise, notarise
from p2pledger.codec import encode
from p2pledger.ledger.machine import Execution, Machine
from p2pledger.ledger.modules.governance import authorities_of
from p2pledger.storage.sqlite import SqliteStore
from p2pledger.types import ZERO_HASH, Epoch, Hash, Height, Millis, PeerId, View
from tests import consents, ledgers, programs
from tests.ledgers import START_MS, signer
from tests.programs import Programs
from tests.unit.ledger.modules.custody_city import (
    BOOK,
    COLLECTOR,
    FACILITY,
    MIXED,
    PAPER,
    PLANT,
    CustodyCity,
    lot_id,
)
from tests.unit.ledger.modules.test_governance import CITY, say_ready
from tests.unit.ledger.modules.test_records import ACT, METER, PEER, batch, fact
from tests.unit.ledger.modules.test_registry import add, revoke, rotate
from tests.unit.ledger.modules.test_schemas import QUALITY
from tests.unit.ledger.modules.test_status import version

EPOCH = 8
GENESIS = ledgers.genesis(parameters=replace(LAN, epoch_blocks=EPOCH, state_buckets=16))
ADMINS = {**{f"authority-{i}": f"admin {i}" for i in range(4)}, "city": "city 1"}
VOTING = {
    signer(name).public_key: signer(name)
    for name in (*(f"authority {i}" for i in range(4)), "city votes", "new votes")
}


class Stored(ledgers.Ledger):
    """A ledger whose blocks are certified by their epoch's authorities and committed."""

    directory: Path

    def __init__(self, *_) -> None:
        self.genesis = GENESIS
        self.machine = Machine(self.genesis)
        self.execution = self.machine.start()
        self.reader = self.store = SqliteStore(self.directory, self.genesis, self.execution)
        self.height, self.time_ms = 0, START_MS
        self.rows = list(self.execution.index_rows)
        self.sets = [self.genesis.authorities, self.genesis.next_authorities]
        self.refused: list[str] = []

    def block(self, *transactions: Transaction, evidence: tuple[Evidence, ...] = ()) -> Execution:
        """Execute, certify and commit. Every fifth block has no certificate: the next one's covers it."""
        at = replace(self.next_round, offences=tuple(item.offence for item in evidence))
        tip = self.store.tip()
        done = self.machine.execute(self.store, tip.frontier, at, transactions)
        header = Header(
            version=1,
            genesis_hash=self.genesis.hash,
            epoch=at.epoch,
            view=View(at.height),
            height=at.height,
            parent_digest=tip.header.digest if tip.header else genesis_digest(self.genesis),
            parent_view=View(at.height - 1),
            time_ms=at.time_ms,
            tx_root=done.tx_root,
            state_root=done.state_root,
            receipts_root=done.receipts_root,
            next_set_hash=ZERO_HASH if done.next_set is None else done.next_set.hash,
            evidence_root=evidence_root(evidence),
            proposer=0,
        )
        certificate = certified(header, self.sets[at.epoch])
        if at.height % 5 == 0 and done.next_set is None:
            certificate = None
        ids = tuple(one.id for one in transactions)
        self.store.commit(FinalBlock(header, ids, evidence, certificate), transactions, done)
        self.execution, self.height, self.time_ms = done, at.height, at.time_ms
        self.rows += done.index_rows
        if done.next_set is not None:
            self.sets.append(done.next_set)
        return done

    def builds(self, *candidates: Transaction) -> tuple[Transaction, ...]:
        """A block of those candidates that succeed; why the others do not is noted."""
        built = self.machine.build(self.store, self.execution.frontier, self.next_round, candidates)
        self.refused += [refusal.error.code for refusal in built.refused]
        self.block(*built.transactions)
        return built.transactions

    def does(self, payload, sponsor: str, *names: str) -> Transaction:
        """A block with this transaction, the same again and one of nobody, of which only the first stays."""
        expires_ms = self.time_ms + 60_000
        one, bad = (
            ledgers.transaction(self.genesis, payload, sponsor, *by, expires_ms=expires_ms)
            for by in (names, ("a stranger",))
        )
        if self.height % 3:
            self.block(one)
        else:
            assert one in self.builds(bad, one, one), self.refused
        return one


def certified(header: Header, authorities):
    """What a quorum of these authorities signs over a header, the first ones to sit."""
    ballot = finalise(header.epoch, header.view, header.digest)
    digest = ballot.sign_digest(header.genesis_hash, authorities.hash)
    members = list(enumerate(authorities.members))[: authorities.quorum]
    votes = [Vote(ballot, i, VOTING[member.key].sign(digest)) for i, member in members]
    return certificate_of(votes, len(authorities.members))


class Town(CustodyCity, Programs, consents.ConsentLedger, Stored):
    """The tests' builders over one chain; what they carry out by themselves is voted on here."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        CustodyCity.__init__(self)

    def enacts(self, payload, from_height: int | None = None) -> None:
        """Proposed, voted on by as many as it takes, and in force from the next block on."""
        members = [member.organisation for member in self.sets[self.next_round.epoch].members]
        at = Height(from_height or self.height + len(members) + 2)
        proposal = GovPropose(payload.KIND, encode(payload), at, "council:1", ZERO_HASH)
        asked = self.does(proposal, members[0], ADMINS[members[0]]).id
        for member in members[: 2 * len(members) // 3 + 1]:
            self.does(GovVote(asked, True), member, ADMINS[member])
        self.goes_to(at)

    enact = enacts
    builds = Stored.builds

    def goes_to(self, height: int) -> None:
        while self.height < height:
            self.block()

    def contradicts(self, signer_index: int) -> None:
        """A block with evidence against an authority, which voted for two blocks of one view."""
        epoch = self.next_round.epoch
        authorities = self.sets[epoch]
        votes = []
        for digest in (Hash(b"1" * 32), Hash(b"2" * 32)):
            ballot = notarise(Epoch(epoch), View(1), digest)
            signature = VOTING[authorities.members[signer_index].key].sign(
                ballot.sign_digest(self.genesis.hash, authorities.hash)
            )
            votes.append(Vote(ballot, signer_index, signature))
        self.block(evidence=(evidence_of(*votes),))


def build(directory: Path) -> Town:
    """The whole story. The store is left open."""
    town = Town(directory)
    registers(town)
    records(town)
    ships(town)
    asks_and_grants(town)
    changes_its_authorities(town)
    rewards(town)
    return town


def registers(town: Town) -> None:
    town.enacts(OrgRegister("clinic", "hospital", (consents.key("clinic 1"),), 1, ledgers.quota(500)))
    town.enacts(OrgQuota("clinic", ledgers.quota(700)))
    town.does(add("old"), "city", "city 1", "old")
    town.does(rotate("old", "new"), "city", "city 1", "new")
    town.does(revoke("new"), "city", "city 1")
    town.does(add("desk", KeyRole.SERVICE), "clinic", "clinic 1", "desk")
    for name, device in (("meter", METER), ("other meter", b"other".ljust(16))):
        enroll = DeviceEnroll(device, signer(name).public_key, PEER, "meter", bytes(32))
        town.does(enroll, "city", "city gateway", name)
    moved = DeviceTransfer(b"other".ljust(16), PeerId("plant"), bytes(32))
    town.does(moved, "utility", "plant gateway", "other meter")
    town.does(DeviceRetire(b"other".ljust(16), bytes(32)), "utility", "plant gateway", "other meter")
    town.does(QUALITY, "city", "city 1")
    town.does(version(1), "city", "city 1")


def records(town: Town) -> None:
    """Readings of many devices in one block, gaps in their numbers, acts that refer to each other."""
    first = town.does(ACT, "city", "city 1")
    town.does(replace(ACT, references=(first.id,)), "utility", "utility 1")
    for start in range(0, 40, 10):
        readings = [fact(seq, time_ms=START_MS - seq) for seq in range(start, start + 9)]
        made = [town.one(one, "city", "meter") for one in reversed(readings)]
        town.builds(*made, town.one(fact(start), "city", "meter"), town.one(fact(start), "city", "scale"))
    wrong, right = (town.does(fact(seq), "city", "meter").id for seq in (50, 51))
    town.does(RecordCorrect(wrong, CorrectionReason.INCORRECT_DATA, (right,)), "city", "meter")
    town.does(batch(60, 99), "city", "city gateway")


def ships(town: Town) -> None:
    resolve = DiscrepancyResolve(lot_id("short"), DiscrepancyReason.SPILLAGE, 60_000)
    town.receive(town.ship("whole", town.create("a", 100_000)), 100_000)
    town.receive(town.ship("short", town.create("b", 50_000), town.create("c", 50_000)), 50_000)
    town.does(resolve, PLANT, "utility 1", "city 1")
    town.create("book", 500, material=BOOK)
    town.ship("under way", town.create("d", 7_000))
    parts = (NewLot(lot_id("paper"), PAPER, 59_000), NewLot(lot_id("rest"), MIXED, 40_500))
    town.does(LotTransform((lot_id("a"),), parts, 500, "sorting", FACILITY), PLANT, "utility 1")
    town.does(LotClose(lot_id("paper"), Fate.RECYCLED), PLANT, "utility 1")
    town.does(LotClose(lot_id("book"), Fate.SOLD), COLLECTOR, "city 1")


def asks_and_grants(town: Town) -> None:
    data, kept, third = (town.registers(retain_until_ms=consents.day(n)) for n in (100, 101, 102))
    grant, other = town.gives(), town.gives(max_uses=9)
    asked = town.does(consents.ask(data, grant, "k1"), "utility", "utility 1")
    town.does(AccessServed(asked.id), "authority-0", "admin 0")
    town.does(AccessRefused(asked.id, RefusalReason.UNAVAILABLE), "authority-1", "admin 1")
    town.does(consents.revoke(other), RESIDENTS, "handle", consents.GATEWAY)
    town.enact(consents.mandate(town))
    town.does(consents.ask(kept, None, "k2"), "utility", "utility 1")
    town.does(consents.hold(town, kept), "utility", "utility 1")
    for one in (data, third):
        town.does(consents.erase(one), RESIDENTS, "handle", consents.GATEWAY)
    town.does(consents.done(data), "authority-0", "admin 0")
    town.enact(MandateEnd(consents.MANDATE))


def changes_its_authorities(town: Town) -> None:
    """One comes, one rotates its key, one contradicts itself, one goes; one organisation is suspended."""
    town.enacts(ParameterSet(Parameter.BLOCK_BYTES_MAX, 900_000))
    town.enacts(CITY)
    rotated = AuthorityRotate(signer("new votes").public_key, PeerId("authority-peer-2"))
    town.does(rotated, "authority-2", "admin 2")
    last = town.height + 5 * EPOCH
    while town.height < last:
        say_ready(town, "city votes")
        say_ready(town, "new votes", "authority-2", "admin 2")
        town.block()
    town.enacts(AuthorityRemove("authority-3"))
    town.goes_to(town.height + 4 * EPOCH)
    wish = GovSuspend("clinic", Millis(town.time_ms + 1_000))
    for caller in (0, 1, 2):
        town.does(wish, f"authority-{caller}", f"admin {caller}")
    town.contradicts(1)
    town.goes_to(town.height + 4 * EPOCH)


def rewards(town: Town) -> None:
    """Weeks of driving and a month of sun, with what is spent, audited and left to expire."""
    week = programs.WEEK
    town.enacts(programs.create())
    town.enacts(programs.SUN)
    town.enrolls("ann", "bob", "cy")
    town.enrolls("sol", "sky", program="sun")
    town.enacts(ProgramChange("drive", programs.terms(from_period=week + 3, budget_points=20_000)))
    for ahead in range(2, 6):
        town.week(ahead)
        claims = [(programs.claim(name, week + ahead - 1), name) for name in ("ann", "bob", "cy")]
        town.builds(*(town.one(one, RESIDENTS, "city gateway", name) for one, name in claims))
        spent = PointsRedeem(programs.key("ann"), 50, "utility")
        town.does(spent, RESIDENTS, "city gateway", "ann")
        is_match = ahead % 2 == 0
        audit = ClaimAudit(
            programs.key("bob"),
            week + ahead - 1,
            is_match,
            programs.digest("trace" if is_match else "other"),
            programs.grant("bob", week + ahead - 1),
        )
        town.does(audit, "authority-0", "admin 0")
    town.month(2)
    town.does(programs.settle({"sol": 1_001, "sky": 2_000}, consumed=2_000), "utility", "utility 1")
    town.week(12)
    town.block()
    assert authorities_of(town.reader, town.next_round.epoch) is not None
