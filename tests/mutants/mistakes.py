"""What PROTOCOL.md lists as mistakes others made, beyond those that are rules' own (see `rules`)."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from p2pledger.chain.block import Header
from p2pledger.chain.vote import Ballot, Certificate, VoteKind
from p2pledger.consensus import core, finality, pacing, recovery, settling, voting
from p2pledger.consensus.checks import Place, check_header
from p2pledger.consensus.events import Recovered
from p2pledger.consensus.pacing import Pacing
from p2pledger.consensus.situation import Situation
from p2pledger.consensus.tally import Counted, Tally
from p2pledger.consensus.tree import Block, Root
from p2pledger.errors import InvalidMessage
from p2pledger.ledger import work
from p2pledger.signer import local
from p2pledger.signer.guard import Guard, GuardRefused, Reason, check_guard
from p2pledger.simulator import node
from p2pledger.simulator.disk import MemoryGuard
from p2pledger.types import Epoch, Height, View
from pytest import MonkeyPatch
from tests.mutants.mutant import mutant

_begin_epoch, _replay = finality.begin_epoch, recovery.replay


def _replay_as(patch: MonkeyPatch, replay: Any) -> None:
    patch.setattr(recovery, "replay", replay)
    patch.setattr(settling, "replay", replay)


@mutant("ignoring an N certificate after an own X", "liveness", "agreement", "fatal", seeds=200)
def notarised_ignored_once_skipped(patch: MonkeyPatch) -> None:
    """Some went on by it and cannot skip any more; the rest waits for their X."""
    keep = Situation.keep_certificate

    def keep_unless_skipped(self: Situation, certificate: Certificate) -> None:
        view = certificate.ballot.view
        has_skipped = VoteKind.SKIP in self.voice.votes.get(view, {})
        if certificate.ballot.kind is VoteKind.NOTARISE and has_skipped:
            self.tally.notarised.pop(view, None)
        else:
            keep(self, certificate)

    patch.setattr(Situation, "keep_certificate", keep_unless_skipped)


@mutant("replaying the last record instead of the maximum", "liveness", seeds=100, needs=["crash of all"])
def last_record_taken(patch: MonkeyPatch) -> None:
    """The start enters the view after the certificate that was written last, not after the highest."""

    def replay(s: Situation, found: Recovered) -> None:
        _replay(s, found)
        views = [c.ballot.view for c in found.certificates if c.ballot.epoch == s.epoch]
        s.next_view = View(views[-1] + 1 if views else 1)

    _replay_as(patch, replay)


@mutant("records of an old epoch", "liveness", "validity", "agreement", "fatal", seeds=100)
def old_records_replayed(patch: MonkeyPatch) -> None:
    """Views start again in each epoch: certificates of the one before are taken for this one's."""

    def replay(s: Situation, found: Recovered) -> None:
        _replay(s, found)
        for certificate in found.certificates:
            if certificate.ballot.epoch < s.epoch:
                _keep(s, s.tally.add_certificate(certificate))

    def _keep(s: Situation, counted: Counted) -> None:
        if counted.certificate is not None:
            s.keep_certificate(counted.certificate)

    _replay_as(patch, replay)


@mutant("heights reused after a boundary", "fatal", "validity", "order", seeds=10)
def boundary_height_reused(patch: MonkeyPatch) -> None:
    """The first block of an epoch takes the height of the last block of the one before."""

    def begin(s: Situation, boundary: Block, certificate: Certificate) -> None:
        _begin_epoch(s, boundary, certificate)
        root = s.tree.root
        s.tree.root = Root(root.digest, Height(root.height - 1), root.time_ms)

    def ends_epoch(height: int, epoch: int, epoch_blocks: int) -> bool:
        return (height + epoch) % epoch_blocks == 0

    patch.setattr(finality, "begin_epoch", begin)
    patch.setattr(work, "ends_epoch", ends_epoch)  # the ledger counts along: nobody else would notice


@mutant("ex-members' votes counted", "validity", "liveness", seeds=20)
def former_list_goes_on(patch: MonkeyPatch) -> None:
    """The list of the epoch before goes on deciding."""

    def begin(s: Situation, boundary: Block, certificate: Certificate) -> None:
        s.sets[Epoch(s.epoch + 1)] = s.authorities
        _begin_epoch(s, boundary, certificate)

    patch.setattr(finality, "begin_epoch", begin)


def _check_but(patch: MonkeyPatch, **allowed: Any) -> None:
    """Have headers checked with these fields as they should be, whatever they are."""

    def check(header: Header, place: Place) -> None:
        right = {name: value(place, header) for name, value in allowed.items()}
        check_header(replace(header, **right), place)

    patch.setattr(voting, "check_header", check)


@mutant(
    "a header not bound to its round", "validity", "liveness", "fatal", seeds=500, needs=["MisfitProposer"]
)
def header_of_any_round(patch: MonkeyPatch) -> None:
    """Voters do not compare epoch and proposer with the round that they vote in."""
    _check_but(
        patch,
        epoch=lambda place, header: place.epoch,
        proposer=lambda place, header: place.authorities.leader(header.view, place.offset),
    )


