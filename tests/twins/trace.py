"""One schedule in readable lines: what reached whom, what it led to, and who was done when."""

from collections.abc import Callable

from p2pledger.chain.block import FinalBlock, Proposal
from p2pledger.chain.message import Certificates, Status
from p2pledger.chain.vote import Ballot, Certificate, Vote, VoteKind
from p2pledger.consensus.events import Answered, AskFailed, ClockStepped, Event, Received
from p2pledger.types import Hash
from tests.twins.actors import START_MS, Troupe, Turn
from tests.twins.stage import INSTANCES, ROUND_MS, Witness, sides_of

LETTERS = {VoteKind.NOTARISE: "N", VoteKind.SKIP: "X", VoteKind.FINALISE: "F"}


def short(digest: Hash) -> str:
    return digest.hex()[:4]


def of_ballot(ballot: Ballot) -> str:
    block = "" if ballot.kind is VoteKind.SKIP else f" {short(ballot.digest)}"
    return f"{LETTERS[ballot.kind]}({ballot.view}{block})"


def of_certificate(certificate: Certificate) -> str:
    signers = "".join(str(vote.signer) for vote in certificate.votes())
    return f"{of_ballot(certificate.ballot)} by {signers}"


def of_item(item: object) -> str:
    """A frame or a reply."""
    match item:
        case Vote(ballot):
            return of_ballot(ballot)
        case Proposal(header):
            j = item.justification
            carried = [c for c in (item.newest_final, j.parent, *j.skips) if c is not None]
            parent = f"on {short(header.parent_digest)} of view {header.parent_view}"
            why = ", ".join(map(of_certificate, carried))
            return f"proposal({item.view} {short(header.digest)} {parent}; {why})"
        case Status():
            echo = "".join(f" {of_ballot(vote.ballot)}" for vote in item.echo)
            kind = "reply" if item.is_reply else "status"
            return f"{kind}(view {item.view}, final {item.final_height} of view {item.final_view};{echo})"
        case Certificates(certificates):
            return f"certificates({', '.join(map(of_certificate, certificates))})"
        case FinalBlock(header):
            return f"block({header.height} {short(header.digest)})"
    return type(item).__name__


def of_event(event: Event) -> str:
    match event:
        case Received(peer, frame):
            return f"{peer}: {of_item(frame)}"
        case Answered(key, peer, replies):
            return f"{peer} answers {key[:14]}: {', '.join(map(of_item, replies))}"
        case AskFailed(key, peer):
            return f"{peer} does not answer {key[:14]}"
        case ClockStepped():
            return "a new round"
    return type(event).__name__.lower()


def witness_of(troupe: Troupe, write: Callable[[str], object]) -> Witness:
    """Writes each turn down, as it is taken."""

    def witness(now: int, i: int, events: tuple[int, ...], turn: Turn) -> None:
        at = f"{(now - START_MS) % ROUND_MS:5} ms  {troupe.names[i]:2}"
        for event in events:
            write(f"{at} <- {of_event(troupe.event(event))}")
        for event, peer in turn.sends:
            to = "all" if peer is None else str(peer)
            write(f"{at} -> {to}: {of_event(troupe.event(event)).split(': ', 1)[1]}")
        for key, peer, _ in turn.asks:
            write(f"{at} asks {peer} for {key[:14]}")
        write(f"{at} is in view {turn.view}, final up to {turn.height}")

    return witness


def of_partition(names: tuple[str, ...], partition: int) -> str:
    """The two sides, by the names of the instances."""
    sides = sides_of(partition)
    parts = (" ".join(names[i] for i in range(INSTANCES) if sides[i] == side) for side in sorted(set(sides)))
    return " | ".join(parts)
