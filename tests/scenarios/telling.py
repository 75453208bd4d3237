"""What cores do, in words: one line for each node and moment."""

import re
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from p2pledger.chain.block import Proposal
from p2pledger.chain.message import (
    BlocksRequest,
    BodiesRequest,
    Certificates,
    CertificatesRequest,
    ProposalsRequest,
    Request,
    Status,
)
from p2pledger.chain.vote import Vote
from p2pledger.consensus.events import Send
from p2pledger.consensus.situation import Situation
from tests.scenarios.names import Names, view

WIDTH = 108


@dataclass(frozen=True)
class Sent:
    """What was sent, in words: `first` when the vote in it was signed just now, `again` when long before."""

    first: str
    again: str
    ballot: str = ""


class Log:
    """All that was done since it was last read."""

    def __init__(self) -> None:
        self._entries: list[tuple[int, str, str]] = []

    def tell(self, at: int, who: str, what: str) -> None:
        """Note what a node did."""
        self._entries.append((at, who, what))

    def tell_sent(self, at: int, who: str, sent: "Sent") -> None:
        """Note what a node sent; a vote signed at that moment and then sent is one thing to tell."""
        signed = (at, who, f"signs {sent.ballot}")
        if signed in self._entries:
            self._entries[self._entries.index(signed)] = (at, who, sent.first)
        else:
            self._entries.append((at, who, sent.again))

    def forget(self) -> None:
        """Leave untold what was noted."""
        self._entries.clear()

    def read(self) -> list[str]:
        """The lines of all that was noted, by time: what a node did, or several did alike, in its order."""
        moments: dict[tuple[int, str], list[str]] = {}
        for at, who, what in self._entries:
            moments.setdefault((at, who), []).append(what)
        self._entries.clear()
        alike: dict[tuple[int, str], list[str]] = {}
        for (at, who), done in sorted(moments.items()):
            alike.setdefault((at, joined(done)), []).append(who)
        return aligned([(f"{at:>7}ms", " ".join(who), done) for (at, done), who in alike.items()])


_ALIKE = (
    re.compile(r"(votes )(.+)()"),
    re.compile(r"(sends )([NXF].+)( again(?: to \S+)?)"),
    re.compile(r"(sends .+ again to )(.+)()"),
    re.compile(r"(sends the proposal of \S+ to )(.+)()"),
    re.compile(r"(gives )([A-Z](?: [A-Z])*)( [NXF]\(.+)"),
)
"""What is said once when it was done several times in a row: how it begins, what differs, how it ends."""


def joined(done: Sequence[str]) -> str:
    """What one node did in a moment, as one sentence."""
    for pattern in _ALIKE:
        told: list[str] = []
        for what in done:
            before = pattern.fullmatch(told[-1]) if told else None
            now = pattern.fullmatch(what)
            if before and now and (before[1], before[3]) == (now[1], now[3]):
                told[-1] = f"{now[1]}{before[2]} {now[2]}{now[3]}"
            else:
                told.append(what)
        done = told
    return "; ".join(done)


def aligned(rows: Sequence[tuple[str, str, str]]) -> list[str]:
    """Indented lines in three columns, the last one wrapped."""
    width = max((len(who) for _, who, _ in rows), default=0)
    lines: list[str] = []
    for at, who, done in rows:
        head = f"{at} {who:<{width}}  "
        lines += textwrap.wrap(
            done,
            WIDTH,
            initial_indent=head,
            subsequent_indent=" " * (len(head) + 2),
            break_long_words=False,
            break_on_hyphens=False,
        )
    return lines


def told_held(s: Situation, names: Names) -> list[str]:
    """The certificates that a core holds."""
    tally = s.tally
    final = [tally.final] if tally.final is not None else []
    held = [*s.boundaries.values(), *tally.notarised.values(), *tally.skipped.values(), *final]
    return [names.ballot(certificate.ballot) for certificate in held]


def told_request(request: Request, names: Names) -> str:
    """What is asked for."""
    match request:
        case BlocksRequest(height, _):
            return f"the blocks from height {height}"
        case BodiesRequest(ids):
            return f"the bodies of {names.transactions(ids)}"
        case CertificatesRequest(epoch, low, high):
            views = view(epoch, low) + (f" to {view(epoch, high)}" if high != low else "")
            return f"the certificates of {views}"
        case ProposalsRequest(_, digests):
            return f"the proposal of {' '.join(names.block(digest) for digest in digests)}"
    raise AssertionError("the core asks for no boundaries")


NameOf = Callable[[int, int], str]
"""Who stands at a position of the list of an epoch."""


def told_sends(sends: Sequence[Send], epoch: int, names: Names, name_of: NameOf) -> Iterator[Sent]:
    """What one step in this epoch sends, but its statuses."""
    for send in sends:
        to = name_of(send.peer, epoch) if send.peer is not None else ""
        match send.frame:
            case Vote(ballot):
                name = names.ballot(ballot)
                yield Sent(f"votes {name}", f"sends {name} again{f' to {to}' if to else ''}", name)
            case Proposal() as proposal:
                told = told_proposal(proposal, names, name_of)
                again = f"sends the proposal of {names.block(proposal.header.digest)}"
                again += f" to {to}" if to else " again"
                yield Sent(f"proposes {told}", again, names.ballot(proposal.vote.ballot))
            case Certificates(certificates):
                gives = f"gives {to} {names.ballots(c.ballot for c in certificates)}"
                yield Sent(gives, gives)


def told_proposal(proposal: Proposal, names: Names, name_of: NameOf) -> str:
    """A proposal with all that justifies it."""
    header, j = proposal.header, proposal.justification
    given = [c.ballot for c in (j.parent, *j.skips) if c is not None]
    told = f"{names.block(header.digest)} in {view(proposal.epoch, proposal.view)}"
    told += f" on {names.block(header.parent_digest)}"
    told += f" of {names.transactions(proposal.transaction_ids)}" if proposal.transaction_ids else ""
    accused = [name_of(e.first.signer, e.first.ballot.epoch) for e in proposal.evidence]
    told += f" with the proof against {' '.join(accused)}" if accused else ""
    told += f", given {names.ballots(given)}" if given else ""
    return told


def told_statuses(sends: Sequence[Send], epoch: int, names: Names, name_of: NameOf) -> Iterator[str]:
    """Where one step says that it stands, and to whom."""
    receivers: dict[str, list[str]] = {}
    for send in sends:
        if isinstance(send.frame, Status) and send.peer is not None:
            status = send.frame
            verb = "replies to" if status.is_reply else "tells"
            told = f"{view(status.epoch, status.view)}, {names.block(status.final_digest)} final"
            told += f", echo {names.ballots(vote.ballot for vote in status.echo)}" if status.echo else ""
            receivers.setdefault(f"{verb} {{}}: {told}", []).append(name_of(send.peer, epoch))
    for told, to in receivers.items():
        yield told.format(" ".join(to))
