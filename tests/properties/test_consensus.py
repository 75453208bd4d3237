"""Whatever well-formed messages liars send: no step raises, nothing is said twice, all is repeatable."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from p2pledger.chain.genesis import LAN
from p2pledger.chain.message import Certificates, Frame, Request
from p2pledger.chain.vote import Vote, evidence_of, is_contradiction, notarise
from p2pledger.codec import decode, encode
from p2pledger.consensus.events import Answered, AskFailed, ClockStepped, Gossiped, Pending, Received, Tick
from p2pledger.errors import Fatal
from p2pledger.types import Epoch, Height, Millis, View
from tests.properties.effort import effort
from tests.sim.bench import FALSE, Bench, f, n_, tx, x

VIEWS = st.integers(0, 9) | st.sampled_from([100, 5_000, 2**64 - 1])
PEERS = st.integers(0, 3)
MAKER = Bench(parameters=replace(LAN, epoch_blocks=3))

HEADERS = st.builds(
    lambda view, time_ms, height, parent, ids, again: MAKER.header(
        view,
        ids=tuple(map(tx, ids)),
        time_ms=Millis(time_ms),
        height=Height(height),
        parent_digest=parent or MAKER.s.base_digest,
        parent_view=View(again),
    ),
    VIEWS,
    st.sampled_from([1, 999_999, 1_000_001, 2**64 - 1]),
    st.sampled_from([0, 1, 2, 3, 4, 2**64 - 1]),
    st.none() | st.integers(1, 3).map(lambda view: MAKER.header(view).digest),
    st.lists(st.integers(1, 2), max_size=2),
    st.integers(0, 3),
) | st.integers(1, 9).map(MAKER.header)
BALLOTS = (st.builds(x, VIEWS) | st.builds(n_, VIEWS, HEADERS) | st.builds(f, VIEWS, HEADERS)).flatmap(
    lambda ballot: st.sampled_from([ballot, ballot, replace(ballot, epoch=Epoch(1))])
)
VOTES = st.builds(MAKER.vote, st.integers(1, 3), BALLOTS) | st.builds(
    lambda ballot, signer: Vote(ballot, signer, FALSE), BALLOTS, st.integers(0, 255)
)
TRUE = st.builds(MAKER.certificate, BALLOTS.filter(lambda ballot: ballot.view < 2**63))
CERTIFICATES = TRUE | st.builds(MAKER.forged, BALLOTS)
PROPOSALS = st.builds(
    lambda header, ids, view, parent, skips, newest: replace(
        MAKER.proposal(header, tuple(map(tx, ids)), view=view, parent=parent, skips=tuple(skips)),
        newest_final=newest,
    ),
    HEADERS,
    st.lists(st.integers(1, 2), max_size=2),
    st.none() | VIEWS,
    st.none() | CERTIFICATES,
    st.lists(CERTIFICATES, max_size=3),
    st.none() | CERTIFICATES,
)
STATUSES = st.builds(
    lambda epoch, view, final, height, echo, is_reply: MAKER.status(
        epoch, view, final, height, echo, is_reply=is_reply
    ),
    st.integers(0, 2),
    VIEWS,
    VIEWS,
    VIEWS,
    st.lists(VOTES, max_size=3),
    st.booleans(),
)
EVIDENCE = st.builds(
    lambda view, signer: evidence_of(
        *(MAKER.vote(signer, notarise(Epoch(0), View(view), tx(i))) for i in range(2))
    ),
    VIEWS,
    PEERS,
)
FRAMES = (
    PROPOSALS
    | VOTES
    | STATUSES
    | EVIDENCE
    | st.builds(lambda held: Certificates(tuple(held)), st.lists(CERTIFICATES, max_size=4))
)
BLOCKS = st.builds(
    lambda header, ids, certificate: replace(
        MAKER.final_block(header, tuple(map(tx, ids))), certificate=certificate
    ),
    HEADERS,
    st.lists(st.integers(1, 2), max_size=2),
    st.none() | CERTIFICATES,
) | HEADERS.filter(lambda header: header.view < 2**63).map(MAKER.final_block)
KEYS = st.just("blocks") | HEADERS.flatmap(
    lambda header: st.sampled_from([f"proposal:{header.digest.hex()}", f"bodies:{header.digest.hex()}"])
)
EVENTS = (
    st.builds(Received, st.integers(0, 5), FRAMES)
    | st.builds(Gossiped, BLOCKS | EVIDENCE)
    | st.builds(
        lambda key, peer, replies: Answered(key, peer, tuple(replies)),
        KEYS,
        PEERS,
        st.lists(BLOCKS | PROPOSALS | CERTIFICATES.map(lambda c: Certificates((c,))), max_size=4),
    )
    | st.builds(AskFailed, KEYS, PEERS)
    | st.builds(Pending, st.integers(0, 1).map(Epoch), VIEWS.map(View))
    | st.builds(ClockStepped, st.integers(-10_000, 10_000))
    | st.just(Tick())
)


def play(script):
    """A core that was waited for, through these events; its bench and all that it said.

    The certificates are true: more than f of the four lie. Even then a step raises nothing but Fatal, for a
    final block that is not valid.
    """
    bench = Bench(parameters=replace(LAN, epoch_blocks=3))
    bench.speak()
    outputs = []
    for event, ms in script:
        bench.now += ms
        try:
            outputs.append(bench.step(event))
        except Fatal as fatal:
            outputs.append(str(fatal))
            break
    return bench, outputs


SCRIPTS = st.lists(st.tuples(EVENTS, st.sampled_from([0, 1, 60, 400, 12_000])), max_size=15)


@effort(100)
@given(SCRIPTS)
def test_no_step_raises_and_no_own_votes_contradict_each_other(script):
    bench, _ = play(script)
    for i, vote in enumerate(bench.votes):
        assert not any(is_contradiction(vote, other) for other in bench.votes[:i])
    assert len(bench.s.asking) <= 64
    for send in bench.sent:
        assert decode(Frame, encode(send.frame, Frame)) == send.frame
    for ask in bench.asks:
        assert decode(Request, encode(ask.request, Request)) == ask.request
    heights = [final.block.header.height for final in bench.finals]
    assert heights == list(range(1, len(heights) + 1))


@effort(40)
@given(SCRIPTS)
def test_the_same_events_at_the_same_times_give_the_same_outputs(script):
    assert play(script)[1] == play(script)[1]
