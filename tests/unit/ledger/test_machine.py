"""The envelope's codes, and what a block does as a whole."""

from dataclasses import replace
from itertools import permutations

import pytest
from p2pledger import merkle
from p2pledger.chain.block import FINAL_BLOCK_BYTES_MAX, receipts_root, tx_root
from p2pledger.chain.genesis import LAN
from p2pledger.chain.payloads import Action, CorrectionReason, Item, RecordAppend, RecordCorrect
from p2pledger.chain.transaction import Transaction
from p2pledger.codec import encode
from p2pledger.errors import InvalidMessage, InvalidTransaction
from p2pledger.ledger import payloads as payloads_module
from p2pledger.ledger.commitment import Commitment, check_state_proof
from p2pledger.ledger.machine import BLOCK_PLACES, Machine
from p2pledger.ledger.overlay import Overlay
from p2pledger.ledger.state import EmptyState
from p2pledger.merkle import Frontier
from tests.ledgers import GRANTED, START_MS, Effects, Ledger, genesis, quota, signer, transaction

ACT = RecordAppend(
    "admin.act/1", START_MS, None, None, Action.OBSERVE, (Item("permit", 1, "C62"),),
    None, None, None, (), GRANTED, None,
)  # fmt: skip


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


def code_of(ledger: Ledger, one: Transaction) -> str:
    with pytest.raises(InvalidTransaction) as by_check:
        ledger.machine.check(ledger.reader, ledger.next_round, one)
    with pytest.raises(InvalidTransaction) as by_execution:
        ledger.block(one)
    built = ledger.machine.build(ledger.reader, ledger.execution.frontier, ledger.next_round, [one])
    assert built.transactions == ()
    (refusal,) = built.refused
    assert refusal.transaction_id == one.id
    assert by_check.value.code == by_execution.value.code == refusal.error.code
    return by_check.value.code


def test_a_good_transaction_has_a_result_and_roots(ledger):
    before = ledger.execution
    one = transaction(ledger.genesis, ACT, "city", "city 1")
    execution = ledger.block(one)
    (result,) = execution.results
    assert (result.transaction_id, result.height, result.position) == (one.id, 1, 0)
    assert execution.tx_root == tx_root([one.id])
    assert execution.receipts_root == receipts_root(1, merkle.root([result.leaf()]))
    assert execution.transactions == {one.id: one}
    assert execution.state_root != before.state_root
    everything = ledger.machine.start().writes | execution.writes
    assert execution.state_root == Commitment(65_536).update(EmptyState(), everything).crown.root


def test_the_state_root_proves_what_was_corrected(ledger):
    wrong = ledger.does(ACT, "city", "city 1")
    ledger.does(RecordCorrect(wrong.id, CorrectionReason.INCORRECT_DATA, ()), "city", "city 1")
    key = b"correction/" + wrong.id
    assert ledger.reader.get(key) is not None
    proof = Commitment(65_536).prove(ledger.reader, key)
    check_state_proof(proof, ledger.execution.state_root, key, ledger.reader.get(key))


def test_another_ledgers_transaction(ledger):
    other = genesis(quota=quota(transactions=5))
    assert code_of(ledger, transaction(other, ACT, "city", "city 1")) == "wrong_genesis"


def test_an_unknown_kind(ledger):
    assert code_of(ledger, transaction(ledger.genesis, b"\x80", "city", "city 1", kind="moon.walk")) == (
        "unknown_kind"
    )


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b"\x80", "malformed"),
        (encode(ACT)[:-1], "malformed"),
        (b"\xff", "malformed"),
        (encode(ACT)[:-1] + b"\xf7", "malformed"),
        (b"\x98\x0c" + encode(ACT)[1:], "not_canonical"),
    ],
)
def test_a_payload_that_is_none(ledger, payload, code):
    one = transaction(ledger.genesis, payload, "city", "city 1", kind=ACT.KIND)
    assert code_of(ledger, one) == code
    with pytest.raises(InvalidTransaction) as refusal:
        ledger.machine.check_form(one)
    assert refusal.value.code == code


