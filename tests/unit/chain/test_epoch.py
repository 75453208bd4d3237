"""Where a height stands in the epochs: counted out block by block."""

import pytest
from p2pledger.chain.epoch import boundary_height, ends_epoch, epoch_of


@pytest.mark.parametrize("length", [1, 2, 7])
def test_epochs_follow_each_other_and_have_one_length(length):
    height = 0
    for epoch in range(4):
        for place in range(1, length + 1):
            height += 1
            assert epoch_of(height, length) == epoch
            assert ends_epoch(height, epoch, length) == (place == length)
            assert not ends_epoch(height, epoch + 1, length)
        assert boundary_height(epoch, length) == height


def test_the_genesis_block_counts_to_the_first_epoch_and_ends_none():
    assert epoch_of(0, 1) == 0
    assert not ends_epoch(0, 0, 1)
