"""What this node does with what the network brings, and what it answers. Floor 6.

Bytes are judged here, before anything is believed or passed on; the agreement and the pool receive
values only.
"""

from collections.abc import AsyncGenerator, Callable, Sequence

import structlog

from p2pledger.chain.block import FinalBlock, Proposal
from p2pledger.chain.genesis import Genesis
from p2pledger.chain.message import (
    BlocksRequest,
    BodiesRequest,
    BoundariesRequest,
    Certificates,
    CertificatesRequest,
    Frame,
    ProposalsRequest,
    Reply,
    Request,
)
from p2pledger.chain.receipt import check_final
from p2pledger.chain.transaction import Batch, Transaction, decode_transaction
from p2pledger.chain.vote import Ballot, Evidence, Vote, check_evidence
from p2pledger.codec import decode, encode
from p2pledger.consensus import catchup
from p2pledger.consensus.core import Consensus
from p2pledger.consensus.events import Gossiped, Received
from p2pledger.consensus.tally import LATE_VIEWS
from p2pledger.crypto import is_signed
from p2pledger.errors import InvalidMessage, InvalidTransaction
from p2pledger.metrics import Metrics
from p2pledger.network.seam import Topic, Verdict
from p2pledger.node.finals import GossipSeen
from p2pledger.node.gossiping import BATCH_BYTES_MAX
from p2pledger.node.loop import Inbox
from p2pledger.node.pool import Pool, authentic
from p2pledger.storage.store import Store
from p2pledger.types import Epoch, Height, Millis, PeerId

CHECKED_MAX = 64
BLOCKS_BEHIND = 64
"""A final block this far below our own is of no use to anybody who listens to gossip."""

_log = structlog.get_logger("p2pledger.exchange")