@mutant("a header not bound to its chain", "validity", "fatal", seeds=500, needs=["MisfitProposer"])
def header_of_any_chain(patch: MonkeyPatch) -> None:
    """Voters do not look whose ledger a header is of."""
    _check_but(patch, genesis_hash=lambda place, header: place.genesis_hash)


@mutant(
    "a header not bound to its digest", "fatal", "validity", "liveness", seeds=500, needs=["WrongContent"]
)
def content_not_compared(patch: MonkeyPatch) -> None:
    """Whoever passes a block on may put other transactions under its header."""
    patch.setattr(core, "check_roots", lambda *_: None)


@mutant(
    "a full check on one path and a weaker one on the sync path",
    "liveness",
    "fatal",
    seeds=1_000,
    needs=["WrongContent"],
)
def fetched_content_unchecked(patch: MonkeyPatch) -> None:
    """What comes by itself is compared with its header; what was asked for is not."""
    fetched, final = core._on_fetched_proposal, core._on_final_blocks

    def without(check: Any) -> Any:
        def unchecked(*args: Any) -> Any:
            with MonkeyPatch.context() as within:
                within.setattr(core, "check_roots", lambda *_: None)
                return check(*args)

        return unchecked

    patch.setattr(core, "_on_fetched_proposal", without(fetched))
    patch.setattr(core, "_on_final_blocks", without(final))


@mutant(
    "a full check on one path and a weaker one on the sync path",
    "validity",
    "agreement",
    seeds=1_000,
    needs=["CertificateForger"],
)
def fetched_certificate_unchecked(patch: MonkeyPatch) -> None:
    """The certificates of fetched final blocks are believed unread."""
    final = core._on_final_blocks

    def add(self: Tally, certificate: Certificate) -> Counted:
        if self.certificate_for(certificate.ballot) is not None:
            return Counted()
        return Counted(certificate if self._keep(certificate) else None)

    def unchecked(s: Situation, blocks: Sequence[Any], peer: int | None) -> bool:
        with MonkeyPatch.context() as within:
            within.setattr(Tally, "add_certificate", add)
            return final(s, blocks, peer)

    patch.setattr(core, "_on_final_blocks", unchecked)


@mutant("a new authority that is not synced yet", "liveness", "fatal", seeds=500, needs=["RootLiar"])
def votes_before_executing(patch: MonkeyPatch) -> None:
    """It votes for blocks whose ancestors it has not executed, and cannot know what is true of them."""

    def notarise(s: Situation) -> None:
        proposal = s.tally.proposals.get(s.view)
        block = s.tree.get(proposal.header.digest) if proposal is not None else None
        if proposal is None or block is None:
            return
        try:
            if voting.is_justified(s, proposal):
                s.ask_for_vote(voting.notarise(s.epoch, s.view, proposal.header.digest), block)
        except InvalidMessage:
            voting.skip_view(s, "invalid")

    patch.setattr(voting, "notarise_proposal", notarise)


def _ask_again(patch: MonkeyPatch) -> None:
    """A core that keeps none of its votes over a restart, and asks for them again."""
    recovered = node.recovered

    def forgetful(*args: Any) -> Recovered:
        return replace(recovered(*args), voted=(), votes=())

    patch.setattr(node, "recovered", forgetful)


@mutant(
    "a signer that refuses a replayed vote and halts the chain", "liveness", seeds=200, without=_ask_again
)
def replayed_vote_refused(patch: MonkeyPatch) -> None:
    """A core that asks again for what it was given before a restart is told that it has voted already.

    Our core does not ask: it keeps its votes. One that does lives with our signer, and not with this one.
    """

    def check(guard: Guard, ballot: Ballot) -> Guard:
        if ballot in guard.ballots():
            raise GuardRefused(Reason.OTHER_BLOCK)
        return check_guard(guard, ballot)

    _ask_again(patch)
    patch.setattr(local, "check_guard", check)
    patch.setattr(MemoryGuard, "vote", lambda self, ballot: None)


def _never_calm(patch: MonkeyPatch) -> None:
    patch.setattr(Pacing, "calm", lambda self: None)


@mutant("timers without a cap", "liveness", seeds=0, without=_never_calm)
def patience_without_a_cap(patch: MonkeyPatch) -> None:
    """Each leader that is skipped makes all wait longer for the next one, without end.

    Ours wait no longer than before once something is final, and a run is too short to see the cap beside
    that: so nobody calms down here, and the cap alone has to do.
    """
    _never_calm(patch)
    patch.setattr(pacing, "DELTA_GROWTH_MAX", 10**9)


MISTAKES = (
    notarised_ignored_once_skipped,
    last_record_taken,
    old_records_replayed,
    boundary_height_reused,
    former_list_goes_on,
    header_of_any_round,
    header_of_any_chain,
    content_not_compared,
    fetched_content_unchecked,
    fetched_certificate_unchecked,
    votes_before_executing,
    replayed_vote_refused,
    patience_without_a_cap,
)
