"""The last moments of a run that broke a promise, line by line. Floor 8."""

from collections import deque

from p2pledger.chain.block import FinalBlock, Proposal
from p2pledger.chain.message import Certificates
from p2pledger.chain.vote import Ballot, Certificate, Vote, VoteKind
from p2pledger.simulator.city import START_MS
from p2pledger.simulator.happenings import Delivered, Gossip, Happening
from p2pledger.simulator.run import Case, Report, run
from p2pledger.simulator.world import World

LINES_MAX = 60

_LETTERS = {VoteKind.NOTARISE: "N", VoteKind.SKIP: "X", VoteKind.FINALISE: "F"}


def tell(case: Case, lines_max: int = LINES_MAX) -> tuple[Report, list[str]]:
    """Run a case again, and tell what happened last: who got what, and who voted what."""
    lines: deque[str] = deque(maxlen=lines_max)

    def observe(at_ms: int, number: int, what: Happening | Vote) -> None:
        words = f"votes {_ballot(what.ballot)}" if isinstance(what, Vote) else _words(what)
        if words:
            lines.append(f"{at_ms - START_MS:>7} ms  node {number} {words}")

    def prepare(world: World) -> None:
        world.observe = observe

    report = run(case, prepare)
    return report, list(lines)


def _words(what: Happening) -> str:
    match what:
        case Delivered(peer, Vote(ballot)):
            return f"gets {_ballot(ballot)} from {peer}"
        case Delivered(_, Proposal(header) as proposal):
            again = f", proposed again in view {proposal.view}" if header.view != proposal.view else ""
            parent = _block(header.parent_digest)
            return f"gets block {_block(header.digest)} of view {header.view} on {parent}{again}"
        case Delivered(peer, Certificates(certificates)):
            return f"gets {', '.join(map(_certificate, certificates))} from {peer}"
        case Gossip(FinalBlock(header)):
            return f"hears that {_block(header.digest)} is final at height {header.height}"
    return ""


def _certificate(certificate: Certificate) -> str:
    return f"the certificate {_ballot(certificate.ballot)}"


def _ballot(ballot: Ballot) -> str:
    block = "" if ballot.kind is VoteKind.SKIP else f", {_block(ballot.digest)}"
    return f"{_LETTERS[ballot.kind]}({ballot.epoch}/{ballot.view}{block})"


def _block(digest: bytes) -> str:
    return digest.hex()[:6]
