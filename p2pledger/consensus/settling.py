"""Doing whatever has become possible, in the order in which the rules rest on each other.

No rule waits to be called by the one event that enables it: after each event that changed anything, and
at the time that `wake_at` names, all of them are tried.
"""

from p2pledger.consensus import catchup, finality, leading, voting
from p2pledger.consensus.events import Recovered
from p2pledger.consensus.recovery import replay
from p2pledger.consensus.situation import Situation
from p2pledger.types import Millis


def settle(s: Situation, recovered: Recovered) -> None:
    """Do whatever has become possible. Each line rests on those above it."""
    epoch = s.epoch
    finality.make_final(s)
    if s.epoch > epoch:
        replay(s, recovered)  # what this node said in it before the start (R7)
    if s.next_view > s.view:
        finality.enter(s)
    parent, _ = s.best_parent()
    s.pacing.count_unfinal(s.now, is_waiting=s.carries_work(parent))
    if (block := s.tree.get(parent)) is not None:
        s.pacing.follow(len(block.transaction_ids))
    voting.execute_wanted(s)
    _end_waiting(s)
    voting.finalise_notarised(s)
    voting.notarise_proposal(s)
    leading.propose(s)
    voting.skip_silent_leader(s)
    if s.pacing.is_overdue(s.now):
        voting.skip_view(s, "deadline")
        s.pacing.lapse(s.now)
        catchup.resend(s)
        catchup.tell_all(s)
    elif s.pacing.resend_ms is not None and s.now >= s.pacing.resend_ms:
        s.pacing.resend_ms = Millis(s.now + 3 * s.pacing.delta_ms)
        voting.skip_view(s, "deadline")  # whoever had to be silent at the deadline, or voted N after it
        catchup.resend(s)
        catchup.tell_all(s)
    elif s.now >= s.status_due_ms:
        catchup.tell_all(s)
    if s.pull_from and not s.is_final_awaited:
        finality.want_blocks(s, s.pull_from)
    s.out.work += s.asking.due(s.now)


def wake_at(s: Situation) -> Millis:
    """When a rule may apply that does not now, though nothing happens meanwhile."""
    times = [
        s.status_due_ms,
        s.pacing.resend_ms if s.pacing.resend_ms is not None else s.pacing.deadline_ms(),
    ]
    if s.voice.waits_until_ms is not None:
        times.append(s.voice.waits_until_ms)
    if (at := s.asking.wake_ms()) is not None:
        times.append(at)
    proposal = s.tally.proposals.get(s.view)
    if proposal is not None and (hold := voting.hold_until(s, proposal)) > s.now:
        times.append(Millis(hold))
    leader = s.leader(s.view)
    if proposal is None and leader != s.voice.index and (silent := s.pacing.silent_ms(leader)) > s.now:
        times.append(silent)
    if proposal is None and s.building is None and leader == s.voice.index:
        parent = leading.choose_parent(s)
        if parent is not None and (due := leading.propose_ms(s, parent[0])) > s.now:
            times.append(due)
    return min(times)


def _end_waiting(s: Situation) -> None:
    """After a start: speak once enough others said what this key has signed, or 10Δ have passed (R8)."""
    until = s.voice.waits_until_ms
    if until is not None and (len(s.voice.answered) >= s.authorities.quorum - 1 or s.now >= until):
        s.voice.speak()
        catchup.resend(s)  # (R7): what was said before the start
