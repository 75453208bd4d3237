"""What a node's log looks like, how much of it there may be, and where a transaction is found in it."""

import json
import logging
import subprocess
import sys

import pytest
import structlog
import trio
from p2pledger.metrics import Metrics
from p2pledger.node.config import LogFormat, LogSection
from p2pledger.node.logs import CHARS_MAX, PER_MINUTE_MAX, Quota, set_up_logs
from p2pledger.node.trail import IDS_PER_LINE, Trail
from p2pledger.types import Hash
from structlog.testing import capture_logs
from tests.unit.node.solo import Solo, fact


@pytest.fixture
def log(capsys):
    """Sets logs up at a level; what was written since, line by line."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level

    class Log:
        metrics = Metrics(version="0", chain_id="test", node="one")

        def begin(self, level: str = "info") -> None:
            set_up_logs(LogSection(level, LogFormat.JSON), self.metrics)

        @property
        def lines(self) -> list[dict]:
            return [json.loads(line) for line in capsys.readouterr().err.splitlines()]

        def count(self, series: str, **labels: str) -> float | None:
            return self.metrics.registry.get_sample_value(f"p2pledger_{series}", labels)

    yield Log()
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.getLogger("p2pledger").setLevel(logging.NOTSET)


def test_a_line_is_one_object_with_event_level_and_time(log):
    log.begin()
    structlog.get_logger().info("final", height=7, digest="ab")
    structlog.get_logger().debug("not_told")
    [line] = log.lines
    assert line.pop("timestamp").endswith("Z")
    assert line == {"event": "final", "level": "info", "height": 7, "digest": "ab"}
    assert log.count("log_messages_total", level="info") == 1
    assert log.count("log_messages_total", level="debug") == 0


def test_events_of_the_network_and_words_of_libraries_look_alike(log):
    log.begin("debug")
    logging.getLogger("p2pledger.network.host").debug("dial_failed", extra={"peer": "p", "why": "w"})
    logging.getLogger("hypercorn.p2pledger").warning("it is\n%s", 3)
    logging.getLogger("hypercorn.p2pledger").info("no matter")
    ours, theirs = log.lines
    assert (ours["event"], ours["level"], ours["peer"], ours["why"]) == ("dial_failed", "debug", "p", "w")
    assert (theirs["event"], theirs["logger"]) == ("library", "hypercorn.p2pledger")
    assert theirs["message"] == "it is\n3"


def test_a_fault_is_one_line_with_its_traceback(log):
    log.begin()
    try:
        _ = 1 / 0
    except ZeroDivisionError:
        logging.getLogger("p2pledger.network.gossip").exception("gossip_failed", extra={"peer": "p"})
        structlog.get_logger().critical("crashed", exc_info=True)
    for line in log.lines:
        assert "ZeroDivisionError" in line["exception"]


def test_what_a_peer_may_choose_is_cut(log):
    log.begin()
    structlog.get_logger().info("gossip_rejected", why="x" * 50_000)
    assert len(log.lines[0]["why"]) == CHARS_MAX + 1


@pytest.mark.parametrize("emit", [
    lambda: structlog.get_logger().info("gossip_rejected"),
    lambda: logging.getLogger("p2pledger.network.lobby").info("gossip_rejected"),
    lambda: logging.getLogger("elsewhere").error("whatever %d", id(object())),
])  # fmt: skip
def test_too_many_of_one_event_are_left_out_and_counted(log, emit, monkeypatch):
    monkeypatch.setattr("p2pledger.node.logs.PER_MINUTE_MAX", 5)
    log.begin()
    for _ in range(9):
        emit()
    structlog.get_logger().info("another")
    assert [line["event"] for line in log.lines].count("another") == 1
    assert log.count("log_suppressed_total") == 4
    assert sum(log.count("log_messages_total", level=level) for level in ("info", "error")) == 6


def test_the_next_line_says_how_many_were_left_out():
    now_s = [0.0]
    quota = Quota(lambda: now_s[0])
    assert [quota.take("a") for _ in range(PER_MINUTE_MAX)] == [0] * PER_MINUTE_MAX
    assert (quota.take("a"), quota.take("b"), quota.take("a")) == (None, 0, None)
    now_s[0] = 59.9
    assert quota.take("a") is None
    now_s[0] = 60.0
    assert (quota.take("a"), quota.take("a")) == (3, 0)


async def test_a_transaction_is_found_by_its_id_with_the_height_that_it_came_to(tmp_path):
    solo, one = Solo(tmp_path), None
    solo.pool.trail = Trail(is_told=True)
    with capture_logs() as lines:
        async with solo.running():
            one = fact(solo.genesis)
            await solo.pool.submit([one.encoded])
            with trio.fail_after(20):
                await solo.pool.wait(one.id, 20_000)
    found = [line for line in lines if one.id.hex() in line.get("ids", ())]
    assert [line["event"] for line in found] == ["transactions_accepted", "transactions_final"]
    height = solo.store.locate(one.id).result.height
    assert (found[0]["source"], found[1]["height"]) == ("api", height)
    assert height in [line["height"] for line in lines if line["event"] == "final"]


def test_a_loss_is_told_at_info_and_the_rest_only_to_who_asks():
    ids = [Hash(n.to_bytes(32, "big")) for n in range(2 * IDS_PER_LINE + 1)]
    trail = Trail()
    with capture_logs() as lines:
        trail.final(ids, 7)
        trail.refused(ids[0], "revoked", "its key ended")
        trail.expired(ids)
        trail.expired([])
    assert [(line["event"], line["log_level"]) for line in lines] == [
        ("transaction_refused", "info"),
        *[("transactions_expired", "info")] * 3,
    ]
    assert lines[0]["id"] == ids[0].hex()
    assert [id_ for line in lines[1:] for id_ in line["ids"]] == [id_.hex() for id_ in ids]
    assert not trail.is_followed


def test_a_library_that_logs_before_that_is_quiet_on_standard_output():
    script = "import p2pledger.network.host as host; host._log.debug('dial_failed', extra={'peer': 'p'})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == done.stderr == ""
