"""Why an agreement may not go on: the codes, and what an operator does about each."""

from dataclasses import dataclass
from enum import StrEnum


class Cause(StrEnum):
    """Every code that a reason can carry. Stable; what to do about each: docs/OPERATIONS.md."""

    NODE_STUCK = "node_stuck"
    GUARD_MISSING = "guard_missing"
    GUARD_LOST = "guard_lost"
    NOT_A_MEMBER = "not_a_member"
    LISTENING = "listening_after_start"
    NO_QUORUM_HEARD = "no_quorum_heard"
    NO_AUTHORITY_CONNECTED = "no_authority_connected"
    BEHIND = "behind"
    FINAL_NOT_EXECUTED = "final_not_executed"
    BLOCK_MISSING = "block_missing"
    BODIES_MISSING = "bodies_missing"
    CERTIFICATES_MISSING = "certificates_missing"
    CLOCK_AHEAD = "clock_ahead"
    CLOCK_BEHIND = "clock_behind"
    BLOCK_INVALID = "block_invalid"
    LEADER_SILENT = "leader_silent"
    VOTES_MISSING = "votes_missing"
    NOTHING_FINAL = "nothing_final"
    AUTHORITY_SILENT = "authority_silent"
    PEER_BEHIND = "peer_behind"
    IDLE = "idle"
    WORKING = "working"


_ASK_IT = "Ask each of them with `p2pledger why-stalled --node URL`: only it can say why."

CURES = {
    Cause.NODE_STUCK: "Look at the disks under guard and store, and at the processor; then restart the node.",
    Cause.GUARD_MISSING: "Never put an old copy in its place. Replace this authority's key by governance.",
    Cause.GUARD_LOST: "Stop any second node with this key. Replace this authority's key by governance.",
    Cause.NOT_A_MEMBER: "Nothing to do: it follows, and votes once an epoch's list has it.",
    Cause.LISTENING: "Nothing to do: it ends by itself once others answer.",
    Cause.NO_QUORUM_HEARD: "Start those that are silent, or mend the network between them and this node.",
    Cause.NO_AUTHORITY_CONNECTED: "See `network.peers` of this node, and that their ports can be reached.",
    Cause.BEHIND: "Nothing to do while its height grows; else mend the network to those that are ahead.",
    Cause.FINAL_NOT_EXECUTED: "See the reasons below; if none says why, look at this node's processor.",
    Cause.BLOCK_MISSING: "Mend the network to its proposer and to those who signed for it: they have it.",
    Cause.BODIES_MISSING: "Mend the network to its proposer and to those who signed for it: they have them.",
    Cause.CERTIFICATES_MISSING: "Mend the network to the other authorities: any of them may have them.",
    Cause.CLOCK_AHEAD: "Set the clocks by NTP: the proposer's, unless this node's own is wrong.",
    Cause.CLOCK_BEHIND: "Set the clocks by NTP: this node's, unless the proposer's is wrong.",
    Cause.BLOCK_INVALID: "Compare the versions of both nodes; the one that stands alone with it is wrong.",
    Cause.LEADER_SILENT: "Start it, or mend the network to it; a quorum without it skips its views.",
    Cause.VOTES_MISSING: _ASK_IT,
    Cause.NOTHING_FINAL: "Ask the authorities with `p2pledger why-stalled --node URL`, one by one.",
    Cause.AUTHORITY_SILENT: "Start it, or mend the network to it, before another one fails.",
    Cause.PEER_BEHIND: _ASK_IT,
    Cause.IDLE: "Nothing to do.",
    Cause.WORKING: "Nothing to do.",
}
"""One cure for each; the table of docs/OPERATIONS.md is held equal to it by a test."""


@dataclass(frozen=True)
class Reason:
    """One thing that is waited for, or worth knowing. `organisations`: whom it is about.

    It is trouble when it has lasted longer than a healthy network lets it; else it is a note.
    """

    cause: Cause
    is_trouble: bool
    sentence: str
    organisations: tuple[str, ...] = ()

    @property
    def cure(self) -> str:
        """What to do about it."""
        return CURES[self.cause]
