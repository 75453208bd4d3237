"""Every way by which a transaction comes into a node: what is signed inside its payload is verified there.

`signed_inside` names what was not verified yet, or does not hold.
"""

from dataclasses import replace

import pytest
from p2pledger.chain.block import (
    HEADER_VERSION,
    FinalBlock,
    Header,
    evidence_root,
    genesis_digest,
    receipts_root,
    tx_root,
)
from p2pledger.chain.message import Frame
from p2pledger.chain.payloads import sign_ready
from p2pledger.chain.transaction import Batch, Outcome, Spread
from p2pledger.chain.vote import Certificate, finalise
from p2pledger.codec import encode
from p2pledger.consensus.events import Execute, Judgement
from p2pledger.crypto import is_signed
from p2pledger.errors import InvalidTransaction
from p2pledger.ledger.machine import Machine, Round
from p2pledger.merkle import Frontier
from p2pledger.network.seam import Topic
from p2pledger.node.verifying import INLINE_MAX
from p2pledger.types import ZERO_HASH, Epoch, Hash, Height, Millis, Signature, View
from p2pledger.verify_chain import Different, Replay
from tests import ledgers
from tests.unit.node.solo import Solo

CODE = "proof_invalid"


@pytest.fixture
def solo(tmp_path):
    made = Solo(tmp_path)
    yield made
    made.signer.close()


def ready(of, is_good=True, expires_ms=None):
    """An authority says that its node is ready; where it is bad, its consensus key has said another thing."""
    one = sign_ready(of.hash, ledgers.signer("authority 0"), Height(0), Hash(bytes(32)))
    if not is_good:
        one = replace(one, digest=Hash(b"\1" * 32))
    return ledgers.transaction(of, one, "authority-0", "admin 0", expires_ms=expires_ms)


def fresh(solo, is_good=True):
    return ready(solo.genesis, is_good, solo.clock.now() + 60_000)


def unproven(solo, *transactions):
    return [one for one in transactions if one.id in solo.machine.signed_inside(transactions)]


@pytest.mark.parametrize("count", [1, INLINE_MAX])  # where they stand, and on another thread
async def test_a_client_is_told_the_rules_own_code(solo, count):
    good, bad = [fresh(solo) for _ in range(count)], fresh(solo, is_good=False)
    answers = await solo.pool.submit([one.encoded for one in (bad, *good)])
    assert [getattr(answer, "code", "accepted") for answer in answers] == [CODE] + ["accepted"] * count
    assert unproven(solo, bad, *good) == [bad]


async def test_what_signers_forged_is_not_looked_into(solo):
    one = fresh(solo)
    forged = replace(one, signatures=(Signature(bytes(64)),))
    (answer,) = await solo.pool.submit([forged.encoded])
    assert isinstance(answer, InvalidTransaction) and answer.code == "bad_signature"
    assert unproven(solo, one) == [one]


async def test_gossip_is_verified_when_it_is_checked_and_a_bad_one_ends_refused(tmp_path):
    solo = Solo(tmp_path)  # which closes its own signer
    good, bad = fresh(solo), fresh(solo, is_good=False)
    data = encode(Spread(solo.clock.now(), (good.encoded, bad.encoded)))
    async with solo.running():
        take = await solo.exchange.check_gossip(Topic.TRANSACTIONS, "peer", data)
        assert unproven(solo, good, bad) == [bad]
        await take()
        assert (await solo.pool.wait(good.id, 20_000)).outcome is Outcome.FINAL
        fate = await solo.pool.wait(bad.id, 20_000)
        assert (fate.outcome, fate.code) == (Outcome.REFUSED, CODE)


async def test_a_frame_to_the_leader_is_verified(solo):
    good, bad = fresh(solo), fresh(solo, is_good=False)
    await solo.exchange.on_frame("peer", encode(Batch((good.encoded, bad.encoded)), Frame))
    assert unproven(solo, good, bad) == [bad]


def header_over(solo, execution, transactions, time_ms):
    """The header of a first block that claims what `execution` gave."""
    return Header(
        version=HEADER_VERSION,
        genesis_hash=solo.genesis.hash,
        epoch=Epoch(0),
        view=View(1),
        height=Height(1),
        parent_digest=genesis_digest(solo.genesis),
        parent_view=View(0),
        time_ms=Millis(time_ms),
        tx_root=tx_root([one.id for one in transactions]),
        state_root=execution.state_root,
        receipts_root=receipts_root(execution.growth.after.size, execution.growth.after.root()),
        next_set_hash=ZERO_HASH,
        evidence_root=evidence_root(()),
        proposer=0,
    )


def believed(solo, transactions, time_ms):
    """A block by a leader that holds every signature inside a payload for good."""
    credulous = Machine(solo.genesis, lambda *signed: True)
    at = Round(Epoch(0), Height(1), Millis(time_ms))
    execution = credulous.execute(solo.store, Frontier(), at, transactions)
    return header_over(solo, execution, transactions, time_ms)


@pytest.mark.parametrize("is_good", [True, False])
async def test_bodies_fetched_for_a_proposal_or_a_final_block_are_verified(solo, is_good):
    time_ms = solo.clock.now()
    one = fresh(solo, is_good)
    assert await solo.pool.take_fetched([one], {one.id})
    assert unproven(solo, one) == ([] if is_good else [one])
    header = believed(solo, [one], time_ms)
    done = solo.executor.execute(Execute(header, (one.id,), ()))
    assert done.judgement is (Judgement.VALID if is_good else Judgement.INVALID)
    assert is_good or "consensus key has not signed" in done.reason


@pytest.mark.parametrize("is_good", [True, False])
def test_bodies_that_a_guard_had_kept_are_verified_by_the_rule(solo, is_good):
    one = fresh(solo, is_good)
    header = believed(solo, [one], solo.clock.now())
    solo.pool.keep([one])
    assert unproven(solo, one) == [one]
    done = solo.executor.execute(Execute(header, (one.id,), ()))
    assert done.judgement is (Judgement.VALID if is_good else Judgement.INVALID)


@pytest.mark.parametrize("is_checking", [True, False])
@pytest.mark.parametrize("is_good", [True, False])
def test_a_chain_with_a_bad_one_does_not_verify_even_where_signatures_are_not_checked(
    solo, is_good, is_checking
):
    one = fresh(solo, is_good)
    header = believed(solo, [one], solo.clock.now())
    ballot = finalise(header.epoch, header.view, header.digest)
    signature = ledgers.signer("authority 0").sign(
        ballot.sign_digest(solo.genesis.hash, solo.genesis.authorities.hash)
    )
    block = FinalBlock(header, (one.id,), (), Certificate(ballot, b"\1", (signature,)))
    replay = Replay(solo.genesis, is_signed, is_checking=is_checking)
    if is_good:
        assert replay.take(block, (one,)).state_root == header.state_root.hex()
    else:
        with pytest.raises(Different, match=CODE):
            replay.take(block, (one,))
