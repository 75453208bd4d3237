from dataclasses import fields, replace

import pytest
from p2pledger.chain.block import genesis_digest, is_boundary, receipts_root, tx_root
from p2pledger.merkle import EMPTY_ROOT
from p2pledger.types import Hash
from tests.vectors.make import GENESIS, HEADER, IDS, LAST, PROPOSAL, digest


@pytest.mark.parametrize("name", [field.name for field in fields(HEADER) if field.name != "version"])
def test_the_digest_covers_every_field(name):
    value = getattr(HEADER, name)
    other = digest("other") if isinstance(value, bytes) else value + 1
    assert replace(HEADER, **{name: other}).digest != HEADER.digest


def test_the_order_of_transactions_is_under_the_root():
    assert tx_root(IDS) != tx_root(IDS[::-1])
    assert tx_root(()) == EMPTY_ROOT


def test_the_number_of_results_is_under_the_root():
    root = Hash(bytes(32))
    assert receipts_root(1, root) != receipts_root(2, root)


def test_a_boundary_names_the_next_list():
    assert is_boundary(LAST) and not is_boundary(HEADER)


def test_a_proposals_view_is_its_votes():
    assert (PROPOSAL.epoch, PROPOSAL.view) == (0, 1)


def test_two_ledgers_have_two_genesis_blocks():
    assert genesis_digest(GENESIS) != genesis_digest(replace(GENESIS, chain_id="other"))
