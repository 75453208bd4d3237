"""What this node does with what the network brings, and what it answers. Floor 6.

Bytes are judged here, before anything is believed or passed on; the agreement and the pool receive
values only.
"""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from functools import partial

import structlog
import trio

from p2pledger.chain.block import FinalBlock, Header, Proposal
from p2pledger.chain.genesis import Genesis
from p2pledger.chain.joining import JoinReply, Knock
from p2pledger.chain.message import Frame, Reply, Request
from p2pledger.chain.receipt import check_final
from p2pledger.chain.transaction import Batch, Spread, Transaction, decode_transactions
from p2pledger.chain.vote import Ballot, Evidence, Vote, check_evidence
from p2pledger.codec import decode, encode
from p2pledger.consensus.core import Consensus
from p2pledger.consensus.events import Gossiped, Met, Received
from p2pledger.consensus.tally import LATE_VIEWS
from p2pledger.crypto import is_signed
from p2pledger.errors import InvalidMessage, InvalidTransaction
from p2pledger.metrics import Metrics
from p2pledger.network.seam import Take, Topic, Verdict
from p2pledger.node.answers import answers
from p2pledger.node.clock_offset import ClockOffset
from p2pledger.node.finals import GossipSeen
from p2pledger.node.loop import Inbox
from p2pledger.node.pool import AT_ONCE, Pool
from p2pledger.node.reception import Reception
from p2pledger.storage.store import Store
from p2pledger.types import Millis, PeerId

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
        self.reception = Reception(genesis, store, pool, now)
        self.clock_offset = ClockOffset()

    # --- gossip ----------------------------------------------------------------------------------------

    async def check_gossip(self, topic: Topic, peer: PeerId, data: bytes) -> Take | Verdict:
        """See `Handler.check_gossip`. Whoever forwards vouches: signatures are verified before."""
        try:
            match topic:
                case Topic.TRANSACTIONS:
                    transactions = await self._checked_batch(data)
                    return partial(self._pool.take, transactions, verified=True)
                case Topic.BLOCKS:
                    block: FinalBlock = decode(FinalBlock, data)
                    return partial(self._take_block, block) if self._is_wanted(block) else Verdict.IGNORE
                case Topic.EVIDENCE:
                    evidence: Evidence = decode(Evidence, data)
                    if not self._is_news(evidence):
                        return Verdict.IGNORE
                    return partial(self._inbox.put, Gossiped(evidence))
        except InvalidMessage as error:
            _log.info("gossip_rejected", topic=topic.value, peer=peer, code=error.code, why=str(error))
            if topic is Topic.TRANSACTIONS:
                self._metrics.mempool_txs_received_total.at("gossip", error.code).inc()
            return Verdict.REJECT

    async def _checked_batch(self, data: bytes) -> list[Transaction]:
        """The transactions of a batch, all of them verified. Raises: InvalidMessage."""
        with self._metrics.spending("decode"):
            spread: Spread = decode(Spread, data)
            transactions, unknown = self._read(spread.transactions[:AT_ONCE])
        await trio.lowlevel.checkpoint()
        for start in range(AT_ONCE, len(spread.transactions), AT_ONCE):
            with self._metrics.spending("decode"):
                some, some_unknown = self._read(spread.transactions[start : start + AT_ONCE])
            transactions += some
            unknown += some_unknown
            await trio.lowlevel.checkpoint()
        if not all(await self._pool.authentic(unknown)):
            raise InvalidMessage("a transaction whose signatures are false", code="bad_signature")
        return transactions

    def _read(self, encoded: Sequence[bytes]) -> tuple[list[Transaction], list[Transaction]]:
        """Transactions, and those of them that are not here yet.

        Raises: InvalidMessage for one that is none, or that no state could accept.
        """
        transactions = decode_transactions(encoded)
        unknown = self._pool.lacking(transactions)
        try:
            self._pool.check_forms(unknown)
        except InvalidTransaction as error:
            # No honest node forwards it: the entry node has told its client no.
            raise InvalidMessage(error.message, error.code) from None
        return transactions, unknown

    def _is_wanted(self, block: FinalBlock) -> bool:
        """Whether a final block is of use to whoever listens. Raises: InvalidMessage for a false one."""
        s = self._core.situation
        header = block.header
        if header.genesis_hash != self._genesis.hash or block.certificate is None:
            raise InvalidMessage("a block of another ledger, or without a certificate")
        authorities = s.sets.get(header.epoch)
        if authorities is None or header.height + BLOCKS_BEHIND < s.tree.root.height:
            return False
        check_final(header, block.certificate, self._genesis.hash, authorities, is_signed)
        return True

    def _is_news(self, evidence: Evidence) -> bool:
        """Whether evidence says what was not known. Raises: InvalidMessage for a false one."""
        s, epoch = self._core.situation, evidence.first.ballot.epoch
        authorities = s.sets.get(epoch)
        if authorities is None or (epoch <= s.epoch and not s.lacks_evidence(evidence.offence)):
            return False  # whoever knew it has passed it on; a liar makes as much of it as it likes
        check_evidence(evidence, self._genesis.hash, authorities, is_signed)
        return True

    async def _take_block(self, block: FinalBlock) -> None:
        if self._seen.add(block):
            self._count_fork(block)
            delay_s = max(0, self._now() - block.header.time_ms) / 1_000
            self._metrics.gossip_block_propagation_seconds.observe(delay_s)
            if self._core.situation.voice.index is None:  # who votes hears leaders themselves, sooner
                self._hear_clock(block.header)
        await self._inbox.put(Gossiped(block))

    def _hear_clock(self, header: Header) -> None:
        parent = self._core.situation.known(header.parent_digest)
        parent_ms = None if parent is None else parent[1]
        self.clock_offset.observe(header.proposer, header.time_ms, self._now(), parent_ms=parent_ms)

    def _count_fork(self, block: FinalBlock) -> None:
        """Both are certified, so a third of the authorities has lied; people must decide what follows."""
        own = self._store.block(block.header.height)
        if own is not None and own.header.digest != block.header.digest:
            self._metrics.chain_conflicting_finality_total.inc()
            _log.critical("conflicting_finality", height=own.header.height)

    # --- peers -----------------------------------------------------------------------------------------

    async def on_connected(self, peer: PeerId) -> None:
        """See `Handler.on_connected`."""
        index = self._core.situation.authorities.index_of(peer)
        if index is not None:
            await self._inbox.put(Met(index))

    # --- frames ----------------------------------------------------------------------------------------

    def is_frame_peer(self, peer: PeerId) -> bool:
        """See `Handler.is_frame_peer`."""
        return self._core.situation.authorities.index_of(peer) is not None

    async def on_frame(self, peer: PeerId, data: bytes) -> None:
        """See `Handler.on_frame`."""
        frame: Frame = decode(Frame, data)
        if isinstance(frame, Batch):
            if not await self._pool.take(decode_transactions(frame.transactions), verified=False):
                raise InvalidMessage("a transaction whose signatures are false", code="bad_signature")
            return
        index = self._core.situation.authorities.index_of(peer)
        if index is None:
            return
        if isinstance(frame, Vote):
            self._count_vote(frame.ballot)
        elif isinstance(frame, Proposal) and frame.header.proposer == index:
            self._hear_clock(frame.header)
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
        for reply in answers(decode(Request, request), self._core.situation, self._store, self._pool):
            yield encode(reply, Reply)

    async def serve_join(self, peer: PeerId, request: bytes) -> AsyncGenerator[bytes, None]:
        """See `Handler.serve_join`."""
        async with aclosing(self.reception.answers(peer, decode(Knock, request))) as replies:
            async for reply in replies:
                yield encode(reply, JoinReply)