def test_forms_are_checked_together_as_each_is(ledger):
    other, wrong = (
        genesis(quota=quota(transactions=5)),
        RecordCorrect(merkle.root([]), CorrectionReason(1), ()),
    )
    good = [transaction(ledger.genesis, payload, "city", "city 1") for payload in (ACT, wrong, ACT)]
    bad = {
        "wrong_genesis": transaction(other, ACT, "city", "city 1"),
        "unknown_kind": transaction(ledger.genesis, b"\x80", "city", "city 1", kind="moon.walk"),
        "malformed": transaction(ledger.genesis, b"\x80", "city", "city 1", kind=ACT.KIND),
        "not_canonical": transaction(
            ledger.genesis, b"\x98\x0c" + encode(ACT)[1:], "city", "city 1", kind=ACT.KIND
        ),
    }
    ledger.machine.check_forms([])
    for some in permutations(bad.items(), 2):
        for place in range(len(good) + 1):
            machine = Machine(ledger.genesis)
            with pytest.raises(InvalidTransaction) as refusal:
                machine.check_forms([*good[:place], *(one for _, one in some), *good[place:]])
            assert refusal.value.code == some[0][0]


def test_payloads_decoded_together_are_not_decoded_again(ledger, monkeypatch):
    good = [transaction(ledger.genesis, ACT, "city", "city 1") for _ in range(3)]
    ledger.machine.check_forms(good)
    monkeypatch.setattr(payloads_module, "decode", None)
    ledger.block(*good)


def test_time_limits_are_exact(ledger):
    time_ms = ledger.next_round.time_ms
    window_ms = ledger.genesis.parameters.expiry_window_ms

    def until(expires_ms: int) -> Transaction:
        return transaction(ledger.genesis, ACT, "city", "city 1", expires_ms=expires_ms)

    assert code_of(ledger, until(time_ms - 1)) == "expired"
    assert code_of(ledger, until(time_ms + window_ms + 1)) == "expires_too_late"
    ledger.machine.check(ledger.reader, ledger.next_round, until(time_ms))
    ledger.machine.check(ledger.reader, ledger.next_round, until(time_ms + window_ms))


def test_a_trial_tries_each_transaction_for_itself():
    ledger = Ledger(genesis(quota=quota(1)))
    one, two = (transaction(ledger.genesis, ACT, "city", "city 1") for _ in range(2))
    trial = ledger.machine.trial(ledger.reader, ledger.next_round)
    for _ in range(2):
        assert trial.check(one) == trial.check(two) == trial.quota(one) == quota(1)
        with pytest.raises(InvalidTransaction) as refusal:
            trial.check(transaction(ledger.genesis, ACT, "city", "stranger"))
        assert refusal.value.code == "not_entitled"
        with pytest.raises(InvalidTransaction) as refusal:
            trial.check(transaction(ledger.genesis, ACT, "city", "city 1", expires_ms=START_MS - 1))
        assert refusal.value.code == "expired"
    ledger.block(one)
    assert code_of(ledger, two) == "over_quota"


def test_a_quota_is_for_those_who_are_entitled_to_it(ledger):
    trial = ledger.machine.trial(ledger.reader, ledger.next_round)
    for _ in range(2):
        assert trial.quota(transaction(ledger.genesis, ACT, "city", "city 1")) == quota()
        assert trial.quota(transaction(ledger.genesis, ACT, "city", "stranger")) is None
        assert trial.quota(transaction(ledger.genesis, ACT, "nobody", "city 1")) is None
        with pytest.raises(InvalidTransaction):
            trial.quota(transaction(ledger.genesis, ACT, "city", "city 1", kind="no.kind"))


def test_an_id_is_accepted_once(ledger):
    one = transaction(ledger.genesis, ACT, "city", "city 1")
    with pytest.raises(InvalidTransaction) as refusal:
        ledger.block(one, one)
    assert refusal.value.code == "replayed"
    ledger.block(one)
    ledger.block()
    assert code_of(ledger, one) == "replayed"


def test_other_signatures_do_not_make_another_transaction(ledger):
    one = transaction(ledger.genesis, ACT, "city", "city 1")
    ledger.block(one)
    forged = Transaction(one.body, (signer("city 2").sign(one.id),))
    assert code_of(ledger, forged) == "replayed"


def test_a_sponsor_must_exist_and_have_signed(ledger):
    assert code_of(ledger, transaction(ledger.genesis, ACT, "nobody", "city 1")) == "unknown_sponsor"
    assert code_of(ledger, transaction(ledger.genesis, ACT, "utility", "city 1")) == "not_entitled"
    assert code_of(ledger, transaction(ledger.genesis, ACT, "city", "stranger")) == "not_entitled"


