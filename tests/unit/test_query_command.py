"""The command `p2pledger query`: what it prints of real answers, and its exit codes."""

import json

import pytest
from click.testing import CliRunner
from p2pledger.cli import main
from p2pledger.ledger.modules.queries import QUERIES
from tests.committed import fact
from tests.ledgers import START_MS
from tests.unit.client.conftest import serve as serve

BY_SCHEMA = ("records.by-schema", "--schema", "epcis.object/1")


def run(*arguments):
    result = CliRunner().invoke(main, ["query", *arguments], env={"COLUMNS": "160"})
    assert result.exception is None or isinstance(result.exception, SystemExit), result.output
    return result


@pytest.fixture
def node(serve):
    """A node whose ledger has five records; their ids in the order of their times."""
    node = serve()

    def write():
        chain = node.ledger.chain
        return [chain.does(fact(START_MS + i), "city", "city 1").id.hex() for i in range(5)]

    node.ids = node.on_loop(write)
    return node


def test_the_help_lists_every_query_with_its_parameters():
    listed = run("--help").output
    for query in QUERIES.values():
        assert query.name in listed
        shown = run(query.name, "--help").output
        for parameter in query.parameters:
            assert f"--{parameter.name.replace('_', '-')} " in shown
            assert ("[required]" in shown) >= parameter.is_required


def test_a_page_is_printed_as_lines_of_json(node):
    result = run(*BY_SCHEMA, "--api", node.url, "--json", "--limit", "2")
    assert [json.loads(line)["transaction_id"] for line in result.stdout.splitlines()] == node.ids[:2]
    assert result.exit_code == 0
    cursor = result.stderr.split()[-1]
    result = run(*BY_SCHEMA, "--api", node.url, "--json", "--limit", "3", "--after", cursor)
    assert [json.loads(line)["transaction_id"] for line in result.stdout.splitlines()] == node.ids[2:]
    assert result.stderr == ""


def test_all_pages_are_printed_when_asked_for(node):
    result = run(*BY_SCHEMA, "--api", node.url, "--json", "--limit", "2", "--all")
    assert [json.loads(line)["transaction_id"] for line in result.stdout.splitlines()] == node.ids
    assert result.stderr == ""


def test_people_get_tables(node):
    result = run(*BY_SCHEMA, "--api", node.url, "--from-ms", str(START_MS + 1))
    assert "transaction_id" in result.stdout and "4 found at height 5" in result.stdout
    assert node.ids[1][:16] in result.stdout and node.ids[0][:16] not in result.stdout
    assert "2023-11-14 22:13:20.001" in result.stdout
    result = run("registry.organisation", "--organisation", "city", "--api", node.url)
    assert "department" in result.stdout and "used_transactions" in result.stdout
    assert "1 found at height 5" in result.stdout


def test_the_next_node_is_asked_when_one_is_not_there(node):
    nowhere = "http://127.0.0.1:1"
    result = run("registry.gateways", "--api", nowhere, "--api", node.url, "--json")
    assert json.loads(result.stdout)["peer"] == "city-gateway-peer"
    result = run("registry.gateways", "--api", nowhere)
    assert result.exit_code == 1 and "no node answered" in result.stderr


def test_a_refusal_comes_with_its_cure(node):
    result = run("records.gaps", "--device", "ab" * 16, "--api", node.url)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "unknown_device" in result.stderr and "Enrol it first" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("records.by-schema",),
        ("records.by-schema", "--schema", "sensor"),
        (*BY_SCHEMA, "--from-ms", "-1"),
        (*BY_SCHEMA, "--from-ms", str(2**64)),
        (*BY_SCHEMA, "--from-ms", "٣"),
        (*BY_SCHEMA, "--limit", "1001"),
        ("records.gaps", "--device", "ab"),
        ("records.gaps", "--device", "AB" * 16),
        ("records.nothing",),
    ],
)
def test_what_is_beyond_its_limits_is_refused_before_a_node_is_asked(arguments):
    result = run(*arguments)
    assert result.exit_code == 2 and "Error" in result.stderr
