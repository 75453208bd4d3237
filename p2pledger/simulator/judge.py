"""Whether a run was right. Floor 8.

Shares no code with what it judges: hashes, quorums, sign bytes and the ledger's rules are worked out
here once more, in the plainest way, from PROTOCOL.md and MODULES.md. Honest nodes show it every vote
that their key gave, every block that became final, and every block that their store took.
"""

import hashlib
import struct
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from p2pledger.chain.authority import AuthoritySet
from p2pledger.chain.block import FinalBlock, Header
from p2pledger.chain.message import Status
from p2pledger.chain.transaction import Transaction
from p2pledger.chain.vote import Certificate, Offence, Vote
from p2pledger.simulator.books import Books
from p2pledger.simulator.city import City

if TYPE_CHECKING:
    from p2pledger.simulator.disk import Disk
    from p2pledger.simulator.node import Node

NOTARISE, SKIP, FINALISE = 1, 2, 3
LISTEN_DELTAS = 10


class Violation(Exception):
    """A promise was broken. `promise` names it in a word."""

    def __init__(self, promise: str, what: str) -> None:
        super().__init__(promise, what)
        self.promise = promise

    def __str__(self) -> str:
        return ": ".join(self.args)


@dataclass
class _Start:
    """What a node found when it started, and what it was told since about its own key (R8)."""

    at_ms: int
    highest: tuple[int, int]
    """The highest (epoch, view) that it knows to have voted in."""
    answered: set[int] = field(default_factory=set)
    has_heard: bool = False
    """Whether a quorum, itself included, has answered."""
    has_voted: bool = False
    lost: str = ""
    """The vote of its own key that it was shown and does not know."""