class Exchange:
    """The network's `Handler`, over the pool, the store and the core's inbox. It only reads the core."""

    def __init__(
        self,
        genesis: Genesis,
        store: Store,
        pool: Pool,
        core: Consensus,
        inbox: Inbox,
        seen: GossipSeen,
        metrics: Metrics,
        now: Callable[[], Millis],
    ) -> None:
        self._genesis, self._store, self._pool = genesis, store, pool
        self._core, self._inbox, self._seen = core, inbox, seen
        self._metrics, self._now = metrics, now
        self._checked: dict[bytes, list[Transaction]] = {}
        """Batches between their check and their delivery, so that each is decoded once."""

    # --- gossip ----------------------------------------------------------------------------------------

    async def check_gossip(self, topic: Topic, peer: PeerId, data: bytes) -> Verdict:
        """See `Handler.check_gossip`. Whoever forwards vouches: signatures are verified before."""
        try:
            match topic:
                case Topic.TRANSACTIONS:
                    return await self._check_batch(data)
                case Topic.BLOCKS:
                    return self._check_block(decode(FinalBlock, data))
                case Topic.EVIDENCE:
                    return self._check_evidence(decode(Evidence, data))
        except InvalidMessage as error:
            _log.info("gossip_rejected", topic=topic.value, peer=peer, code=error.code, why=str(error))
            if topic is Topic.TRANSACTIONS:
                self._metrics.mempool_txs_received_total.at("gossip", error.code).inc()
            return Verdict.REJECT

    async def _check_batch(self, data: bytes) -> Verdict:
        transactions = _transactions(decode(Batch, data))
        unknown = [t for t in transactions if self._pool.get(t.id) is None]
        for transaction in unknown:
            try:
                self._pool.check_form(transaction)
            except InvalidTransaction as error:
                # No honest node forwards it: the entry node has told its client no.
                raise InvalidMessage(error.message, error.code) from None
        if not all(await authentic(unknown, self._metrics)):
            raise InvalidMessage("a transaction whose signatures are false", code="bad_signature")
        if len(self._checked) < CHECKED_MAX:
            self._checked[data] = transactions
        return Verdict.ACCEPT

    def _check_block(self, block: FinalBlock) -> Verdict:
        s = self._core.situation
        header = block.header
        if header.genesis_hash != self._genesis.hash or block.certificate is None:
            raise InvalidMessage("a block of another ledger, or without a certificate")
        authorities = s.sets.get(header.epoch)
        if authorities is None or header.height + BLOCKS_BEHIND < s.tree.root.height:
            return Verdict.IGNORE
        check_final(header, block.certificate, self._genesis.hash, authorities, is_signed)
        return Verdict.ACCEPT

    def _check_evidence(self, evidence: Evidence) -> Verdict:
        authorities = self._core.situation.sets.get(evidence.first.ballot.epoch)
        if authorities is None:
            return Verdict.IGNORE
        check_evidence(evidence, self._genesis.hash, authorities, is_signed)
        return Verdict.ACCEPT

    async def on_gossip(self, topic: Topic, peer: PeerId, data: bytes) -> None:
        """See `Handler.on_gossip`."""
        match topic:
            case Topic.TRANSACTIONS:
                transactions = self._checked.pop(data, None)
                await self._pool.take(transactions or _transactions(decode(Batch, data)), verified=True)
            case Topic.BLOCKS:
                block: FinalBlock = decode(FinalBlock, data)
                if self._seen.add(block):
                    self._count_fork(block)
                    delay_s = max(0, self._now() - block.header.time_ms) / 1_000
                    self._metrics.gossip_block_propagation_seconds.observe(delay_s)
                    self._metrics.chain_best_known_height.set(self._seen.best_height)
                await self._inbox.put(Gossiped(block))
            case Topic.EVIDENCE:
                await self._inbox.put(Gossiped(decode(Evidence, data)))

    def _count_fork(self, block: FinalBlock) -> None:
        """Both are certified, so a third of the authorities has lied; people must decide what follows."""
        own = self._store.block(block.header.height)
        if own is not None and own.header.digest != block.header.digest:
            self._metrics.chain_conflicting_finality_total.inc()
            _log.critical("conflicting_finality", height=own.header.height)

    # --- frames ----------------------------------------------------------------------------------------

    def is_frame_peer(self, peer: PeerId) -> bool:
        """See `Handler.is_frame_peer`."""
        return self._core.situation.authorities.index_of(peer) is not None

    async def on_frame(self, peer: PeerId, data: bytes) -> None:
        """See `Handler.on_frame`."""
        frame: Frame = decode(Frame, data)
        if isinstance(frame, Batch):
            if not await self._pool.take(_transactions(frame), verified=False):
                raise InvalidMessage("a transaction whose signatures are false", code="bad_signature")
            return
        index = self._core.situation.authorities.index_of(peer)
        if index is None:
            return
        if isinstance(frame, Vote):
            self._count_vote(frame.ballot)
        await self._inbox.put(Received(index, frame))

    def _count_vote(self, ballot: Ballot) -> None:
        s = self._core.situation
        window = s.setting.parameters.vote_window_views
        if (ballot.epoch, ballot.view + LATE_VIEWS) < (s.epoch, s.final_view):
            result = "stale"
        else:
            result = "accepted" if (ballot.epoch, ballot.view) <= (s.epoch, s.view + window) else "early"
        self._metrics.consensus_votes_total.at(ballot.kind.name.lower(), result).inc()

    # --- asks ------------------------------------------------------------------------------------------

    async def serve(self, peer: PeerId, request: bytes) -> AsyncGenerator[bytes, None]:
        """See `Handler.serve`."""
        asked: Request = decode(Request, request)
        match asked:
            case BoundariesRequest(from_epoch, count):
                for epoch in range(from_epoch, from_epoch + count):
                    if (boundary := self._store.boundary(Epoch(epoch))) is None:
                        return
                    yield encode(boundary, Reply)
            case BlocksRequest(from_height, count):
                # A few at a time: what a page holds in memory is small, and a slow peer pushes back.
                for start in range(from_height, from_height + count, 16):
                    page = self._store.blocks(Height(start), min(16, from_height + count - start))
                    for block in page:
                        yield encode(block, Reply)
                    if len(page) < 16:
                        return
            case BodiesRequest(ids):
                for batch in _batches(self._bodies(ids)):
                    yield encode(batch, Reply)
            case CertificatesRequest(epoch, from_view, to_view):
                s = self._core.situation
                if epoch == s.epoch and (found := catchup.certificates_between(s, from_view, to_view)):
                    yield encode(Certificates(tuple(found)), Reply)
            case ProposalsRequest(epoch, digests):
                s = self._core.situation
                proposals = (catchup.unfinal_proposal(s, digest) for digest in digests)
                found_proposals: list[Proposal] = [p for p in proposals if p is not None and epoch == s.epoch]
                for proposal in found_proposals:
                    yield encode(proposal, Reply)

    def _bodies(self, ids: Sequence[bytes]) -> list[Transaction]:
        pending = [t for i in ids if (t := self._pool.get(i)) is not None]  # type: ignore[arg-type]
        known = {t.id for t in pending}
        rest = [i for i in ids if i not in known]
        return [*pending, *self._store.bodies(rest)]  # type: ignore[arg-type]


def _transactions(batch: Batch) -> list[Transaction]:
    return [decode_transaction(data) for data in batch.transactions]


def _batches(transactions: Sequence[Transaction]) -> list[Batch]:
    batches: list[list[bytes]] = []
    size = BATCH_BYTES_MAX
    for transaction in transactions:
        if size + len(transaction.encoded) > BATCH_BYTES_MAX:
            batches.append([])
            size = 0
        batches[-1].append(transaction.encoded)
        size += len(transaction.encoded)
    return [Batch(tuple(batch)) for batch in batches]
