"""A day in the city as a user starts it: one command, and a report of what everybody can see."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from p2pledger.testnet.city.cast import EPOCH_BLOCKS, ORGANISATIONS
from p2pledger.testnet.directory import open_directory

pytestmark = pytest.mark.campaign

PATIENCE_S = 900
CHECKS_MIN = 40


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """The report, and the directory that the day was kept in."""
    directory = tmp_path_factory.mktemp("day") / "net"
    command = [sys.executable, "-m", "p2pledger", "testnet", "up", "--replay", "city", "--json"]
    done = subprocess.run(
        [*command, "--dir", str(directory)], capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]), directory


def test_all_nodes_agree_and_every_check_holds(day: tuple[dict[str, Any], Path]) -> None:
    report, _ = day
    assert report["agree"] and (report["authorities"], report["gateways"]) == (4, 2)
    assert [check for check in report["checks"] if not check["holds"]] == []
    assert all(check["found"] == check["expected"] for check in report["checks"])
    names = [check["name"] for check in report["checks"]]
    assert len(names) >= CHECKS_MIN and len(set(names)) == len(names)


def test_the_authorities_changed_twice_in_epochs_of_their_own(day: tuple[dict[str, Any], Path]) -> None:
    report, _ = day
    lists = report["authority_lists"]
    assert [len(one["members"]) for one in lists] == [4, 5, 4]
    assert len({frozenset(one["members"]) for one in lists}) == 3
    assert all(one["height"] % EPOCH_BLOCKS == 1 for one in lists[1:])


def test_every_department_and_one_resident_see_something(day: tuple[dict[str, Any], Path]) -> None:
    report, _ = day
    assert set(report["seen"]) == {*ORGANISATIONS, "a resident"}
    assert all(report["seen"].values())


def test_what_was_kept_goes_on_with_those_who_joined(day: tuple[dict[str, Any], Path]) -> None:
    report, directory = day
    names = {node.name for node in open_directory(directory).nodes}
    assert {"authority-5", "gateway-3", "gateway-4"} <= names and "authority-4" not in names
    command = [sys.executable, "-m", "p2pledger", "testnet", "up", "--dir", str(directory)]
    done = subprocess.run(
        [*command, "--replay", "water", "--duration", "8", "--rate", "5", "--json"],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    again = json.loads(done.stdout.splitlines()[-1])
    assert again["agree"] and again["height"] > report["height"]