class Judge:
    """Watches one run. Raises Violation at the first broken promise."""

    def __init__(self, city: City) -> None:
        self.changes = 0
        """Grows with every stored block: when there is something new to ask about."""
        self.kinds: Counter[str] = Counter()
        """How many transactions of each kind are final."""
        self._city = city
        self._chain: list[bytes] = [b""]
        self._headers: dict[int, Header] = {}
        self._stored: dict[Disk, int] = {}
        self._told: dict[tuple[int, int], bytes] = {}
        self._votes: dict[tuple[int, int, int], dict[int, bytes]] = {}
        self._highest: dict[int, tuple[int, int]] = {}
        self._ids: set[bytes] = set()
        self._offences: set[tuple[int, int, int]] = set()
        self._books = Books(city.genesis)
        self.trusted: set[int] = set(range(city.authorities))
        """Whose keys never contradict themselves: all but those of liars and of restored guards."""
        self.lost: set[int] = set()
        """Whose guards were lost: they follow without voting."""
        self._starts: WeakKeyDictionary[Node, _Start] = WeakKeyDictionary()

    def summary(self) -> bytes:
        """What was judged, for comparing runs."""
        votes = repr(sorted((key, sorted(said.items())) for key, said in self._votes.items()))
        return b"".join(self._chain) + votes.encode()

    @property
    def height(self) -> int:
        """The highest block that anyone stored."""
        return len(self._chain) - 1

    def is_final(self, transaction_id: bytes) -> bool:
        """Whether a transaction stands in a block that someone stored."""
        return transaction_id in self._ids

    def is_adopted(self, proposal: bytes) -> bool:
        """Whether a proposal has the votes that it needs, by the judge's own counting."""
        return self._books.is_adopted(proposal)

    def has_failed(self, proposal: bytes) -> bool:
        """Whether a proposal was adopted when its measure could not be carried out any more."""
        return proposal in self._books.failed

    def is_suspended(self, organisation: str, time_ms: int) -> bool:
        """Whether an organisation may write nothing at a time."""
        return time_ms < self._books.suspended_until_ms(organisation)

    @property
    def measures(self) -> Counter[str]:
        """How many measures of each kind were carried out, and how many failed when they were adopted."""
        done = Counter({f"carried out: {kind}": n for kind, n in self._books.carried_out.items()})
        return done + Counter(f"failed when adopted: {kind}" for kind in self._books.failed.values())

    def sitting(self) -> list[str]:
        """The organisations whose nodes are authorities in the block after the highest one."""
        members = self._authorities(self.height // self._city.parameters.epoch_blocks).members
        return [member.organisation for member in members]

    @property
    def offences(self) -> int:
        """How many offences stand in final blocks."""
        return len(self._offences)

    # --- after a start (R8) ------------------------------------------------------------------------------

    def on_start(self, node: "Node") -> None:
        """A node starts on what its disk holds."""
        guard = node.disk.guard
        self._starts[node] = _Start(node.cursor, guard.guard.at if guard is not None else (0, 0))

    def _start_of(self, node: "Node") -> _Start:
        """Of a node whose start was not shown, nothing is known but that it has spoken before."""
        if node not in self._starts:
            self.on_start(node)
            self._starts[node].has_voted = True
        return self._starts[node]

    def on_status(self, node: "Node", peer: int, status: Status) -> None:
        """An authority tells a node where it stands, and what the node's own key signed last."""
        start = self._start_of(node)
        if status.is_reply:
            start.answered.add(peer)
            # By the list of its epoch then: who has heard enough need not hear more of a longer one.
            n = len(self._authorities(node.core.situation.epoch).members)
            start.has_heard |= 2 * (len(start.answered) + 1) - n > (n - 1) // 3
        for vote in status.echo:
            ballot = vote.ballot
            at = (ballot.epoch, ballot.view)
            # Of an epoch further off it knows no list by which to tell whose signature it is.
            if start.highest < at and at[0] <= node.core.situation.epoch + 1 and self._is_own(node, vote):
                start.lost = f"{ballot.kind.name} in {at}"

    def _is_own(self, node: "Node", vote: Vote) -> bool:
        if node.key is None:
            return False
        ballot = vote.ballot
        digest = self._sign_digest(ballot.kind.value, ballot.epoch, ballot.view, ballot.digest)
        return self._city.is_signed(node.key.public_key, digest, vote.signature)  # type: ignore[arg-type]

    def _check_start(self, node: "Node", vote: Vote) -> None:
        """Whoever lost its guard, or was shown that it did, is silent; everybody else listens first."""
        start, at = self._start_of(node), (vote.ballot.epoch, vote.ballot.view)
        if node.number in self.lost:
            raise Violation("silence", f"node {node.number} lost its guard, and votes in {at}")
        if start.lost:
            raise Violation(
                "silence", f"node {node.number} was shown its own {start.lost}, and votes in {at}"
            )
        has_waited = node.cursor >= start.at_ms + LISTEN_DELTAS * self._city.parameters.delta_ms
        is_alone = len(self._authorities(vote.ballot.epoch).members) == 1
        if not (start.has_voted or has_waited or start.has_heard or is_alone):
            raise Violation("silence", f"node {node.number} votes in {at}, and has not listened")
        start.has_voted = True
        start.highest = max(start.highest, at)

    # --- votes -------------------------------------------------------------------------------------------

    def on_vote(self, node: "Node", vote: Vote) -> None:
        """A key gave a vote."""
        if node.liar.is_liar:
            return
        self._check_start(node, vote)
        if node.number not in self.trusted:
            return
        ballot = vote.ballot
        kind, at = ballot.kind.value, (ballot.epoch, ballot.view)
        said = self._votes.setdefault((node.number, *at), {})
        if said.get(kind, ballot.digest) != ballot.digest:
            raise Violation("equivocation", f"node {node.number} voted twice as {kind} in {at}")
        is_new = kind not in said
        said[kind] = ballot.digest
        if SKIP in said and FINALISE in said:
            raise Violation("equivocation", f"node {node.number} skipped and finalised {at}")
        highest = self._highest.get(node.number, (0, 0))
        if is_new and at < highest:
            raise Violation("equivocation", f"node {node.number} voted in {at} after {highest}")
        self._highest[node.number] = max(highest, at)

    # --- blocks ------------------------------------------------------------------------------------------

    def on_final(self, node: "Node", block: FinalBlock) -> None:
        """A node holds a block for final: whatever becomes of its disk, no other may be there."""
        header = block.header
        if node.liar.is_liar:
            return
        known = self._told.setdefault((header.epoch, header.height), header.digest)
        if known != header.digest:
            raise Violation("agreement", f"two blocks are final at height {header.height}")
        if block.certificate is not None:
            self._check_certificate(header, block.certificate)

    def on_stored(self, node: "Node", block: FinalBlock, transactions: Sequence[Transaction]) -> None:
        """A node's store took a block."""
        if node.liar.is_liar:
            return
        header = block.header
        expected = self._stored.get(node.disk, 0) + 1
        if header.height != expected:
            raise Violation("order", f"node {node.number} stored {header.height} and not {expected}")
        self._stored[node.disk] = expected
        self.changes += 1
        self._check_signatures(header, transactions)
        if expected < len(self._chain):
            if self._chain[expected] != header.digest:
                raise Violation("agreement", f"node {node.number} has another block {expected}")
            return
        self._check_header(header)
        self._check_content(block, transactions)
        self._chain.append(header.digest)
        self._headers[expected] = header

    def _check_header(self, header: Header) -> None:
        height, blocks = header.height, self._city.parameters.epoch_blocks
        parent = self._headers.get(height - 1)
        is_last = height % blocks == 0
        if (
            header.epoch != (height - 1) // blocks
            or header.genesis_hash != self._city.genesis.hash
            or header.proposer != self._leader(header)
            or header.view <= header.parent_view
            or (parent is not None and header.parent_digest != parent.digest)
            or (parent is not None and header.time_ms <= parent.time_ms)
            or (header.next_set_hash != bytes(32)) != is_last
            or header.digest != _tagged("p2pledger/header/1", _array(header))
        ):
            raise Violation("validity", f"the header of block {height} is not right in its place")

    def _check_signatures(self, header: Header, transactions: Sequence[Transaction]) -> None:
        """An id does not cover the signatures: each store is asked for those that it took."""
        for transaction in transactions:
            signed = zip(transaction.body.signers, transaction.signatures, strict=True)
            if not all(self._city.is_signed(key, transaction.id, signature) for key, signature in signed):
                raise Violation("validity", f"block {header.height} holds what nobody signed")

    def _check_content(self, block: FinalBlock, transactions: Sequence[Transaction]) -> None:
        header = block.header
        ids = [bytes(transaction.id) for transaction in transactions]
        if ids != list(block.transaction_ids) or _root([b"\0" + i for i in ids]) != header.tx_root:
            raise Violation("validity", f"block {header.height} holds other transactions than it names")
        try:
            self._books.check_block(header.height, (len(one.encoded) for one in transactions))
        except ValueError as error:
            raise Violation("validity", f"block {header.height} is too large: {error}") from error
        for transaction in transactions:
            if bytes(transaction.id) in self._ids:
                raise Violation("once", f"a transaction is final twice, in block {header.height} again")
            self._ids.add(bytes(transaction.id))
            left = transaction.body.expires_ms - header.time_ms
            if not 0 <= left <= self._city.parameters.expiry_window_ms:
                raise Violation("validity", f"block {header.height} holds an expired transaction")
            self._apply(transaction, header.height, header.time_ms)
        for item in block.evidence:
            if item.offence in self._offences:
                raise Violation("once", f"the offence {item.offence} is recorded twice")
            self._offences.add(item.offence)
            if item.first.signer == item.second.signer and item.first.ballot == item.second.ballot:
                raise Violation("validity", "evidence of nothing")
        self._check_list(header, [item.offence for item in block.evidence])

    def _check_list(self, header: Header, offences: Sequence[Offence]) -> None:
        """The list that a boundary names is the one that follows from all that was accepted."""
        self._books.convict(offences)
        if header.height % self._city.parameters.epoch_blocks == 0:
            try:
                self._books.recount()
                expected = self._books.close(header.height)
            except ValueError as error:
                raise Violation("invariant", f"after block {header.height}: {error}") from error
            if header.next_set_hash != expected.hash:
                raise Violation("invariant", f"block {header.height} decides on another list than it should")

    def _apply(self, transaction: Transaction, height: int, time_ms: int) -> None:
        """The modules' invariants, as `invariants` works them out from what was accepted before."""
        try:
            self._books.apply(transaction, height, time_ms)
        except ValueError as error:
            raise Violation("invariant", f"in block {height}: {error}") from error
        self.kinds[transaction.body.kind] += 1

    def _check_certificate(self, header: Header, certificate: Certificate) -> None:
        authorities = self._authorities(header.epoch)
        n = len(authorities.members)
        signers = [i for i in range(len(certificate.bitmap) * 8) if certificate.bitmap[i // 8] >> i % 8 & 1]
        digest = self._sign_digest(FINALISE, header.epoch, certificate.ballot.view, header.digest)
        true = 0
        for signer, signature in zip(signers, certificate.signatures, strict=True):
            key = authorities.members[signer].key
            true += self._city.is_signed(key, digest, signature)  # type: ignore[arg-type]
        # Two sets of this size share more than a third: 2q - n > f.
        if 2 * true - n <= (n - 1) // 3:
            raise Violation("validity", f"{true} of {n} made block {header.height} final")

    def _authorities(self, epoch: int) -> AuthoritySet:
        return self._books.authorities(epoch)

    def _sign_digest(self, kind: int, epoch: int, view: int, block: bytes) -> bytes:
        message = b"rota1" + self._city.genesis.hash + self._authorities(epoch).hash + bytes([kind])
        return hashlib.sha256(message + struct.pack(">QQ", epoch, view) + block).digest()

    def _leader(self, header: Header) -> int:
        """Round robin, from a place that the epoch's base draws; 0 in the first."""
        base = self._chain[header.epoch * self._city.parameters.epoch_blocks]
        return (header.view + int.from_bytes(base[:8], "big")) % len(self._authorities(header.epoch).members)


def _tagged(domain: str, data: bytes) -> bytes:
    """BIP 340's tagged hash."""
    tag = hashlib.sha256(domain.encode()).digest()
    return hashlib.sha256(tag + tag + data).digest()


def _array(header: Header) -> bytes:
    """The canonical CBOR array of a header's fields: integers and 32-byte strings."""
    fields = [getattr(header, name) for name in header.__dataclass_fields__]
    return b"".join((bytes([0x80 + len(fields)]), *map(_item, fields)))


def _item(value: int | bytes) -> bytes:
    if isinstance(value, bytes):
        return b"\x58" + bytes([len(value)]) + value
    for limit, head, form in ((24, None, ">B"), (2**8, 0x18, ">B"), (2**16, 0x19, ">H"), (2**32, 0x1A, ">I")):
        if value < limit:
            return (bytes([head]) if head is not None else b"") + struct.pack(form, value)
    return b"\x1b" + struct.pack(">Q", value)


def _root(leaves: Sequence[bytes]) -> bytes:
    """RFC 6962, section 2.1, word by word. Leaves carry their 0 byte."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(leaves[0]).digest()
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return hashlib.sha256(b"\1" + _root(leaves[:k]) + _root(leaves[k:])).digest()
