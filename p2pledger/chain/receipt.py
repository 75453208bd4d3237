"""Results, and the receipts that prove them without a network. Floor 3."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated

from p2pledger import merkle
from p2pledger.chain.authority import AuthoritySet
from p2pledger.chain.block import Boundary, Header, receipts_root
from p2pledger.chain.genesis import Genesis
from p2pledger.chain.transaction import TRANSACTION_BYTES_MAX, Transaction, decode_transaction, is_authentic
from p2pledger.chain.vote import Certificate, IsSigned, VoteKind, check_certificate
from p2pledger.codec import U32, Length, encode
from p2pledger.codec.heads import ARRAY, BYTES, STRINGS, UNSIGNEDS, head
from p2pledger.errors import InvalidMessage
from p2pledger.types import HASH_BYTES, Hash, Height

EPOCHS_MAX = 65_536
HEADERS_MAX = 1_024
OUTPUT_BYTES_MAX = 256

_BEFORE_ID = head(ARRAY, 4) + head(BYTES, HASH_BYTES)
"""What an encoded `Result` begins with."""


@dataclass(frozen=True)
class Result:
    """What became of a transaction: a leaf of the append-only tree of all results since genesis.

    Only transactions that succeed are in a block, so there is no failure here. `output` is what its
    rule had to say about it (canonical CBOR, often empty).
    """

    transaction_id: Hash
    height: Height
    position: U32
    output: Annotated[bytes, Length(0, OUTPUT_BYTES_MAX)]

    def leaf(self) -> Hash:
        """Its leaf hash."""
        return merkle.leaf_hash(encode(self))


@dataclass(frozen=True)
class Results:
    """The results of a block's transactions, in their order: without an object for each of thousands."""

    height: Height
    transaction_ids: tuple[Hash, ...]
    outputs: tuple[bytes, ...]

    def __len__(self) -> int:
        return len(self.transaction_ids)

    def __iter__(self) -> Iterator[Result]:
        outputs = zip(self.transaction_ids, self.outputs, strict=True)
        for position, (transaction_id, output) in enumerate(outputs):
            yield Result(transaction_id, self.height, position, output)

    @cached_property
    def leaves(self) -> list[Hash]:
        """`Result.leaf` of each, worked out once: the machine and the store ask for them."""
        if max(map(len, self.outputs), default=0) > OUTPUT_BYTES_MAX:
            raise ValueError(f"an output has at most {OUTPUT_BYTES_MAX} bytes")
        # As `encode` writes them: that, one by one, took most of what a result costs.
        before, height = _BEFORE_ID, UNSIGNEDS[self.height]
        positions = map(UNSIGNEDS.__getitem__, range(len(self)))
        lengths = map(STRINGS.__getitem__, map(len, self.outputs))
        parts = zip(self.transaction_ids, positions, lengths, self.outputs, strict=True)
        return merkle.leaf_hashes(
            [before + id_ + height + position + length + output for id_, position, length, output in parts]
        )


@dataclass(frozen=True)
class Receipt:
    """That a transaction is final, and with what result; verified with the genesis file alone.

    `headers` runs from the block that holds the transaction to the first one after it (often itself)
    that has a finality certificate of its own; each names the one before it as its parent.
    `boundaries` are the ends of the epochs before the certified header's, oldest first.
    """

    transaction: Annotated[bytes, Length(1, TRANSACTION_BYTES_MAX)]
    inclusion: merkle.Path
    result: Result
    result_path: merkle.Path
    headers: Annotated[tuple[Header, ...], Length(1, HEADERS_MAX)]
    certificate: Certificate
    boundaries: Annotated[tuple[Boundary, ...], Length(0, EPOCHS_MAX)]


def check_receipt(receipt: Receipt, genesis: Genesis, is_signed: IsSigned) -> Transaction:
    """Verify a receipt from the genesis file alone and return its transaction. Pure; no network.

    Raises: InvalidMessage, saying which link of the chain of proof does not hold.
    """
    _check_headers(receipt, genesis, is_signed)
    block, result = receipt.headers[0], receipt.result
    transaction = decode_transaction(receipt.transaction)
    if transaction.body.genesis_hash != genesis.hash or not is_authentic(transaction, is_signed):
        raise InvalidMessage("the transaction's signatures do not hold on this ledger")
    if (result.transaction_id, result.height) != (transaction.id, block.height):
        raise InvalidMessage("the result is another transaction's")
    if receipt.inclusion.index != result.position:
        raise InvalidMessage("the result names another position in the block")
    if receipt.inclusion.root(merkle.leaf_hash(transaction.id)) != block.tx_root:
        raise InvalidMessage("the transaction is not under the block's tx_root")
    root = receipt.result_path.root(result.leaf())
    if root is None or receipts_root(receipt.result_path.size, root) != block.receipts_root:
        raise InvalidMessage("the result is not under the block's receipts_root")
    return transaction


def _check_headers(receipt: Receipt, genesis: Genesis, is_signed: IsSigned) -> None:
    certified = receipt.headers[-1]
    if len(receipt.boundaries) != certified.epoch:
        raise InvalidMessage("a receipt carries one boundary per epoch before its header's")
    sets = proven_sets(receipt.boundaries, genesis, is_signed)
    check_final(certified, receipt.certificate, genesis.hash, sets[certified.epoch], is_signed)
    for older, newer in zip(receipt.headers, receipt.headers[1:], strict=False):
        if newer.parent_digest != older.digest or newer.height != older.height + 1:
            raise InvalidMessage("the headers of a receipt do not form a chain")


def proven_sets(
    boundaries: Sequence[Boundary], genesis: Genesis, is_signed: IsSigned
) -> tuple[AuthoritySet, ...]:
    """The authority lists of epochs 0 to len(boundaries) + 1, from the ends of the epochs 0, 1, and so on.

    Each list is vouched for by the one that reigned two epochs before. Raises: InvalidMessage.
    """
    sets = [genesis.authorities, genesis.next_authorities]
    for epoch, boundary in enumerate(boundaries):
        if boundary.header.epoch != epoch or boundary.header.next_set_hash != boundary.next_set.hash:
            raise InvalidMessage(f"the boundary of epoch {epoch} does not name the next authority list")
        check_final(boundary.header, boundary.certificate, genesis.hash, sets[epoch], is_signed)
        sets.append(boundary.next_set)
    return tuple(sets)


def check_final(
    header: Header,
    certificate: Certificate,
    genesis_hash: Hash,
    authorities: AuthoritySet,
    is_signed: IsSigned,
) -> None:
    """Refuse a certificate that does not make this header final under its epoch's authority list.

    Its view may be later than the header's: a boundary block is proposed again until it is final.
    Raises: InvalidMessage.
    """
    ballot = certificate.ballot
    if ballot.kind is not VoteKind.FINALISE or ballot.digest != header.digest:
        raise InvalidMessage("the certificate does not make this header final")
    if ballot.epoch != header.epoch or ballot.view < header.view or header.genesis_hash != genesis_hash:
        raise InvalidMessage("the header belongs to another epoch or ledger")
    check_certificate(certificate, genesis_hash, authorities, is_signed)
