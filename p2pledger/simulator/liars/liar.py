"""What stands between a liar's core and the network. Floor 8.

A liar's core is honest, so that it keeps up; what leaves it is bent.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

from p2pledger.chain.block import Header, Proposal
from p2pledger.chain.message import Reply, Request
from p2pledger.chain.vote import Ballot, Certificate, Vote, certificate_of
from p2pledger.consensus.events import Executed, Send
from p2pledger.types import Signature

if TYPE_CHECKING:
    from p2pledger.simulator.node import Node

FALSE = Signature(b"\x01" * 64)


class Liar:
    """Each liar overrides what it bends."""

    is_liar = True

    def say(self, node: "Node", send: Send) -> list[Send]:
        """What is sent instead of this."""
        return [send]

    def answer(self, node: "Node", request: Request, replies: tuple[Reply, ...]) -> tuple[Reply, ...]:
        """What is answered instead of this."""
        return replies

    def judge(self, executed: Executed) -> Executed:
        """What its core is told of a block instead of this."""
        return executed


class Honest(Liar):
    """Says what its core says."""

    is_liar = False


HONEST = Honest()


def vote_of(node: "Node", ballot: Ballot) -> Vote:
    """This liar's vote for anything at all: no guard is asked."""
    s = node.core.situation
    authorities = s.sets.get(ballot.epoch, s.authorities)
    assert node.key is not None
    index = authorities.index_of(node.key.public_key) or 0
    digest = ballot.sign_digest(s.setting.genesis_hash, authorities.hash)
    return Vote(ballot, index, node.key.sign(digest))


def signed_again(node: "Node", proposal: Proposal, header: Header) -> Proposal:
    """The same leader's proposal of another header in the same view."""
    ballot = replace(proposal.vote.ballot, digest=header.digest)
    return replace(proposal, header=header, vote=vote_of(node, ballot))


def forged(node: "Node", ballot: Ballot) -> Certificate:
    """A certificate that nobody signed."""
    authorities = node.core.situation.authorities
    return certificate_of((Vote(ballot, i, FALSE) for i in range(authorities.quorum)), len(authorities))
