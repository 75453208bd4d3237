"""A receipt is verified with the genesis file alone; each link of its chain of proof is needed."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from p2pledger import merkle
from p2pledger.chain.authority import Authority, AuthoritySet
from p2pledger.chain.receipt import OUTPUT_BYTES_MAX, Result, Results, check_receipt
from p2pledger.chain.vote import certificate_of, finalise, notarise
from p2pledger.crypto import is_signed
from p2pledger.errors import InvalidMessage
from tests.vectors.make import BOUNDARY, GENESIS, HEADER, RECEIPT, TRANSACTIONS, digest, signer, vote


def refused(receipt, genesis=GENESIS) -> str:
    with pytest.raises(InvalidMessage) as refusal:
        check_receipt(receipt, genesis, is_signed)
    return str(refusal.value)


def certified(*headers):
    last = headers[-1]
    ballot = finalise(last.epoch, last.view, last.digest)
    certificate = certificate_of([vote(ballot, i) for i in range(3)], 4)
    return replace(RECEIPT, headers=headers, certificate=certificate)


def test_a_receipt_names_its_transaction():
    assert check_receipt(RECEIPT, GENESIS, is_signed) == TRANSACTIONS["record.batch"]


def test_a_later_header_may_carry_the_certificate():
    child = replace(HEADER, height=2, view=2, parent_digest=HEADER.digest)
    check_receipt(certified(HEADER, child), GENESIS, is_signed)
    orphan = replace(child, parent_digest=digest("elsewhere"))
    assert "do not form a chain" in refused(certified(HEADER, orphan))
    gap = replace(child, height=3)
    assert "do not form a chain" in refused(certified(HEADER, gap))


def test_each_link_is_needed():
    other = TRANSACTIONS["record.append"].encoded
    assert "another transaction" in refused(replace(RECEIPT, transaction=other))
    spoiled = bytearray(RECEIPT.transaction)
    spoiled[-1] ^= 1
    assert "signatures do not hold" in refused(replace(RECEIPT, transaction=bytes(spoiled)))
    moved = replace(RECEIPT.result, position=RECEIPT.result.position + 1)
    assert "another position" in refused(replace(RECEIPT, result=moved))
    louder = replace(RECEIPT.result, output=b"and a prize")
    assert "receipts_root" in refused(replace(RECEIPT, result=louder))
    longer = replace(RECEIPT.result_path, size=RECEIPT.result_path.size + 1)
    assert "receipts_root" in refused(replace(RECEIPT, result_path=longer))
    lost = replace(RECEIPT.inclusion, siblings=RECEIPT.inclusion.siblings[::-1])
    assert "tx_root" in refused(replace(RECEIPT, inclusion=lost))
    assert "tx_root" in refused(certified(replace(HEADER, tx_root=merkle.EMPTY_ROOT)))


def test_the_certificate_is_a_final_one_of_this_header():
    noted = certificate_of([vote(notarise(0, 1, HEADER.digest), i) for i in range(3)], 4)
    assert "does not make this header final" in refused(replace(RECEIPT, certificate=noted))
    elsewhere = certificate_of([vote(finalise(0, 1, digest("x")), i) for i in range(3)], 4)
    assert "does not make this header final" in refused(replace(RECEIPT, certificate=elsewhere))
    earlier = certificate_of([vote(finalise(0, 0, HEADER.digest), i) for i in range(3)], 4)
    assert "another epoch" in refused(replace(RECEIPT, certificate=earlier))


def test_a_forged_authority_list_is_refused():
    forged = AuthoritySet(
        tuple(Authority(f"org-{n}", signer(f"forged {n}").public_key, f"peer-{n}") for n in range(4))
    )
    assert refused(RECEIPT, replace(GENESIS, authorities=forged))
    late = replace(HEADER, epoch=1)
    ballot = finalise(1, 1, late.digest)
    receipt = replace(
        RECEIPT,
        headers=(late,),
        certificate=certificate_of([vote(ballot, i) for i in range(3)], 4),
        boundaries=(replace(BOUNDARY, next_set=forged),),
    )
    assert "does not name the next authority list" in refused(receipt)
    check_receipt(replace(receipt, boundaries=(BOUNDARY,)), GENESIS, is_signed)
    assert "one boundary per epoch" in refused(replace(receipt, boundaries=()))


OUTPUTS = st.lists(st.binary(max_size=30) | st.just(bytes(OUTPUT_BYTES_MAX)), max_size=40)


@given(st.integers(0, 2**64 - 1), OUTPUTS)
def test_the_leaves_of_a_block_are_those_of_its_results(height, outputs):
    ids = [digest(f"transaction {i}") for i in range(len(outputs))]
    results = Results(height, tuple(ids), tuple(outputs))
    each = [Result(id_, height, i, output) for i, (id_, output) in enumerate(zip(ids, outputs, strict=True))]
    assert list(results) == each and len(results) == len(each)
    assert results.leaves == [result.leaf() for result in each]


def test_an_output_that_no_result_may_have_is_not_encoded():
    with pytest.raises(ValueError):
        Results(7, (digest("one"),), (bytes(OUTPUT_BYTES_MAX + 1),)).leaves
