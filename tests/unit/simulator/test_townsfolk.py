"""A city that is lived in: its people reach every module, and the judge sees what each module forbids."""

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace

import pytest
from p2pledger.chain.payloads import (
    MEASURES,
    PAYLOADS,
    GovPropose,
    OrgRegister,
    Parameter,
    ParameterSet,
    RecordAppend,
)
from p2pledger.chain.transaction import Transaction
from p2pledger.codec import decode, encode
from p2pledger.simulator.books import Books
from p2pledger.simulator.campaign import Totals
from p2pledger.simulator.city import KeyedHash, city
from p2pledger.simulator.judge import Judge, Violation
from p2pledger.simulator.officials import BLOCK_TRANSACTIONS
from p2pledger.simulator.residents import DAY_MS
from p2pledger.simulator.run import LIVED_IN_EVERY, build, case_of, run
from p2pledger.simulator.townsfolk import Townsfolk
from p2pledger.simulator.world import World
from p2pledger.types import ZERO_HASH, Height

CITY = city(4, False, False)
SEEDS = range(2_000, 2_020)
REACHED = {
    "key.add": 1,
    "key.rotate": 1,
    "key.revoke": 2,
    "gateway.join": 2,
    "device.enroll": 4,
    "device.transfer": 1,
    "device.retire": 1,
    "schema.publish": 2,
    "status.publish": 2,
    "record.append": 4,
    "record.batch": 4,
    "record.correct": 1,
    "lot.create": 2,
    "ship.offer": 2,
    "ship.accept": 2,
    "ship.receive": 2,
    "discrepancy.resolve": 1,
    "lot.transform": 1,
    "lot.close": 3,
    "gov.propose": 11,
    "gov.vote": 33,
    "gov.suspend": 3,
    "authority.rotate": 1,
    "account.enroll": 4,
    "mobility.claim": 3,
    "points.redeem": 3,
    "claim.audit": 1,
    "energy.settle": 1,
    "data.register": 2,
    "grant.give": 1,
    "grant.revoke": 1,
    "access.intent": 2,
    "access.served": 1,
    "access.refused": 1,
    "hold.place": 1,
    "erase.request": 2,
    "erase.done": 2,
}
"""What the people of every such run have come to, at least."""
CARRIED_OUT = {
    "org.register": 1,
    "org.quota": 1,
    "program.create": 2,
    "program.change": 1,
    "mandate.give": 1,
    "mandate.end": 1,
    "parameter.set": 1,
    "upgrade.plan": 1,
}
"""And which measures."""
CONFLICTING = {"org.register", "program.create", "mandate.end", "upgrade.plan"}
"""Of these people put two to the vote of which only one can be carried out."""


class Recording(Judge):
    """A judge that also keeps what was accepted, with height and time."""

    def __init__(self) -> None:
        super().__init__(CITY)
        self.accepted: list[tuple[Transaction, int, int]] = []

    def _apply(self, transaction: Transaction, height: int, time_ms: int) -> None:
        super()._apply(transaction, height, time_ms)
        self.accepted.append((transaction, height, time_ms))


@pytest.fixture(scope="module")
def lived() -> tuple[Recording, Townsfolk]:
    """A calm run of a city that is lived in."""
    case = replace(case_of(3, n=4), faults=(), is_changing=False, followers=0, loss=0.0)
    worlds: list[World] = []
    judge = Recording()

    def prepare(world: World) -> None:
        world.judge = judge
        worlds.append(world)

    assert run(case, prepare).violation is None
    townsfolk = worlds[0].townsfolk
    assert townsfolk is not None
    return judge, townsfolk


def test_every_module_is_reached(lived) -> None:
    judge, townsfolk = lived
    assert {kind: judge.kinds[kind] for kind, least in REACHED.items() if judge.kinds[kind] < least} == {}
    assert {f"carried out: {kind}": number for kind, number in CARRIED_OUT.items()} == {
        name: number for name, number in judge.measures.items() if name.startswith("carried out")
    }
    assert len({wrong.body.kind for wrong in townsfolk.wrong}) == 23
    assert not any(judge.is_final(wrong.id) for wrong in townsfolk.wrong)


def test_of_two_measures_that_conflict_the_second_fails_and_that_breaks_nothing(lived) -> None:
    judge, _ = lived
    assert {kind: judge.measures[f"failed when adopted: {kind}"] for kind in CONFLICTING} == dict.fromkeys(
        CONFLICTING, 1
    )


def test_what_a_failed_measure_would_have_allowed_is_a_violation(lived) -> None:
    """As if the ledger had carried it out: the judge's books have nothing of it."""
    judge, _ = lived
    founders = [
        decode(OrgRegister, payload.measure)
        for one, _, _ in judge.accepted
        if one.body.kind == "gov.propose"
        and (payload := decode(GovPropose, one.body.payload)).kind == "org.register"
    ]
    admins = {key for founder in founders for key in founder.admin_keys}
    assert len(admins) == 2
    notes = [one for one, _, _ in judge.accepted if one.body.sponsor == "museum"]
    [winner] = {key for one in notes for key in one.body.signers}
    body = replace(notes[0].body, signers=tuple(admins - {winner}), salt=b"anothers")
    written = Transaction(body, tuple(KeyedHash(key).sign(body.id) for key in body.signers))
    _, height, time_ms = judge.accepted[-1]
    with pytest.raises(ValueError, match="no living key"):
        judge._books.apply(written, height, time_ms)


