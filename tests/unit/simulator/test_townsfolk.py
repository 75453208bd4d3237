"""A city that is lived in: its people reach every module, and the judge sees what each module forbids."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from p2pledger.chain.transaction import Transaction
from p2pledger.simulator.books import Books
from p2pledger.simulator.campaign import Totals
from p2pledger.simulator.city import KeyedHash, city
from p2pledger.simulator.judge import Judge, Violation
from p2pledger.simulator.run import LIVED_IN_EVERY, build, case_of, run
from p2pledger.simulator.townsfolk import Townsfolk
from p2pledger.simulator.world import World

CITY = city(4, False, False)
SEEDS = range(2_000, 2_020)
REACHED = {
    "device.enroll": 4,
    "record.append": 4,
    "lot.create": 1,
    "ship.offer": 1,
    "ship.accept": 1,
    "ship.receive": 1,
    "lot.transform": 1,
    "lot.close": 2,
    "gov.propose": 3,
    "gov.vote": 9,
    "account.enroll": 4,
    "mobility.claim": 2,
    "points.redeem": 2,
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
    kinds = {wrong.body.kind.partition(".")[0] for wrong in townsfolk.wrong}
    assert kinds == {"lot", "account", "access", "erase", "grant", "mobility", "points", "energy"}
    assert not any(judge.is_final(wrong.id) for wrong in townsfolk.wrong)


def replayed(judge: Recording, books: Books) -> Iterator[tuple[Transaction, int, int]]:
    """What was accepted, once more; books close each epoch before the first transaction of the next."""
    epoch = 0
    for transaction, height, time_ms in judge.accepted:
        while (epoch + 1) * CITY.parameters.epoch_blocks < height:
            epoch += 1
            books.close(epoch * CITY.parameters.epoch_blocks)
        yield transaction, height, time_ms


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
        if transaction.body.kind == kind:
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


def test_each_of_the_wrong_ones_breaks_the_books(lived) -> None:
    """So that the judge would catch a ledger that takes one: they are wrong by the modules' promises."""
    judge, townsfolk = lived
    caught = []
    for wrong in townsfolk.wrong:
        books, (_, height, time_ms) = Books(CITY.genesis), judge.accepted[-1]
        for accepted in replayed(judge, books):
            books.apply(*accepted)
        with pytest.raises(ValueError):
            books.apply(wrong, height + 1, time_ms)
        caught.append(wrong.body.kind)
    assert len(caught) > 10


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
