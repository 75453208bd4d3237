"""Status and what it sets going: whoever lags is given what it lacks, and whoever lags asks (R6)."""

from p2pledger.chain.block import FinalBlock, Proposal
from p2pledger.chain.message import CERTIFICATES_MAX, Certificates, Reply, Status
from p2pledger.chain.vote import Certificate, VoteKind
from p2pledger.consensus.finality import BLOCKS_KEY, want_blocks
from p2pledger.consensus.situation import PeerState, Situation
from p2pledger.types import View

RESEND_VIEWS = 8
"""Own votes of this many highest views are said again when a view drags on."""


def status_for(s: Situation, peer: int, *, is_reply: bool) -> Status:
    """Where this node stands, with the peer's own highest votes that it holds."""
    return Status(
        s.epoch,
        s.view,
        s.final_view,
        s.tree.root.height,
        s.tree.root.digest,
        s.tally.highest_votes_of(peer)[:3],
        is_reply,
    )


def tell_all(s: Situation) -> None:
    """Say to every other authority where this node stands; look for those that are ahead."""
    s.pacing.status_ms = s.now
    if s.voice.index is not None:
        for peer in s.others:
            s.say(status_for(s, peer, is_reply=False), peer)
    pull(s)


def resend(s: Situation) -> None:
    """A view drags on: say own votes and the own proposal again."""
    for vote in s.voice.latest(RESEND_VIEWS):
        s.say(vote)
    proposal = s.tally.proposals.get(s.view)
    if proposal is not None and proposal.vote.signer == s.voice.index:
        s.say(proposal)


def pull(s: Situation) -> None:
    """Once nothing has become final for a status interval, ask whoever is ahead for blocks.

    A gateway hears no statuses: it asks any authority.
    """
    is_stuck = s.pulled_height == s.tree.root.height
    s.pulled_height = s.tree.root.height
    ahead = [
        peer
        for peer in s.others
        if (state := s.peers.get(peer)) is not None
        and (state.epoch, state.final_height) > (s.epoch, s.tree.root.height)
    ]
    far = s.setting.parameters.unfinal_blocks_max
    is_far = any(s.peers[peer].final_height > s.tree.root.height + far for peer in ahead)
    if ahead and (is_stuck or is_far):
        want_blocks(s, ahead)
    elif is_stuck and s.voice.index is None:
        want_blocks(s, s.others)


def on_status(s: Situation, peer: int, status: Status) -> None:
    """Give a peer what its status shows it to lack, and note where it stands."""
    for vote in status.echo:
        if vote.signer == s.voice.index and vote.ballot.epoch == s.epoch and s.tally.is_true(vote):
            s.voice.meet(vote)
    s.peers[peer] = PeerState(status.epoch, status.view, status.final_height)
    if status.is_reply:
        s.voice.answered.add(peer)
    elif s.voice.index is not None:
        s.say(status_for(s, peer, is_reply=True), peer)
    if (certificates := lacking(s, status)) and s.voice.index is not None:
        s.say(Certificates(certificates), peer)
    proposal = s.tally.proposals.get(s.view)
    if (
        status.epoch == s.epoch
        and status.view == s.view
        and proposal is not None
        and s.tally.vote_of(s.view, VoteKind.NOTARISE, peer) is None
    ):
        s.say(proposal, peer)


def lacking(s: Situation, status: Status) -> tuple[Certificate, ...]:
    """The certificates that whoever sent this status lacks: its epoch's boundary, or F, then N and X."""
    if status.epoch < s.epoch:
        boundary = s.boundaries.get(status.epoch)
        return (boundary,) if boundary is not None else ()
    if status.epoch > s.epoch:
        return ()
    certificates: list[Certificate] = []
    if s.tally.final is not None and status.final_view < s.final_view:
        certificates.append(s.tally.final)
    certificates += certificates_between(s, status.view, View(s.view - 1))
    return tuple(certificates[:CERTIFICATES_MAX])


def certificates_between(s: Situation, from_view: View, to_view: View) -> list[Certificate]:
    """The N and X certificates held of these views, by view; at most CERTIFICATES_MAX."""
    found: list[Certificate] = []
    held = sorted({*s.tally.notarised, *s.tally.skipped})
    for view in held:
        if from_view <= view <= to_view:
            found += [c for kept in (s.tally.notarised, s.tally.skipped) if (c := kept.get(view)) is not None]
    return found[:CERTIFICATES_MAX]


def unfinal_proposal(s: Situation, digest: bytes) -> Proposal | None:
    """The proposal of a block that is not final yet, for a peer that asks for it by digest."""
    for proposal in s.tally.proposals.values():
        if proposal.header.digest == digest:
            return proposal
    return None


def final_blocks(replies: tuple[Reply, ...]) -> list[FinalBlock]:
    """The final blocks among replies, lowest first."""
    blocks = [reply for reply in replies if isinstance(reply, FinalBlock)]
    return sorted(blocks, key=lambda block: block.header.height)


def is_caught_up(s: Situation) -> bool:
    """Whether nothing is known that lies above the newest final block here."""
    final = s.tally.final
    is_behind = final is not None and final.ballot.digest != s.tree.root.digest
    ahead = sum(p.final_height > s.tree.root.height + 1 for p in s.peers.values())
    return not is_behind and not s.asking.is_open(BLOCKS_KEY) and ahead <= s.authorities.faulty
