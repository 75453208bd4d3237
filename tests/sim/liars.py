"""Liars, one idea each: what an authority may do with its own key and with what it hears.

A liar's core is honest, so that it keeps up; what leaves it is bent here.
"""

from dataclasses import replace

from p2pledger.chain.block import FinalBlock, Header, Justification, Proposal
from p2pledger.chain.message import Certificates, Status
from p2pledger.chain.vote import Ballot, Certificate, Vote, VoteKind, certificate_of, finalise, notarise, skip
from p2pledger.consensus.events import Send
from p2pledger.types import Height, Millis, Signature, View
from tests.sim.cluster import Cluster, Liar, Node, tx

FALSE = Signature(b"\x01" * 64)


def forged(cluster: Cluster, ballot: Ballot) -> Certificate:
    """A certificate that nobody signed."""
    n = len(cluster.set)
    return certificate_of((Vote(ballot, i, FALSE) for i in range(cluster.set.quorum)), n)


def signed_again(cluster: Cluster, proposal: Proposal, header: Header) -> Proposal:
    """The same leader's proposal of another header in the same view."""
    ballot = replace(proposal.vote.ballot, digest=header.digest)
    return replace(proposal, header=header, vote=cluster.vote(proposal.vote.signer, ballot))


class EquivocatingLeader(Liar):
    """Proposes one block to one half, another to the other half, and votes for both everywhere."""

    def say(self, cluster: Cluster, node: Node, send: Send) -> list[Send]:
        match send.frame:
            case Proposal(header) as proposal if proposal.vote.signer == node.index:
                other = signed_again(cluster, proposal, replace(header, time_ms=Millis(header.time_ms + 1)))
                n = len(cluster.nodes)
                halves = [Send((proposal, other)[peer % 2], peer) for peer in range(n)]
                return [*halves, Send(proposal.vote), Send(other.vote)]
            case _:
                return [send]


class DoubleVoter(Liar):
    """Signs everything: N for what is proposed and for something else, X and F, all in each view."""

    def say(self, cluster: Cluster, node: Node, send: Send) -> list[Send]:
        match send.frame:
            case Vote(ballot):
                s = node.core.situation
                blocks = [p.header.digest for p in s.tally.proposals.values() if p.view == ballot.view]
                blocks.append(tx(ballot.view))
                at = (ballot.epoch, ballot.view)
                ballots = [kind(*at, digest) for kind in (notarise, finalise) for digest in blocks]
                return [Send(cluster.vote(node.index, b)) for b in (*ballots, skip(*at))]
            case _:
                return [send]


class BadJustification(Liar):
    """Proposes on the final block as if nothing had been notarised since, with certificates that lie."""

    def say(self, cluster: Cluster, node: Node, send: Send) -> list[Send]:
        match send.frame:
            case Proposal(header) as proposal if proposal.vote.signer == node.index and header.view > 1:
                root = node.core.situation.tree.root
                below = View(header.view - 1)
                parent = forged(cluster, notarise(header.epoch, below, root.digest))
                bent = replace(
                    header,
                    parent_digest=root.digest,
                    height=Height(root.height + 1),
                    parent_view=below,
                    state_root=cluster.state_root(root.digest, proposal.transaction_ids),
                )
                lie = signed_again(cluster, proposal, bent)
                return [
                    Send(replace(lie, justification=Justification(parent, ()))),
                    Send(replace(lie, justification=Justification(None, ()))),
                ]
            case _:
                return [send]


class CertificateForger(Liar):
    """Sends certificates that nobody signed, of all kinds, for views near and far."""

    def say(self, cluster: Cluster, node: Node, send: Send) -> list[Send]:
        s = node.core.situation
        view = View(s.view + cluster.random.choice((0, 1, 5, 10_000)))
        digest = cluster.random.choice((tx(view), s.tree.root.digest))
        ballots = (notarise(s.epoch, view, digest), skip(s.epoch, view), finalise(s.epoch, view, digest))
        lies = tuple(forged(cluster, ballot) for ballot in ballots)
        return [send, *(Send(Certificates((lie,))) for lie in lies)]


class WrongContent(Liar):
    """Passes on others' proposals with other transactions or certificates; its own hold wrong roots."""

    def say(self, cluster: Cluster, node: Node, send: Send) -> list[Send]:
        if isinstance(send.frame, Proposal) and send.frame.vote.signer == node.index:
            header = replace(send.frame.header, state_root=tx("wrong"))
            return [Send(signed_again(cluster, send.frame, header))]
        s = node.core.situation
        heard = s.tally.proposals.get(s.view)
        if heard is None or heard.vote.signer == node.index:
            return [send]
        forgery = forged(cluster, notarise(s.epoch, s.view, heard.header.parent_digest))
        return [
            Send(replace(heard, transaction_ids=(tx("other"),))),
            Send(replace(heard, justification=Justification(forgery, ()))),
            send,
        ]

    def answer(self, cluster: Cluster, node: Node, request: object, replies: tuple) -> tuple:
        return tuple(
            replace(reply, transaction_ids=(*reply.transaction_ids, tx("more")))
            if isinstance(reply, FinalBlock | Proposal)
            else reply
            for reply in replies
        )


class FutureSpammer(Liar):
    """Votes in views far ahead and far behind, and proposes in views to come."""

    def say(self, cluster: Cluster, node: Node, send: Send) -> list[Send]:
        s = node.core.situation
        views = [View(max(1, s.view + cluster.random.randint(-100, 3_000))) for _ in range(4)]
        votes = [cluster.vote(node.index, skip(s.epoch, view)) for view in views]
        if isinstance(send.frame, Proposal):
            later = View(s.view + len(cluster.nodes))
            header = replace(send.frame.header, view=later, height=Height(10**9), parent_digest=tx(later))
            ballot = notarise(s.epoch, later, header.digest)
            junk = replace(send.frame, header=header, vote=cluster.vote(node.index, ballot))
            return [send, Send(junk), *map(Send, votes)]
        return [send, *map(Send, votes)]


class Unhelpful(Liar):
    """Claims to be far ahead, answers nothing of use, withholds its bodies, and skips every view."""

    def say(self, cluster: Cluster, node: Node, send: Send) -> list[Send]:
        s = node.core.situation
        if isinstance(send.frame, Status):
            return [replace(send, frame=replace(send.frame, final_height=Height(10**9)))]
        if isinstance(send.frame, Vote) and send.frame.ballot.kind is not VoteKind.SKIP:
            return [Send(cluster.vote(node.index, skip(s.epoch, send.frame.ballot.view)))]
        return [send]

    def answer(self, cluster: Cluster, node: Node, request: object, replies: tuple) -> tuple:
        return (Certificates(()),)


LIARS: dict[str, type[Liar]] = {
    liar.__name__: liar
    for liar in (
        EquivocatingLeader,
        DoubleVoter,
        BadJustification,
        CertificateForger,
        WrongContent,
        FutureSpammer,
        Unhelpful,
    )
}
