"""One core by itself, and messages made by hand for it: what a single rule does, step by step.

The bench is the node around the core: it signs what is asked for, executes by rote (every block is valid
whose digest is not among `invalid`), and keeps all that was said. Nothing is sent anywhere.
"""

from collections import deque
from dataclasses import replace

from p2pledger.chain.block import (
    FinalBlock,
    Header,
    Justification,
    Proposal,
    evidence_root,
    is_boundary,
    tx_root,
)
from p2pledger.chain.genesis import LAN, Parameters
from p2pledger.chain.message import Certificates, Frame, Status
from p2pledger.chain.vote import Ballot, Certificate, Vote, certificate_of, finalise, notarise, skip
from p2pledger.consensus.checks import leader_offset
from p2pledger.consensus.core import Consensus
from p2pledger.consensus.events import (
    Ask,
    Build,
    Event,
    Execute,
    Executed,
    Final,
    Judgement,
    Misbehaved,
    Output,
    Received,
    Recovered,
    Send,
    Sign,
    Signed,
    Tick,
)
from p2pledger.consensus.situation import Setting
from p2pledger.simulator.city import is_keyed_hash, keyed_hash
from p2pledger.types import ZERO_HASH, Epoch, Hash, Height, Millis, Signature, View
from tests.sim.cluster import BASE, GENESIS_HASH, KEYS, authorities, tx

START_MS = 1_000_000
FALSE = Signature(b"\x01" * 64)


