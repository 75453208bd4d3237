"""The judge finds what it is to find: each promise is broken once before its eyes."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from p2pledger.chain.block import FinalBlock
from p2pledger.chain.transaction import Transaction
from p2pledger.chain.vote import Vote, evidence_of, finalise, notarise, skip
from p2pledger.simulator.city import KeyedHash, city
from p2pledger.simulator.judge import Judge, Violation
from p2pledger.simulator.node import Node
from p2pledger.simulator.run import build, case_of, run
from p2pledger.types import Epoch, Hash, Height, Millis, Signature, View

CITY = city(4, False, False)
HASHES = [Hash(bytes([i]) * 32) for i in range(1, 4)]


class Recording(Judge):
    """A judge that also keeps what one node showed it."""

    def __init__(self) -> None:
        super().__init__(CITY)
        self.told: list[FinalBlock] = []
        self.stored: list[tuple[FinalBlock, tuple[Transaction, ...]]] = []

    def on_final(self, node: Node, block: FinalBlock) -> None:
        super().on_final(node, block)
        if node.number == 0:
            self.told.append(block)

    def on_stored(self, node: Node, block: FinalBlock, transactions: tuple[Transaction, ...]) -> None:
        super().on_stored(node, block, transactions)
        if node.number == 0:
            self.stored.append((block, transactions))


@pytest.fixture(scope="module")
def played() -> tuple[list[Node], Recording]:
    """A calm run of twenty blocks among four authorities."""
    case = replace(case_of(0, n=4), faults=(), is_changing=False, is_lived_in=False, followers=0, loss=0.0)
    world = build(case)
    world.judge = judge = Recording()
    assert world.run(lambda: judge.height >= 20 and len(judge.stored) >= 20, world.now + 60_000)
    return world.nodes, judge


def vote(ballot) -> Vote:
    return Vote(ballot, 0, Signature(bytes(64)))


def breaks(promise: str, do: Callable[[], None]) -> None:
    with pytest.raises(Violation) as broken:
        do()
    assert broken.value.promise == promise


def n(view: int, digest: Hash = HASHES[0]):
    return vote(notarise(Epoch(0), View(view), digest))


def x(view: int):
    return vote(skip(Epoch(0), View(view)))


def f(view: int, digest: Hash = HASHES[0]):
    return vote(finalise(Epoch(0), View(view), digest))


@pytest.mark.parametrize(
    "votes",
    [
        (n(1), n(1, HASHES[1])),
        (f(1), f(1, HASHES[1])),
        (x(1), f(1)),
        (f(1), x(1)),
        (n(2), x(1)),
        (x(3), n(2)),
    ],
    ids=["two N", "two F", "X then F", "F then X", "below", "N below"],
)
def test_votes_that_no_honest_one_gives(played, votes) -> None:
    nodes, _ = played
    judge = Judge(CITY)
    judge.on_vote(nodes[0], votes[0])
    breaks("equivocation", lambda: judge.on_vote(nodes[0], votes[1]))


def test_votes_that_an_honest_one_gives(played) -> None:
    nodes, _ = played
    judge = Judge(CITY)
    for one in (n(1), x(1), n(2), f(2), f(2), x(3), n(1)):  # the last one is said again
        judge.on_vote(nodes[0], one)
    for one in (n(2, HASHES[1]), f(2, HASHES[1])):
        judge.on_vote(nodes[1], one)


def test_two_final_blocks_at_a_height(played) -> None:
    nodes, recording = played
    block = recording.told[4]
    judge = Judge(CITY)
    judge.on_final(nodes[0], block)
    other = replace(block, header=replace(block.header, view=View(block.header.view + 1)), certificate=None)
    breaks("agreement", lambda: judge.on_final(nodes[1], other))


def test_a_certificate_of_too_few_or_of_something_else(played) -> None:
    nodes, recording = played
    block = next(block for block in recording.told if block.certificate is not None)
    assert block.certificate is not None
    forged = replace(block.certificate, signatures=(Signature(bytes(64)),) * 3)
    later = replace(block.certificate, ballot=replace(block.certificate.ballot, view=View(999)))
    for lie in (forged, later):
        breaks("validity", lambda lie=lie: Judge(CITY).on_final(nodes[0], replace(block, certificate=lie)))


def shown(played, upto: int) -> tuple[Judge, Node, list]:
    """A judge that was shown the first blocks of the run."""
    nodes, recording = played
    judge = Judge(CITY)
    for block, transactions in recording.stored[:upto]:
        judge.on_stored(nodes[0], block, transactions)
    return judge, nodes[0], recording.stored


def test_the_whole_run_is_right(played) -> None:
    judge, _, stored = shown(played, 20)
    assert judge.height == 20 and sum(len(transactions) for _, transactions in stored) > 10


def test_a_block_left_out_or_stored_twice(played) -> None:
    judge, node, stored = shown(played, 5)
    breaks("order", lambda: judge.on_stored(node, *stored[6]))
    breaks("order", lambda: judge.on_stored(node, *stored[4]))


@pytest.mark.parametrize(
    "bend",
    [
        lambda h: replace(h, epoch=Epoch(h.epoch + 1)),
        lambda h: replace(h, parent_digest=HASHES[0]),
        lambda h: replace(h, time_ms=Millis(0)),
        lambda h: replace(h, next_set_hash=HASHES[0]),
        lambda h: replace(h, tx_root=HASHES[0]),
    ],
    ids=["epoch", "parent", "time", "boundary", "tx_root"],
)
def test_a_header_that_is_wrong_in_its_place(played, bend) -> None:
    judge, node, stored = shown(played, 5)
    block, transactions = stored[5]
    breaks("validity", lambda: judge.on_stored(node, replace(block, header=bend(block.header)), transactions))


def test_a_digest_that_is_not_of_all_fields(played) -> None:
    judge, node, stored = shown(played, 5)
    block, transactions = stored[5]
    header = replace(block.header, proposer=3 - block.header.proposer)
    header.__dict__["digest"] = block.header.digest
    breaks("validity", lambda: judge.on_stored(node, replace(block, header=header), transactions))


def signed(of: Transaction, **changes: object) -> Transaction:
    """The same transaction with another body, signed by the same keys."""
    body = replace(of.body, **changes)  # type: ignore[arg-type]
    return Transaction(body, tuple(KeyedHash(key).sign(body.id) for key in body.signers))


def test_what_nobody_signed_in_any_store(played) -> None:
    nodes, recording = played
    i = next(i for i, (_, transactions) in enumerate(recording.stored) if transactions)
    block, transactions = recording.stored[i]
    forged = tuple(replace(t, signatures=(Signature(bytes(64)),) * len(t.signatures)) for t in transactions)
    judge, _, _ = shown(played, i + 1)
    for earlier in recording.stored[:i]:
        judge.on_stored(nodes[1], *earlier)
    breaks("validity", lambda: judge.on_stored(nodes[1], block, forged))


def with_transactions(judge: Judge, node: Node, at: FinalBlock, *transactions: Transaction) -> None:
    """Show the judge a next block that holds these."""
    from p2pledger.chain.block import tx_root

    ids = tuple(transaction.id for transaction in transactions)
    header = replace(at.header, tx_root=tx_root(ids))
    judge.on_stored(node, replace(at, header=header, transaction_ids=ids), transactions)


def test_what_is_in_the_chain_already(played) -> None:
    judge, node, stored = shown(played, 10)
    old = next(t for _, transactions in stored[:10] for t in transactions)
    breaks("once", lambda: with_transactions(judge, node, stored[10][0], old))


def test_an_expired_transaction(played) -> None:
    judge, node, stored = shown(played, 10)
    fresh = CITY.transaction(4_000)
    late = signed(fresh, expires_ms=Millis(1))
    breaks("validity", lambda: with_transactions(judge, node, stored[10][0], late))


def test_rules_of_the_modules(played) -> None:
    judge, node, stored = shown(played, 10)
    enrolled = CITY.transaction(0)
    again = signed(enrolled, salt=b"anothers")
    breaks("invariant", lambda: with_transactions(judge, node, stored[10][0], again))
    judge, node, stored = shown(played, 10)
    taken = next(t for _, found in stored[:10] for t in found if t.body.kind == "record.append")
    twice = signed(taken, salt=b"anothers")
    breaks("invariant", lambda: with_transactions(judge, node, stored[10][0], twice))


def test_an_offence_recorded_twice(played) -> None:
    from p2pledger.chain.block import evidence_root

    judge, node, stored = shown(played, 5)
    evidence = (evidence_of(n(1), n(1, HASHES[1])),)
    for i, promise in ((5, None), (6, "once")):
        block, transactions = stored[i]
        header = replace(block.header, evidence_root=evidence_root(evidence))
        if promise is None:
            judge.on_stored(node, replace(block, header=header, evidence=evidence), transactions)
            judge._headers[Height(6)] = block.header  # the next one's parent is the block as it was
        else:
            bent = replace(block, header=header, evidence=evidence)
            breaks(promise, lambda bent=bent, with_=transactions: judge.on_stored(node, bent, with_))


def test_who_heard_enough_of_one_list_need_not_hear_more_of_a_longer_one():
    report = run(case_of(1_638))  # node 3 starts among four, and an epoch of five begins before it votes
    assert report.violation is None
