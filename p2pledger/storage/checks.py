"""What both stores refuse to write, and how both put a receipt together. Floor 5."""

from collections.abc import Iterable, Sequence
from itertools import islice

from p2pledger import merkle
from p2pledger.chain.block import Boundary, FinalBlock, Header, genesis_digest, receipts_root
from p2pledger.chain.genesis import Genesis
from p2pledger.chain.receipt import HEADERS_MAX, Receipt, Result
from p2pledger.chain.transaction import Transaction
from p2pledger.errors import Fatal
from p2pledger.ledger.machine import Execution
from p2pledger.storage.database import Damaged
from p2pledger.storage.store import Located, Tip
from p2pledger.types import ZERO_HASH


def check_child(
    genesis: Genesis, tip: Tip, block: FinalBlock, transactions: Sequence[Transaction], execution: Execution
) -> None:
    """Refuse what is not the child of the tip, or not the execution of this block. Raises: Fatal."""
    header = block.header
    parent = tip.header.digest if tip.header is not None else genesis_digest(genesis)
    if (
        header.genesis_hash != genesis.hash
        or header.height != tip.height + 1
        or header.parent_digest != parent
    ):
        raise Fatal(f"block {header.height} is not the child of the final block at height {tip.height}")
    root = receipts_root(execution.frontier.size, execution.frontier.root())
    if (header.tx_root, header.state_root, header.receipts_root) != (
        execution.tx_root,
        execution.state_root,
        root,
    ):
        raise Fatal(f"the roots of block {header.height} are not those of its execution")
    ids = tuple([transaction.id for transaction in transactions])
    if ids != block.transaction_ids or set(ids) != execution.transactions.keys():
        raise Fatal(f"the transactions of block {header.height} are not those that it names")
    results = execution.results
    if (results.height, results.transaction_ids) != (header.height, ids):
        raise Fatal(f"the results of block {header.height} are not those of its transactions")
    if execution.growth.before != tip.frontier:
        raise Fatal(f"the tree of results of block {header.height} does not grow from the tip's")
    if execution.growth.leaves() != results.leaves:
        raise Fatal(f"the tree of results of block {header.height} does not grow by its results")


def check_start(start: Execution) -> None:
    """Refuse a genesis block with transactions: it has no certificate to prove them by. Raises: Fatal."""
    if start.results or start.transactions or start.frontier.size:
        raise Fatal("the genesis block has no transactions")


def boundary_of(block: FinalBlock, execution: Execution) -> Boundary | None:
    """The end of an epoch as a store keeps it: with its certificate, and the list that it names in full.

    None for a block that ends no epoch. Raises: Fatal.
    """
    header, next_set = block.header, execution.next_set
    if header.next_set_hash != (ZERO_HASH if next_set is None else next_set.hash):
        raise Fatal(f"the authority list that block {header.height} names is not that of its execution")
    if next_set is None:
        return None
    if block.certificate is None:
        raise Fatal(f"the last block of epoch {header.epoch} comes without its certificate")
    return Boundary(header, block.certificate, next_set)


def receipt_of(
    located: Located, result_path: merkle.Path, blocks: Iterable[FinalBlock], boundaries: Iterable[Boundary]
) -> Receipt | None:
    """The proof that a transaction is final; None while no certificate covers it, or without its body.

    `blocks` runs from the transaction's block up, `boundaries` from epoch 0 up; of both only as much is
    drawn as the proof needs. A proof that does not lead to the header's own roots is never handed out.
    Raises: Fatal.
    """
    headers: list[Header] = []
    certificate, inclusion = None, None
    for block in blocks:
        if inclusion is None:
            leaves = [merkle.leaf_hash(id_) for id_ in block.transaction_ids]
            inclusion = merkle.path(leaves, located.result.position)
        headers.append(block.header)
        certificate = block.certificate
        if certificate is not None or len(headers) == HEADERS_MAX:
            break
    if certificate is None or inclusion is None or located.transaction is None:
        return None
    _check_paths(headers[0], located.result, inclusion, result_path)
    return Receipt(
        transaction=located.transaction.encoded,
        inclusion=inclusion,
        result=located.result,
        result_path=result_path,
        headers=tuple(headers),
        certificate=certificate,
        boundaries=tuple(islice(boundaries, headers[-1].epoch)),
    )


def _check_paths(header: Header, result: Result, inclusion: merkle.Path, result_path: merkle.Path) -> None:
    root = result_path.root(result.leaf())
    if (
        inclusion.root(merkle.leaf_hash(result.transaction_id)) != header.tx_root
        or root is None
        or receipts_root(result_path.size, root) != header.receipts_root
    ):
        raise Damaged(f"what leads to the roots of block {header.height}")


def prefix_end(prefix: bytes) -> bytes | None:
    """The first key after all keys with this prefix; None when there is none."""
    stem = prefix.rstrip(b"\xff")
    return stem[:-1] + bytes([stem[-1] + 1]) if stem else None
