"""The command `p2pledger why-stalled`: what it prints of real answers, and its exit codes."""

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from p2pledger.cli import main
from p2pledger.consensus.causes import CURES
from p2pledger.consensus.diagnosis import diagnose
from p2pledger.types import Millis
from tests.sim.bench import Bench, n_, x
from tests.unit.client.conftest import serve as serve

NOWHERE = "http://127.0.0.1:1"


def diagnosis_of(bench, **options):
    return diagnose(bench.s, Millis(bench.now), **options)


def stalled(index=0, heard=(1,)):
    """What a core of four says that has heard only these for ten seconds."""
    bench = Bench(index=index)
    for peer in range(4):
        if peer != index:
            bench.receive(peer, bench.status(is_reply=True))
    for _ in range(20):
        bench.tick(500)
        for peer in heard:
            bench.receive(peer, bench.status(is_reply=True))
    return diagnosis_of(bench)


def run(*arguments):
    result = CliRunner().invoke(main, ["why-stalled", *arguments], env={"COLUMNS": "100"})
    assert result.exception is None or isinstance(result.exception, SystemExit), result.output
    return result.exit_code, " ".join(result.output.split())


def test_a_healthy_node(serve):
    server = serve()
    code, text = run("--node", server.url)
    assert code == 0
    assert f"org0 at {server.url}: healthy" in text


def test_a_stalled_node_says_who_is_missing_and_what_to_do(serve):
    server = serve(diagnosis=stalled())
    code, text = run("--node", server.url)
    assert code == 1
    assert f"org0 at {server.url}: stalled" in text
    assert "only these are there: this node and org1. Nothing was heard of org2 and org3 for 10 s." in text
    assert "[no_quorum_heard] Start those that are silent" in text
    assert "> org1 ? 0.0 s ago 0/1 0 0" in text


def test_a_node_that_is_not_there(serve):
    code, text = run("--node", NOWHERE)
    assert (code, f"{NOWHERE}: not reachable" in text) == (2, True)
    assert run("--node", serve().url, "--node", NOWHERE)[0] == 2
    assert run("--node", serve(diagnosis=stalled()).url, "--node", NOWHERE)[0] == 1


@pytest.mark.parametrize("node", ["http://", "nothing at all", "http://[::1", "ftp://127.0.0.1", ""])
def test_what_is_no_address_is_not_reachable(node):
    assert run("--node", node)[0] == 2


def test_what_is_no_node_is_not_reachable(serve):
    code, text = run("--node", f"{serve().url}/docs")
    assert (code, "it answered 404" in text) == (2, True)


def test_of_several_nodes_it_is_told_who_is_up_and_not_heard(serve):
    one, two = serve(diagnosis=stalled()), serve(diagnosis=stalled(index=2, heard=(1, 3)))
    code, text = run("--node", one.url, "--node", two.url.removeprefix("http://"))
    assert code == 1
    assert f"org2 answers, and org0 at {one.url} does not hear it: mend the network between them." in text
    assert "2 of 2 nodes answered." in text


def test_for_scripts_it_prints_what_the_nodes_answered(serve):
    bench = Bench()
    bench.speak()
    bench.receive(1, bench.proposal(bench.header(1)))
    server = serve(diagnosis=diagnosis_of(bench))
    code, text = run("--node", server.url, "--node", NOWHERE, "--json")
    one, other = json.loads(text)["nodes"]
    assert (code, one["url"], one["error"]) == (2, server.url, None)
    assert one["consensus"]["votes"][0]["voters"] == ["org0", "org1"]
    assert (other["consensus"], bool(other["error"])) == (None, True)


def test_certificates_evidence_and_a_follower_are_shown(serve):
    bench = Bench(index=None)
    for time_ms in (1, 2):
        bench.receive(3, bench.vote(3, n_(1, bench.header(1, time_ms=time_ms))))
    bench.give(x(4))
    server = serve(diagnosis=diagnosis_of(bench, connected={"peer1"}))
    code, text = run("--node", server.url)
    assert code == 0
    assert f"{server.url}: healthy" in text
    assert "Last certificates: skip of view 4 (0.0 s ago)." in text
    assert "org3 has contradicted itself in 1 view: still to be recorded." in text
    assert "org1 yes" in text
    assert "org2 no" in text


def test_the_documentation_has_the_same_cure_for_every_code():
    text = (Path(__file__).resolve().parents[2] / "docs" / "OPERATIONS.md").read_text()
    section = text.partition("## When nothing becomes final")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `([a-z_]+)` \| [^|]+ \| ([^|]+) \|$", section, re.MULTILINE)
    assert rows == [(cause.value, cure) for cause, cure in CURES.items()]
