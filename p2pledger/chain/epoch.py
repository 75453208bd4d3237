"""Where a height stands in the epochs, which are of one length from the first block on. Floor 3, pure.

An epoch is the blocks that one authority list decides on. The last of them is its boundary block, which
decides on the list of the epoch after the next.
"""

from p2pledger.types import Epoch, Height


def epoch_of(height: int, epoch_blocks: int) -> Epoch:
    """The epoch of a block; the genesis block counts to the first."""
    return Epoch(max(0, height - 1) // epoch_blocks)


def boundary_height(epoch: int, epoch_blocks: int) -> Height:
    """The height of an epoch's last block."""
    return Height((epoch + 1) * epoch_blocks)


def ends_epoch(height: int, epoch: int, epoch_blocks: int) -> bool:
    """Whether a block of this epoch and height is its last one."""
    return height == boundary_height(epoch, epoch_blocks)
