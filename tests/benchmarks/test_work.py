"""No step of a transaction's way calls more than it did: a guard by counted work, the same on any machine.

`work.json` holds the calls per transaction by version of Python. Where more is meant, `make work` writes
what the running version counts; the difference belongs into the commit, with its reason.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from p2pledger import crypto
from p2pledger.chain.payloads import RecordAppend
from p2pledger.chain.transaction import Body
from p2pledger.ledger.machine import Trial
from p2pledger.ledger.modules.sequence import Sequence
from p2pledger.ledger.payloads import Payloads
from p2pledger.storage.sqlite import SqliteStore
from tests.benchmarks import counted

FILE = Path(__file__).with_name("work.json")
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
SLACK = 0.5
"""Calls per transaction. Below one, so that a single one more is noticed, whatever else a step does."""


def grown(now: Mapping[str, float], before: Mapping[str, float]) -> set[str]:
    """The steps that call more than before, and those that were not there."""
    return {step for step, number in now.items() if number > before.get(step, 0) + SLACK}


@pytest.fixture(scope="module")
def work() -> dict[str, float]:
    return counted.calls_by_step()


def test_no_step_does_more_than_it_did(work, request):
    held = json.loads(FILE.read_text()) if FILE.exists() else {}
    if request.config.getoption("--rewrite"):
        held[VERSION] = work
        FILE.write_text(json.dumps(held, indent=1, sort_keys=True) + "\n")
    assert "3.11" in held
    before = held.get(VERSION, work)
    assert grown(work, before) == set(), f"{work} now, {before} before: if that is meant, `make work`"


def test_the_same_work_is_counted_alike(work):
    assert counted.calls_by_step() == work


CALLED = {
    "decode": (Body, "check_fields"),
    "verify": (crypto, "_parsed"),
    "check_form": (RecordAppend, "__post_init__"),
    "dry run": (Sequence, "accept"),
    "mempool": (Trial, "_quota"),
    "build": (Payloads, "open"),
    "execute": (Sequence, "accept"),
}
"""By step, what it calls for each transaction, once or twice: a call is planted before each of them."""


def test_one_call_more_is_noticed(work, monkeypatch):
    for owner, name in set(CALLED.values()):
        original = getattr(owner, name)
        monkeypatch.setattr(owner, name, lambda *a, original=original: original(*a))
    commit = SqliteStore.commit  # calls no function of ours for each transaction

    def slower(store, block, transactions, execution):
        for one in transactions:
            id(one)
        commit(store, block, transactions, execution)

    monkeypatch.setattr(SqliteStore, "commit", slower)
    assert grown(counted.calls_by_step(), work) == {*CALLED, "commit"} == work.keys()
