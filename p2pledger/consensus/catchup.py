"""Status and what it sets going: whoever lags is given what it lacks, and whoever lags asks (R6)."""

from p2pledger.chain.block import FinalBlock, Proposal
from p2pledger.chain.message import CERTIFICATES_MAX, Certificates, Reply, Status
from p2pledger.chain.vote import Certificate, Vote, VoteKind
from p2pledger.consensus.finality import BLOCKS_KEY
from p2pledger.consensus.leading import UNSIGNED
from p2pledger.consensus.situation import PeerState, Situation
from p2pledger.types import Hash, Millis, View

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


def greet(s: Situation, peer: int) -> None:
    """Say anew what was lost while no connection stood: where this node is, and its own newest votes.

    Else a view that both sides gave up would drag on until its next repetition, which is 3Δ apart, and Δ has
    grown. The answer to the status brings the rest.
    """
    if s.voice.index is None or peer >= len(s.authorities):
        return
    s.say(status_for(s, peer, is_reply=False), peer)
    for vote in s.voice.latest(RESEND_VIEWS):
        s.say(vote, peer)


def pull(s: Situation) -> None:
    """Once nothing has become final for a status interval, ask whoever is ahead for blocks.

    A gateway hears no statuses: it asks any authority. So does an authority that hears too few to decide
    anything: those that are silent may be in the next epoch, as authorities of which it knows nothing, or as
    none, and have no reason to speak to it.
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
        s.pull_from = [*ahead, *s.others]
    elif is_stuck and s.voice.index is None:
        s.pull_from = s.others
    elif is_stuck:
        silent = [peer for peer in s.others if s.pacing.is_silent(peer, s.now)]
        if len(s.authorities) - len(silent) < s.authorities.quorum:
            s.pull_from = silent


def on_status(s: Situation, peer: int, status: Status) -> None:
    """Give a peer what its status shows it to lack, and note where it stands."""
    for vote in status.echo:
        if is_own(s, vote):
            s.voice.meet(vote)
    known = s.peers.get(peer)
    given_ms = known.given_ms if known is not None else Millis(0)
    is_due = s.now - given_ms >= s.setting.parameters.delta_ms // 2  # it may ask for more than it sends
    given_ms = s.now if is_due else given_ms
    s.peers[peer] = PeerState(status.epoch, status.view, status.final_height, given_ms, s.now)
    if status.is_reply and status.epoch <= s.epoch:  # from a later epoch it does not speak of this one
        s.voice.answered.add(peer)
    elif not status.is_reply and s.voice.index is not None:
        s.say(status_for(s, peer, is_reply=True), peer)
    if is_due and s.voice.index is not None:
        give(s, peer, status)


def is_own(s: Situation, vote: Vote) -> bool:
    """Whether this node's key signed this vote, in this epoch or in the next one."""
    authorities = s.sets.get(vote.ballot.epoch)
    if authorities is None or s.setting.key is None or vote.signer != authorities.index_of(s.setting.key):
        return False
    digest = vote.ballot.sign_digest(s.setting.genesis_hash, authorities.hash)
    return s.setting.is_signed(s.setting.key, digest, vote.signature)


def give(s: Situation, peer: int, status: Status) -> None:
    """Send a peer what its status shows it to lack: certificates, or the proposal of this view."""
    if certificates := lacking(s, status):
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


def unfinal_proposal(s: Situation, digest: Hash) -> Proposal | None:
    """The proposal of a block that is not final yet, for a peer that asks for it by digest."""
    block = s.tree.get(digest)
    proposal = block.proposal if block is not None else None
    if proposal is None:  # its block may be final here, and not yet known to be so there
        proposal = next((p for p in s.tally.proposals.values() if p.header.digest == digest), None)
    return proposal if proposal is not None and proposal.vote.signature != UNSIGNED else None


def final_blocks(replies: tuple[Reply, ...]) -> list[FinalBlock]:
    """The final blocks among replies, lowest first."""
    blocks = [reply for reply in replies if isinstance(reply, FinalBlock)]
    return sorted(blocks, key=lambda block: block.header.height)


def is_caught_up(s: Situation) -> bool:
    """Whether nothing is known that lies above the newest final block here."""
    ahead = sum(p.final_height > s.tree.root.height + 1 for p in s.peers.values())
    return not s.is_final_awaited and not s.asking.is_open(BLOCKS_KEY) and ahead <= s.authorities.faulty
