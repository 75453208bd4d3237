"""After a start, before the first vote: what others know of this key is heard first (R8)."""

from p2pledger.chain.message import Status
from p2pledger.types import Epoch, View
from tests.sim.bench import Bench, x


def test_nothing_is_said_while_nobody_is_there_to_tell_what_was_said_before():
    bench = Bench()
    for _ in range(300):  # half a minute, many deadlines
        bench.tick(100)
    assert bench.ballots() == []
    bench.receive(1, bench.status())
    assert bench.ballots() == []
    bench.tick(900)
    assert bench.ballots() == []
    bench.tick(100)  # 10Δ after the first word the others have had their time
    bench.tick(1_000)
    assert bench.ballots() == [x(1)]


def test_whoever_comes_is_asked_at_once_and_again_every_delta():
    bench = Bench()
    bench.tick(700)
    bench.sent.clear()
    bench.receive(1, bench.status())
    asked = [send.peer for send in bench.sent if isinstance(send.frame, Status) and not send.frame.is_reply]
    assert set(asked) == {1, 2, 3}
    bench.sent.clear()
    bench.tick(100)
    asked = [send.peer for send in bench.sent if isinstance(send.frame, Status) and not send.frame.is_reply]
    assert set(asked) == {1, 2, 3}


def test_an_older_copy_of_the_guard_is_found_out_however_late_the_others_come():
    bench = Bench(guard=(Epoch(0), View(3)))
    for _ in range(100):
        bench.tick(100)
    bench.receive(1, bench.status(view=6, echo=[bench.vote(0, x(5))]))
    for peer in (1, 2, 3):
        bench.receive(peer, bench.status(view=6, is_reply=True))
    bench.tick(10_000)
    assert bench.ballots() == []
    assert "guard was lost" in bench.s.voice.notice