def test_a_measure_that_cannot_be_carried_out_may_not_be_proposed(lived) -> None:
    judge, _ = lived
    _, height, time_ms = judge.accepted[-1]
    measure = ParameterSet(Parameter.BLOCK_TRANSACTIONS_MAX, 0)
    proposal = GovPropose(measure.KIND, encode(measure), Height(height + 9), "basis", ZERO_HASH)
    with pytest.raises(ValueError, match="cannot be 0"):
        judge._books.apply(CITY.by_admin(proposal, "authority-0", 1), height, time_ms)


def test_a_block_that_is_larger_than_was_set_is_a_violation(lived) -> None:
    judge, _ = lived
    judge._books.check_block(judge.height, [1_000] * BLOCK_TRANSACTIONS)
    with pytest.raises(ValueError, match="may stand"):
        judge._books.check_block(judge.height, [1_000] * (BLOCK_TRANSACTIONS + 1))
    with pytest.raises(ValueError, match="bytes"):
        judge._books.check_block(judge.height, [CITY.parameters.block_bytes_max + 1])


def replayed(judge: Recording, books: Books) -> Iterator[tuple[Transaction, int, int]]:
    """What was accepted, once more; books close each epoch before the first transaction of the next."""
    epoch = 0
    for transaction, height, time_ms in judge.accepted:
        while (epoch + 1) * CITY.parameters.epoch_blocks < height:
            epoch += 1
            books.close(epoch * CITY.parameters.epoch_blocks)
        yield transaction, height, time_ms


def is_without_a_number(transaction: Transaction) -> bool:
    """Whether it is a record that may stand twice."""
    is_record = transaction.body.kind == RecordAppend.KIND
    return is_record and decode(RecordAppend, transaction.body.payload).seq is None


PLANTED = {
    "registry": "device.enroll",
    "records": "record.append",
    "custody": "lot.close",
    "programs": "mobility.claim",
    "consent": "grant.revoke",
    "governance": "gov.vote",
}
"""For each module a kind of transaction that is not to be accepted a second time."""


@pytest.mark.parametrize(("module", "kind"), PLANTED.items())
def test_the_judge_catches_what_a_module_forbids(lived, module: str, kind: str) -> None:
    judge, _ = lived
    fresh = Judge(CITY)
    for transaction, height, time_ms in replayed(judge, fresh._books):
        fresh._apply(transaction, height, time_ms)
        if transaction.body.kind == kind and not is_without_a_number(transaction):
            body = replace(transaction.body, salt=b"anothers")
            again = Transaction(body, tuple(KeyedHash(key).sign(body.id) for key in body.signers))
            with pytest.raises(Violation, match="invariant") as broken:
                fresh._apply(again, height, time_ms)
            cause = broken.value.__cause__
            assert cause is not None and cause.__traceback__ is not None
            at = cause.__traceback__
            while at.tb_next is not None and "invariants" not in at.tb_frame.f_code.co_filename:
                at = at.tb_next
            assert at.tb_frame.f_code.co_filename.endswith(f"invariants/{module}.py")
            return
    raise AssertionError(f"no {kind} was accepted")


def is_taken(books: Books, transaction: Transaction, height: int, time_ms: int) -> bool:
    """Whether the books would have this, too."""
    try:
        deepcopy(books).apply(transaction, height, time_ms)
    except ValueError:
        return False
    return True


def test_each_of_the_wrong_ones_breaks_the_books(lived) -> None:
    """So that the judge would catch a ledger that takes one: they are wrong by the modules' promises.

    Each at the latest block that it could have stood in, before it expired.
    """
    judge, townsfolk = lived
    for has_leapt in (False, True):
        books, height, time_ms = Books(CITY.genesis), 0, 0
        for accepted in replayed(judge, books):
            if not has_leapt and accepted[2] > CITY.genesis.time_ms + DAY_MS:
                break
            books.apply(*accepted)
            _, height, time_ms = accepted
        wrongs = [one for one in townsfolk.wrong if one.body.expires_ms >= time_ms]
        assert len(wrongs) > 4
        assert [wrong.body.kind for wrong in wrongs if is_taken(books, wrong, height + 1, time_ms)] == []


def test_what_names_nothing_is_a_violation_too(lived) -> None:
    judge, _ = lived
    claim = next(one for one, _, _ in judge.accepted if one.body.kind == "mobility.claim")
    with pytest.raises(Violation, match="in no books"):
        Judge(CITY)._apply(claim, 1, CITY.genesis.time_ms)


def test_one_seed_in_three_is_lived_in_and_no_other_draw_depends_on_it() -> None:
    cases = [case_of(seed) for seed in range(9)]
    assert [case.is_lived_in for case in cases] == [True, False, False] * 3
    assert build(replace(cases[0], is_lived_in=False)).townsfolk is None
    assert LIVED_IN_EVERY == 3


def test_seeds_keep_every_promise() -> None:
    totals = Totals()
    for seed in SEEDS:
        totals.add(run(case_of(seed)))
    assert [(report.case.seed, str(report.violation)) for report in totals.failures] == []
    lived_in = sum(case_of(seed).is_lived_in for seed in SEEDS)
    assert totals.counts["errands done in a city that is lived in"] == lived_in
    for kind, least in REACHED.items():
        assert totals.counts[f"final: {kind}"] >= least * lived_in, kind
    for kind, least in CARRIED_OUT.items():
        assert totals.counts[f"carried out: {kind}"] >= least * lived_in, kind
    # Whoever comes and goes as an authority does so in every run whose list changes, lived in or not.
    assert [kind for kind in PAYLOADS if not totals.counts[f"final: {kind}"]] == []
    assert [kind for kind in MEASURES if not totals.counts[f"carried out: {kind}"]] == []
    assert [kind for kind in CONFLICTING if not totals.counts[f"failed when adopted: {kind}"]] == []
