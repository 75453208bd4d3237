"""What stands between a liar's core and the network. Floor 8.

A liar's core is honest, so that it keeps up; what leaves it is bent. Liars know each other, and sign with
each other's keys. Each costs little: what it says in place of one message is bounded.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from random import Random
from typing import TYPE_CHECKING, Any

from p2pledger.chain.authority import AuthoritySet
from p2pledger.chain.block import FinalBlock, Header, Proposal
from p2pledger.chain.message import Frame, Reply, Request
from p2pledger.chain.vote import Ballot, Certificate, Evidence, Vote, certificate_of
from p2pledger.consensus.events import Build, Send
from p2pledger.consensus.voice import LOST_GUARD, Voice
from p2pledger.types import Hash, Signature

if TYPE_CHECKING:
    from p2pledger.simulator.node import Node

FALSE = Signature(b"\x01" * 64)


@dataclass(frozen=True)
class SendBytes:
    """Bytes in place of a frame, to one authority, or to all others when `peer` is None."""

    data: bytes
    peer: int | None = None


@dataclass(frozen=True)
class Rumour:
    """Something to be gossiped to everybody."""

    item: FinalBlock | Evidence


Said = Send | SendBytes | Rumour


class Liar:
    """Each liar overrides what it bends. All its choices come from `random`."""

    is_liar = True

    def __init__(self, random: Random) -> None:
        self.random = random

    def bend(self, node: "Node") -> None:
        """The node has started, or was bribed just now. A liar does not mind what it has signed before."""
        node.core.situation.voice = Shameless(node.core.situation.voice)

    def say(self, node: "Node", send: Send) -> list[Said]:
        """What is sent instead of this."""
        return [send]

    def hear(self, node: "Node", heard: Frame | FinalBlock | Evidence) -> list[Said]:
        """What it says upon hearing this, after its core has taken it in."""
        return []

    def answer(self, node: "Node", request: Request, replies: tuple[Reply, ...]) -> tuple[Reply, ...]:
        """What is answered instead of this."""
        return replies

    # --- what a node asks it, which counts ---------------------------------------------------------------

    def said(self, node: "Node", send: Send) -> list[Said]:
        """As `say`; lies are counted."""
        said = self.say(node, send)
        self._count(node, said != [send])
        return said

    def upon(self, node: "Node", heard: Frame | FinalBlock | Evidence) -> list[Said]:
        """As `hear`; lies are counted."""
        said = self.hear(node, heard)
        self._count(node, bool(said))
        return said

    def answered(self, node: "Node", request: Request, replies: tuple[Reply, ...]) -> tuple[Reply, ...]:
        """As `answer`; lies are counted."""
        answered = self.answer(node, request, replies)
        self._count(node, answered != replies)
        return answered

    def _count(self, node: "Node", is_lie: bool) -> None:
        if is_lie:
            node.world.counts[f"lies: {type(self).__name__}"] += 1


class Honest(Liar):
    """Says what its core says."""

    is_liar = False

    def bend(self, node: "Node") -> None:
        """See `Liar.bend`."""

    def said(self, node: "Node", send: Send) -> list[Said]:
        """See `Liar.said`."""
        return [send]


HONEST = Honest(Random(0))


class Shameless(Voice):
    """The voice of a liar: an honest one falls silent upon a signature of its key that it did not give."""

    def __init__(self, voice: Voice) -> None:
        vars(self).update(vars(voice))
        if self._lost == LOST_GUARD:
            self._lost = ""  # its start found in the chain what it is accused of

    def fall_silent(self) -> None:
        """See `Voice.fall_silent`."""


# --- what liars are made of ------------------------------------------------------------------------------


def is_own(node: "Node", proposal: Proposal) -> bool:
    """Whether this liar proposed this itself."""
    return proposal.vote.signer == node.core.situation.voice.index


def nothing(number: int) -> Hash:
    """The digest of no block, and the id of no transaction."""
    return Hash(sha256(b"nothing %d" % number).digest())


def halves(node: "Node", one: Frame, other: Frame) -> list[Said]:
    """One thing to every second authority, another to the rest."""
    return [Send((one, other)[peer % 2], peer) for peer in range(len(node.core.situation.authorities))]


def vote_of(node: "Node", ballot: Ballot, authorities: AuthoritySet | None = None) -> Vote:
    """This liar's vote for anything at all, under any list: no guard is asked."""
    s = node.core.situation
    if authorities is None:
        authorities = s.sets.get(ballot.epoch, s.authorities)
    assert node.key is not None, "liars are authorities"
    index = authorities.index_of(node.key.public_key) or 0
    return Vote(ballot, index, node.key.sign(ballot.sign_digest(s.setting.genesis_hash, authorities.hash)))


def accomplices(node: "Node") -> Iterator["Node"]:
    """All liars that sit in the reigning list, this one included."""
    authorities = node.core.situation.authorities
    for number in sorted(node.world.liars):
        liar = node.world.nodes[number]
        if authorities.index_of(liar.peer) is not None:
            yield liar


def colluded(node: "Node", ballot: Ballot) -> Certificate | None:
    """A certificate of this epoch from the votes heard and the keys of all liars; None: no quorum."""
    s = node.core.situation
    held = (s.tally.vote_of(ballot.view, ballot.kind, signer) for signer in range(len(s.authorities)))
    votes = {vote.signer: vote for vote in held if vote is not None and vote.ballot == ballot}
    liars = list(accomplices(node))
    if len(votes) + len(liars) < s.authorities.quorum:
        return None
    true = {signer: vote for signer, vote in votes.items() if s.tally.is_true(vote)}
    true |= {vote.signer: vote for vote in (vote_of(liar, ballot, s.authorities) for liar in liars)}
    if len(true) < s.authorities.quorum:
        return None
    return certificate_of(true.values(), len(s.authorities))


def signed_again(node: "Node", proposal: Proposal, header: Header) -> Proposal:
    """The same leader's proposal of another header in the same view."""
    ballot = replace(proposal.vote.ballot, digest=header.digest)
    return replace(proposal, header=header, vote=vote_of(node, ballot))


def rebuilt(node: "Node", proposal: Proposal, **changes: Any) -> Proposal | None:
    """Another block of the same leader in the same view, its roots all true, but for `changes` of `Build`.

    None when its parent was not executed here.
    """
    header, s = proposal.header, node.core.situation
    build = Build(
        epoch=header.epoch,
        view=proposal.view,
        height=header.height,
        parent_digest=header.parent_digest,
        parent_view=header.parent_view,
        time_ms=header.time_ms,
        proposer=proposal.vote.signer,
        evidence=(),
        is_boundary=False,
        is_empty=True,
    )
    build = replace(build, **changes)
    build = replace(build, is_boundary=build.height == s.boundary_height)
    if node.layers.after(build.parent_digest) is None:
        return None
    built = node.executor.build(build, node.clock())
    other = replace(proposal, transaction_ids=built.transaction_ids, evidence=built.evidence)
    return signed_again(node, other, built.header)


def forged(node: "Node", ballot: Ballot) -> Certificate:
    """A certificate that nobody signed."""
    authorities = node.core.situation.authorities
    return certificate_of((Vote(ballot, i, FALSE) for i in range(authorities.quorum)), len(authorities))
