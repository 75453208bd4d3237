import sys
from dataclasses import replace

import pytest
import trio
from p2pledger.chain.transaction import SIGNERS_MAX, are_authentic
from p2pledger.ledger.machine import Machine
from p2pledger.metrics import Metrics
from p2pledger.node import verifying
from p2pledger.node.cores import Cores
from p2pledger.node.verifying import INLINE_MAX, Verifier
from p2pledger.types import Signature
from tests import ledgers
from tests.unit.node.test_signed_inside import ready

# --- both ways say the same ------------------------------------------------------------------------------


class Told(Cores):
    """Cores that are free, or taken, as it is told."""

    def __init__(self, are_free):
        super().__init__()
        self.are_free, self.observed = are_free, []

    def observe(self, elapsed_s, spent_s):
        self.observed.append((elapsed_s, spent_s))

    def is_for_thread(self):
        return self.are_free


@pytest.fixture
def ledger():
    return Machine(ledgers.genesis())


def told(ledger, are_free):
    cores = Told(are_free)
    return Verifier(ledger, Metrics(version="0", chain_id="test", node="test"), cores), cores


def batch(ledger, count, forged=()):
    made = [ready(ledger.genesis, is_good=i % 2 == 0, expires_ms=60_000 + i) for i in range(count)]
    for i in forged:
        made[i] = replace(made[i], signatures=(Signature(bytes(64)),))
    return made


@pytest.mark.parametrize("are_free", [True, False])
@pytest.mark.parametrize("count", [1, INLINE_MAX, 5 * INLINE_MAX])
async def test_what_is_signed_and_what_is_signed_inside_is_told_either_way(ledger, are_free, count):
    verifier, _ = told(ledger, are_free)
    forged = range(0, count, 3)
    made = batch(ledger, count, forged)
    assert await verifier.authentic(made) == [i not in forged for i in range(count)]
    inside = {i for i in range(count) if i not in forged and i % 2 == 0}
    assert {i for i, one in enumerate(made) if one.id not in ledger.signed_inside(made)} == inside


async def test_nothing_is_nothing(ledger):
    verifier, cores = told(ledger, are_free=False)
    assert await verifier.authentic([]) == []
    assert cores.observed == [], "it says nothing of the cores"


@pytest.mark.parametrize("are_free", [True, False])
async def test_all_that_the_loop_verifies_is_observed(ledger, are_free):
    verifier, cores = told(ledger, are_free)
    await verifier.authentic(batch(ledger, 2))
    assert len(cores.observed) == 1
    await verifier.authentic(batch(ledger, 2 * INLINE_MAX))
    assert len(cores.observed) == (1 if are_free else 2)
    assert all(elapsed_s > 0 for elapsed_s, _ in cores.observed)


# --- and holds nobody up ---------------------------------------------------------------------------------


@pytest.fixture
def slowly(monkeypatch):
    """Each piece takes as long as the loop may verify for; `slowly` notes whose turn it was."""
    turns, clock_s = [], [0.0]

    def verify(some):
        clock_s[0] += verifying.CHUNK_S
        turns.append("piece")
        return are_authentic(some)

    monkeypatch.setattr(verifying, "AT_ONCE", 1)
    monkeypatch.setattr(verifying, "are_authentic", verify)
    monkeypatch.setattr(verifying.time, "perf_counter", lambda: clock_s[0])
    return turns


async def test_of_many_signers_fewer_transactions_are_verified_at_once(ledger, monkeypatch):
    pieces = []

    def verify(some):
        pieces.append(sum(len(one.signatures) for one in some))
        return [True] * len(some)

    monkeypatch.setattr(verifying, "are_authentic", verify)
    many = [f"signer {n}" for n in range(SIGNERS_MAX)]
    verifier, _ = told(ledger, are_free=True)
    made = [ledgers.transaction(ledger.genesis, b"\x80", "city", *many, kind="record.append")] * INLINE_MAX
    assert all(await verifier.authentic(made + batch(ledger, INLINE_MAX)))
    assert max(pieces) == verifying.AT_ONCE


async def test_others_have_their_turn_after_each_chunk(ledger, slowly):
    verifier, _ = told(ledger, are_free=False)
    made = batch(ledger, 2 * INLINE_MAX, range(2 * INLINE_MAX))
    async with trio.open_nursery() as nursery:
        for _ in range(2):  # at the same time: they take turns
            nursery.start_soon(verifier.authentic, made)
        while slowly.count("piece") < 2 * len(made):
            slowly.append("others")
            await trio.lowlevel.checkpoint()
    assert slowly.count("others") >= slowly.count("piece") - 1


@pytest.mark.parametrize("are_free", [True, False])
async def test_the_loop_lets_go_sooner_only_while_threads_verify(ledger, monkeypatch, are_free):
    usual_s, seen_s = sys.getswitchinterval(), []

    def verify(some):
        seen_s.append(sys.getswitchinterval())
        return [True] * len(some)

    monkeypatch.setattr(verifying, "are_authentic", verify)
    verifier, _ = told(ledger, are_free)
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(verifier.authentic, batch(ledger, 2 * INLINE_MAX))
    expected_s = verifying.SWITCH_S if are_free else usual_s
    assert seen_s == pytest.approx([expected_s] * len(seen_s))
    assert sys.getswitchinterval() == usual_s