def test_quota_counts_transactions_and_bytes():
    size = len(transaction(genesis(), ACT, "city", "city 1").encoded)
    for limit in (quota(transactions=2), quota(size_bytes=2 * size)):
        ledger = Ledger(genesis(quota=limit))
        ledger.does(ACT, "city", "city 1")
        ledger.does(ACT, "city", "city 1")
        assert code_of(ledger, transaction(ledger.genesis, ACT, "city", "city 1")) == "over_quota"
        ledger.does(ACT, "utility", "utility 1")
        ledger.time_ms += ledger.genesis.parameters.quota_window_ms
        ledger.does(ACT, "city", "city 1")


def test_a_failed_transaction_leaves_nothing_behind(ledger):
    good = [transaction(ledger.genesis, ACT, "city", "city 1") for _ in range(3)]
    # Its reference is missing, which is found after index rows and the quota were touched.
    bad = transaction(ledger.genesis, replace(ACT, references=(bytes(32),)), "city", "city 1")
    frontier, at = ledger.execution.frontier, ledger.next_round
    clean = ledger.machine.build(ledger.reader, frontier, at, good)
    mixed = ledger.machine.build(ledger.reader, frontier, at, [good[0], bad, good[1], bad, good[2]])
    assert [one.error.code for one in mixed.refused] == ["unknown_record"] * 2
    assert mixed.transactions == clean.transactions == tuple(good)
    assert mixed.execution == clean.execution == ledger.block(*good)


def test_execution_is_a_function_of_its_arguments(ledger):
    block = [transaction(ledger.genesis, ACT, "city", "city 1") for _ in range(5)]
    other = Machine(ledger.genesis)
    first = Overlay(EmptyState(), other.start())
    again = other.execute(first, Frontier(), ledger.next_round, block)
    assert again == ledger.block(*block)


def test_a_block_keeps_its_limits():
    small = replace(LAN, block_transactions_max=3, block_bytes_max=1_024)
    ledger = Ledger(genesis(parameters=small))
    many = [transaction(ledger.genesis, ACT, "city", "city 1") for _ in range(5)]
    frontier, at = ledger.execution.frontier, ledger.next_round
    built = ledger.machine.build(ledger.reader, frontier, at, many)
    assert built.transactions == tuple(many[:3]) and built.refused == ()
    with pytest.raises(InvalidMessage, match="at most 3 transactions"):
        ledger.block(*many[:4])
    fat = transaction(ledger.genesis, replace(ACT, body=bytes(900)), "city", "city 1")
    built = ledger.machine.build(ledger.reader, frontier, at, [many[0], fat, many[1]])
    assert built.transactions == (many[0], many[1]), "what has no room does not keep others out"
    assert built.refused == ()
    with pytest.raises(InvalidMessage, match="at most 1024 bytes"):
        ledger.block(many[0], fat)


def test_a_full_block_fits_into_one_gossip_message():
    assert 14_500 < BLOCK_PLACES <= 15_000
    assert BLOCK_PLACES * 34 + 256 * 66 + 16 * 384 + 512 <= FINAL_BLOCK_BYTES_MAX


def test_an_empty_block_changes_no_state(ledger):
    before = ledger.execution
    after = ledger.block()
    assert (after.state_root, after.receipts_root) == (before.state_root, before.receipts_root)
    assert after.writes == after.nodes == after.transactions == {}


def test_a_late_quota_window_and_a_suspension_are_read_not_written(ledger):
    from p2pledger.ledger.modules.registry.rows import ORGANISATIONS, organisation
    from p2pledger.ledger.state import Changes

    changes = Changes(ledger.reader)
    until_ms = ledger.time_ms + 1_000
    row = replace(organisation(changes, "city"), suspended_until_ms=until_ms)
    ORGANISATIONS.put(changes, b"city", row)

    ledger.reader = Overlay(ledger.reader, Effects(ledger.reader, changes.writes(), buckets=65_536))
    assert code_of(ledger, transaction(ledger.genesis, ACT, "city", "city 1")) == "sponsor_suspended"
    ledger.time_ms = until_ms - 1
    ledger.does(ACT, "city", "city 1")
