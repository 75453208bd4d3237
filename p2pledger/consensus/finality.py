"""From an F certificate to final blocks in order, and from a boundary block to the next epoch."""

from p2pledger.chain.block import FinalBlock
from p2pledger.chain.message import BLOCKS_MAX, BlocksRequest
from p2pledger.chain.vote import Certificate
from p2pledger.consensus.checks import recordable
from p2pledger.consensus.events import Enter, Final, Judgement
from p2pledger.consensus.situation import Situation
from p2pledger.consensus.tally import Tally
from p2pledger.consensus.tree import Block
from p2pledger.errors import Fatal
from p2pledger.types import Epoch, Height, View

BLOCKS_KEY = "blocks"


def make_final(s: Situation) -> None:
    """Give out, in order, every block that a certificate makes final and that was executed here.

    Missing blocks are asked for, for ever. A step makes at most one epoch's blocks final, and goes on
    into the next.
    Raises: Fatal when one of them is not valid here.
    """
    check_final_is_valid(s)
    while (certificate := s.tally.final) is not None and s.is_final_awaited:
        branch, end = s.tree.branch(certificate.ballot.digest)
        if not branch or end != s.tree.root.digest:
            want_blocks(s, s.others)
            return
        executed = 0
        for block in branch:
            if not block.is_valid:
                break
            executed += 1
        # Below the certified block all is final as well; what is executed need not wait for the rest.
        for block in branch[:executed]:
            _give_out(s, block)
        _prune(s)
        if executed < len(branch):
            return
        if branch[-1].header.height == s.boundary_height:
            begin_epoch(s, branch[-1], certificate)


def check_final_is_valid(s: Situation) -> None:
    """Stop when what the others made final is not valid here: then our own execution is not to be trusted.

    Raises: Fatal.
    """
    if s.tally.final is None:
        return
    for block in s.tree.branch(s.tally.final.ballot.digest)[0]:
        if block.judgement is Judgement.INVALID:
            raise Fatal(f"block {block.header.height} is final, but not valid here: {block.reason}")


def want_blocks(s: Situation, peers: list[int]) -> None:
    """Ask for the final blocks above our own."""
    s.asking.want(BLOCKS_KEY, BlocksRequest(Height(s.tree.root.height + 1), BLOCKS_MAX), peers)


def _give_out(s: Situation, block: Block) -> None:
    certificate = s.final_certificates.get(block.header.digest)
    rank = None
    if certificate is not None and s.voice.index is not None:
        first = s.leader(View(certificate.ballot.view + 1))
        rank = (s.voice.index - first) % len(s.authorities)
    final = FinalBlock(block.header, block.transaction_ids, block.evidence, certificate)
    s.out.final.append(Final(final, rank))
    s.final_ms = s.now
    if block.evidence:
        offences = [item.offence for item in block.evidence]
        s.face(offences)
        s.offences.update(offences)
        # What can no longer be recorded would be work for ever.
        s.evidence = {item.offence: item for item in recordable(s.evidence.values(), s.offences)}
    s.tree.advance(block)


def _prune(s: Situation) -> None:
    s.tally.prune()
    s.voice.prune(s.epoch, s.final_view)
    root = s.tree.root.digest
    s.certified_ms = {d: at for d, at in s.certified_ms.items() if d == root or s.tree.get(d) is not None}
    s.final_certificates = {
        d: c for d, c in s.final_certificates.items() if d != root and c.ballot.view >= s.final_view
    } | {d: c for d, c in s.final_certificates.items() if s.tree.get(d) is not None}
    s.unsaved = [c for c in s.unsaved if c.ballot.view >= s.final_view]


def begin_epoch(s: Situation, boundary: Block, certificate: Certificate) -> None:
    """The boundary block is final: the next list reigns, views start at 1, and tallies start empty.

    Whoever did not vote up to the boundary was away, and learns first what its key has signed since (R8).
    """
    header = boundary.header
    assert boundary.next_set is not None and boundary.next_set.hash == header.next_set_hash
    s.boundaries[s.epoch] = certificate
    s.sets[Epoch(s.epoch + 2)] = boundary.next_set
    s.epoch = Epoch(s.epoch + 1)
    s.sets.pop(Epoch(s.epoch - 2), None)
    s.base_digest, s.base_height = header.digest, header.height
    s.rotate()
    s.offences = {offence for offence in s.offences if offence[0] + 1 >= s.epoch}
    s.evidence = {o: item for o, item in s.evidence.items() if o[0] + 1 >= s.epoch}
    s.tally = Tally(s.epoch, s.authorities, s.setting.genesis_hash, s.setting.is_signed)
    has_voted = bool(s.voice.votes)
    s.voice.begin_epoch(s.epoch, own_index(s))
    s.tree.clear()
    s.final_certificates.clear()
    s.unsaved = [certificate]
    s.peers.clear()
    s.pacing.listen(s.now)
    s.building = None
    s.view, s.next_view = View(0), View(1)
    s.certified_ms = {header.digest: s.now}
    s.asking.clear()
    s.pull_from = []
    if not has_voted:
        s.listen()
    enter(s)


def own_index(s: Situation) -> int | None:
    """This node's position in the reigning list."""
    key = s.setting.key
    return s.authorities.index_of(key) if key is not None else None


def enter(s: Situation) -> None:
    """Upon a certificate of view v - 1: enter v, arm its deadline, and look for work."""
    s.view = s.next_view
    digest, _ = s.best_parent()
    s.pacing.enter(s.now)
    s.out.work.append(Enter(s.epoch, s.view, s.leader(s.view), digest))