class Bench:
    """A core at position `index` of n authorities. `found` overrides what its start finds on disk."""

    def __init__(
        self,
        n: int = 4,
        index: int | None = 0,
        parameters: Parameters = LAN,
        core: type[Consensus] = Consensus,
        **found: object,
    ) -> None:
        self.set = authorities(n)
        self.index = index
        self.parameters = replace(parameters, state_buckets=16)
        self.now = START_MS
        self.invalid: set[Hash] = set()
        self.missing: dict[Hash, tuple[Hash, ...]] = {}
        self.signed: list[Sign] = []
        self.votes: list[Vote] = []
        self.sent: list[Send] = []
        self.asks: list[Ask] = []
        self.builds: list[Build] = []
        self.finals: list[Final] = []
        self.misbehaved: list[Misbehaved] = []
        start: dict[str, object] = {
            "epoch": Epoch(0),
            "sets": {Epoch(0): self.set, Epoch(1): self.set},
            "base_digest": BASE,
            "base_height": Height(0),
            "tip_digest": BASE,
            "tip_height": Height(0),
            "tip_time_ms": Millis(0),
            "tip_certificate": None,
            "guard": (Epoch(0), View(0)),
        } | found
        key = KEYS[index] if index is not None else None
        setting = Setting(GENESIS_HASH, self.parameters, key, is_keyed_hash)
        self.core = core(setting, Recovered(**start), Millis(self.now))  # type: ignore[arg-type]

    @property
    def s(self):
        return self.core.situation

    # --- events ----------------------------------------------------------------------------------------

    def step(self, event: Event) -> Output:
        """One step and all that follows from it without the network. The first step's output."""
        waiting: deque[Event] = deque([event])
        first = None
        while waiting:
            output = self.core.step(waiting.popleft(), Millis(self.now))
            first = first or output
            for sign in output.sign:
                self.signed.append(sign)
                vote = self.vote(sign.signer, sign.ballot)
                self.votes.append(vote)
                waiting.append(Signed(vote))
            self.sent += output.send
            self.finals += output.final
            self.misbehaved += output.misbehaved
            for work in output.work:
                match work:
                    case Execute(header, _):
                        waiting.append(self._executed(header))
                    case Ask():
                        self.asks.append(work)
                    case Build():
                        self.builds.append(work)
        assert first is not None
        return first

    def _executed(self, header: Header) -> Executed:
        digest = header.digest
        if digest in self.missing:
            return Executed(digest, Judgement.MISSING, missing=self.missing[digest])
        judgement = Judgement.INVALID if digest in self.invalid else Judgement.VALID
        return Executed(digest, judgement, next_set=self.set if is_boundary(header) else None)

    def receive(self, peer: int, frame: Frame) -> Output:
        return self.step(Received(peer, frame))

    def give(self, *ballots: Ballot, peer: int = 1) -> Output:
        """True certificates of these ballots, from a peer."""
        return self.receive(peer, Certificates(tuple(self.certificate(b) for b in ballots)))

    def tick(self, ms: int = 0) -> Output:
        self.now += ms
        return self.step(Tick())

    def speak(self) -> None:
        """End the waiting after the start (R8): the others say that they know nothing of us."""
        for peer in range(1, self.set.quorum):
            self.receive(peer, self.status(is_reply=True))

    # --- messages --------------------------------------------------------------------------------------

    def vote(self, signer: int, ballot: Ballot) -> Vote:
        digest = ballot.sign_digest(GENESIS_HASH, self.set.hash)
        return Vote(ballot, signer, keyed_hash(KEYS[signer], digest))

    def certificate(self, ballot: Ballot, signers: tuple[int, ...] | None = None) -> Certificate:
        n = len(self.set)
        others = [i for i in range(n) if i != self.index] or [0]
        chosen = others[-self.set.quorum :] if signers is None else signers
        return certificate_of([self.vote(i, ballot) for i in chosen], n)

    def forged(self, ballot: Ballot) -> Certificate:
        """A certificate whose signatures are nobody's."""
        true = self.certificate(ballot)
        return replace(true, signatures=(FALSE,) * len(true.signatures))

    def status(self, epoch=0, view=1, final_view=0, final_height=0, echo=(), *, is_reply=False) -> Status:
        return Status(
            Epoch(epoch), View(view), View(final_view), Height(final_height), BASE, tuple(echo), is_reply
        )

    def leader(self, view: int, epoch: int = 0) -> int:
        return self.set.leader(View(view), leader_offset(self.s.base_digest, Epoch(epoch), len(self.set)))

    def header(self, view: int, parent: Header | None = None, ids: tuple[Hash, ...] = (), **other) -> Header:
        """A header that is right in its place (on the genesis block, or on `parent` of this epoch)."""
        height = parent.height + 1 if parent is not None else 1
        is_last = height == self.parameters.epoch_blocks
        fields = {
            "version": 1,
            "genesis_hash": GENESIS_HASH,
            "epoch": Epoch(0),
            "view": View(view),
            "height": Height(height),
            "parent_digest": parent.digest if parent is not None else BASE,
            "parent_view": parent.view if parent is not None else View(0),
            "time_ms": Millis(max(self.now, parent.time_ms + 1 if parent is not None else 0)),
            "tx_root": tx_root(ids),
            "state_root": ZERO_HASH,
            "receipts_root": ZERO_HASH,
            "next_set_hash": self.set.hash if is_last else ZERO_HASH,
            "evidence_root": evidence_root(()),
            "proposer": self.leader(view),
        } | other
        return Header(**fields)

    def proposal(
        self,
        header: Header,
        ids: tuple[Hash, ...] = (),
        *,
        view: int | None = None,
        parent: Certificate | None = None,
        skips: tuple[Certificate, ...] = (),
        signer: int | None = None,
    ) -> Proposal:
        """The leader's proposal of a header, in the header's view or (a boundary again) a later one."""
        at = View(view if view is not None else header.view)
        vote = self.vote(self.leader(at) if signer is None else signer, notarise(Epoch(0), at, header.digest))
        return Proposal(header, ids, (), Justification(parent, skips), None, vote)

    def final_block(self, header: Header, ids: tuple[Hash, ...] = (), *, certified: bool = True):
        certificate = self.certificate(f(header.view, header)) if certified else None
        return FinalBlock(header, ids, (), certificate)

    # --- what was said ---------------------------------------------------------------------------------

    def ballots(self) -> list[Ballot]:
        return [sign.ballot for sign in self.signed]

    def frames(self, kind: type) -> list[Frame]:
        return [send.frame for send in self.sent if isinstance(send.frame, kind)]

    def blamed(self) -> set[int]:
        return {misbehaved.peer for misbehaved in self.misbehaved}


def n_(view: int, header: Header) -> Ballot:
    return notarise(Epoch(0), View(view), header.digest)


def x(view: int) -> Ballot:
    return skip(Epoch(0), View(view))


def f(view: int, header: Header) -> Ballot:
    return finalise(Epoch(0), View(view), header.digest)


__all__ = ["FALSE", "START_MS", "Bench", "f", "n_", "tx", "x"]
