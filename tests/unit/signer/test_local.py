"""The signer and its file: what is durable when, and what stops it."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from p2pledger.chain.vote import finalise, is_contradiction, notarise, skip
from p2pledger.crypto import is_signed
from p2pledger.errors import Fatal
from p2pledger.signer.guard import Guard, Reason
from p2pledger.signer.guardfile import GUARD_FILE, GuardFile, GuardMissing
from p2pledger.signer.local import LocalSigner, Refused
from p2pledger.types import Epoch, Hash, View
from tests.unit.signer.ballots import KEY, SETS, certificate, new_signer, open_signer, proposal, transactions
from tests.unit.storage.chains import GENESIS, KEYS, make_genesis

E0 = Epoch(0)
A, B = Hash(b"a" * 32), Hash(b"b" * 32)
ROOT = Path(__file__).parents[3]


def n(view, digest=A, epoch=0):
    return notarise(Epoch(epoch), View(view), digest)


def f(view, digest=A, epoch=0):
    return finalise(Epoch(epoch), View(view), digest)


def x(view, epoch=0):
    return skip(Epoch(epoch), View(view))


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "guard"


@pytest.fixture
def signer(directory):
    made = new_signer(directory)
    yield made
    made.close()


def test_a_vote_is_signed_for_its_epochs_list(signer):
    for epoch in (0, 1):
        vote = signer.sign_vote(n(1, epoch=epoch), (), None, ())
        authorities = SETS[Epoch(epoch)]
        assert authorities.members[vote.signer].key == signer.public_key
        digest = vote.ballot.sign_digest(GENESIS.hash, authorities.hash)
        assert is_signed(signer.public_key, digest, vote.signature)


def test_a_key_that_is_no_member_signs_nothing(signer):
    assert signer.sign_vote(n(1, epoch=2), (), None, ()) == Refused(Reason.NOT_A_MEMBER)
    assert signer.load().guard == Guard()


def test_a_stranger_signs_nothing(tmp_path):
    stranger = KEYS[0].__class__(b"\x07" * 32)
    GuardFile.create(tmp_path, stranger.public_key, GENESIS.hash)
    guard_file = GuardFile(tmp_path, stranger.public_key, GENESIS.hash)
    signer = LocalSigner(stranger, guard_file, GENESIS.hash, SETS.get)
    assert signer.sign_vote(n(1), (), None, ()) == Refused(Reason.NOT_A_MEMBER)
    signer.close()


def test_refusals_are_answers_with_a_reason(signer):
    signer.sign_vote(n(5), (), None, ())
    assert signer.sign_vote(n(5, B), (), None, ()) == Refused(Reason.OTHER_BLOCK)
    assert signer.sign_vote(n(4), (), None, ()) == Refused(Reason.BELOW_GUARD)
    signer.sign_vote(x(5), (), None, ())
    assert signer.sign_vote(f(5), (), None, ()) == Refused(Reason.SKIPPED)
    signer.sign_vote(f(6), (), None, ())
    assert signer.sign_vote(x(6), (), None, ()) == Refused(Reason.FINALISED)


def test_the_guard_holds_after_a_restart(directory):
    signer = new_signer(directory)
    signer.sign_vote(n(5), (), None, ())
    signer.sign_vote(x(5), (), None, ())
    signer.close()
    again = open_signer(directory)
    assert again.load().guard == Guard(E0, View(5), A, True, None)
    assert again.sign_vote(f(5), (), None, ()) == Refused(Reason.SKIPPED)
    assert again.sign_vote(n(4), (), None, ()) == Refused(Reason.BELOW_GUARD)
    again.close()


class KeyUsedOnce:
    """Signs nothing: what it is asked for must have been signed before."""

    public_key = KEY.public_key

    def sign(self, digest):
        raise AssertionError("the key was used again")


def test_the_very_same_ballot_gives_the_stored_vote(directory):
    signer = new_signer(directory)
    votes = [signer.sign_vote(n(view), (), None, ()) for view in (5, 6)]
    signer.close()
    guard_file = GuardFile(directory, KEY.public_key, GENESIS.hash)
    again = LocalSigner(KeyUsedOnce(), guard_file, GENESIS.hash, SETS.get)
    # Also below the guard: what was signed once cannot contradict anything by being said again.
    assert [again.sign_vote(n(view), (), None, ()) for view in (5, 6)] == votes
    again.close()


def test_everything_that_a_vote_rests_on_comes_back(signer, directory):
    bodies = transactions(3)
    block = proposal(7, bodies)
    held = (certificate(n(6)), certificate(x(5)), certificate(f(4)))
    vote = signer.sign_vote(block.vote.ballot, held, block, bodies)
    signer.keep_boundary(certificate(f(3, B)))
    durable = signer.load()
    assert durable.guard == Guard(E0, View(7), block.header.digest, False, None)
    assert durable.votes == (vote,)
    assert durable.proposals == (block,)
    assert set(durable.certificates) == set(held[:2])
    assert durable.final == held[2]
    assert durable.boundaries == {E0: certificate(f(3, B))}
    assert set(durable.bodies) == set(bodies)


def test_the_first_proposal_of_a_block_stays(signer):
    bodies = transactions(2)
    own = proposal(7, bodies)
    signer.sign_vote(own.vote.ballot, (), own, bodies)
    other = own.__class__(**{**own.__dict__, "newest_final": certificate(f(2))})
    signer.sign_vote(f(7, own.header.digest), (), other, bodies)
    assert signer.load().proposals == (own,)
    assert len(signer.load().bodies) == 2


def test_the_newest_finality_certificate_is_the_highest_not_the_last(signer):
    signer.sign_vote(x(9), (certificate(f(8)), certificate(f(3))), None, ())
    assert signer.load().final == certificate(f(8))
    signer.sign_vote(x(1, epoch=1), (certificate(f(2)),), None, ())
    assert signer.load().final == certificate(f(8))
    signer.sign_vote(x(2, epoch=1), (certificate(f(1, epoch=1)),), None, ())
    assert signer.load().final == certificate(f(1, epoch=1))


def test_certificates_are_kept_even_when_the_ballot_is_refused_or_repeated(signer):
    signer.sign_vote(n(5), (), None, ())
    signer.sign_vote(n(5, B), (certificate(x(3)),), None, ())
    signer.sign_vote(n(5), (certificate(x(4)),), None, ())
    assert set(signer.load().certificates) == {certificate(x(3)), certificate(x(4))}


def test_what_is_final_is_dropped_with_the_next_vote_and_boundaries_never(signer):
    bodies = transactions(4)
    blocks = {view: proposal(view, bodies[view : view + 1]) for view in (1, 2, 3)}
    for view, block in blocks.items():
        signer.sign_vote(
            block.vote.ballot, (certificate(x(view)), certificate(f(view))), block, bodies[view : view + 1]
        )
    signer.keep_boundary(certificate(f(1)))
    signer.prune(E0, View(2))
    signer.prune(E0, View(1))
    signer.sign_vote(x(4), (), None, ())
    durable = signer.load()
    assert [vote.ballot.view for vote in durable.votes] == [3, 4]
    assert durable.proposals == (blocks[3],)
    assert durable.certificates == (certificate(x(3)),)
    assert durable.final == certificate(f(3))
    assert durable.bodies == bodies[3:4]
    assert durable.boundaries == {E0: certificate(f(1))}


def test_the_votes_of_the_guards_own_view_stay(signer):
    vote = signer.sign_vote(n(5), (), None, ())
    signer.prune(E0, View(9))
    signer.sign_vote(n(5), (certificate(x(10)),), None, ())
    assert signer.load().votes == (vote,)


def test_a_proposal_of_another_block_is_a_callers_mistake(signer):
    with pytest.raises(ValueError, match="not of the block"):
        signer.sign_vote(n(7), (), proposal(7), ())


# --- before anyone sees it


def test_the_vote_is_synced_before_it_is_given_out(signer):
    statements = []
    connection = signer._guard_file._connection
    connection.set_trace_callback(statements.append)
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    statements.clear()
    signer.sign_vote(n(5), (certificate(x(4)),), None, ())
    writes = [s.split()[0] for s in statements if not s.startswith("SELECT")]
    assert writes[0] == "BEGIN"
    assert writes[-1] == "COMMIT"
    assert writes.count("BEGIN") == writes.count("COMMIT") == 1, "one transaction holds all of it"


def test_a_copy_of_the_files_at_that_moment_holds_the_vote(signer, directory, tmp_path):
    for view in range(1, 6):
        vote = signer.sign_vote(n(view), (), None, ())
        copy = tmp_path / f"copy-{view}"
        shutil.copytree(directory, copy)
        reopened = open_signer(copy)
        assert vote in reopened.load().votes
        assert reopened.load().guard.at == (0, view)
        reopened.close()


def test_a_write_that_fails_gives_no_vote_and_stops_the_signer(signer, directory):
    signer.sign_vote(n(1), (), None, ())
    connection = signer._guard_file._connection
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages}")
    bodies = transactions(200)
    block = proposal(2, bodies)
    with pytest.raises(Fatal, match="SQLITE_FULL"):
        signer.sign_vote(block.vote.ballot, (), block, bodies)
    connection.execute("PRAGMA max_page_count = 1000000")
    with pytest.raises(Fatal, match="earlier write failed"):
        signer.sign_vote(x(3), (), None, ())
    assert signer.load().guard.at == (0, 1)


def test_killed_at_any_moment_it_never_contradicts_what_it_said(directory):
    """A process signs and says so; it is killed; the next one is asked for everything that contradicts."""
    new_signer(directory).close()
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.unit.signer.voter", str(directory)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
        )
        said = [process.stdout.readline().strip() for _ in range(7)]
        process.send_signal(signal.SIGKILL)
        said += process.stdout.read().split()
        process.wait()
        process.stdout.close()
        views = [int(line) for line in said if line]
        signer = open_signer(directory)
        guard = signer.load().guard
        assert guard.view >= max(views), "a vote was shown that is not on disk"
        assert isinstance(signer.sign_vote(n(max(views), B), (), None, ()), Refused)
        kept = signer.load().votes
        assert not any(is_contradiction(one, other) for one in kept for other in kept)
        signer.close()


# --- what stops it


def test_a_missing_guard_is_not_made_by_looking_for_it(directory):
    for _ in range(2):
        with pytest.raises(GuardMissing):
            open_signer(directory)
    assert not directory.exists()
    directory.mkdir()
    with pytest.raises(GuardMissing):
        open_signer(directory)
    assert not (directory / GUARD_FILE).exists()


def test_an_empty_file_is_no_guard_and_may_be_finished(directory):
    directory.mkdir()
    (directory / GUARD_FILE).touch()
    with pytest.raises(GuardMissing):
        open_signer(directory)
    new_signer(directory).close()


def test_a_guard_is_never_made_anew(directory):
    signer = new_signer(directory)
    signer.sign_vote(n(5), (), None, ())
    signer.close()
    with pytest.raises(Fatal, match="exists already"):
        GuardFile.create(directory, KEY.public_key, GENESIS.hash)
    again = open_signer(directory)
    assert again.load().guard.view == 5
    again.close()


def test_two_instances_of_one_key(signer, directory):
    with pytest.raises(Fatal, match="held by another process"):
        open_signer(directory)
    code = f"from tests.unit.signer.ballots import *; open_signer(Path({str(directory)!r}))"
    other = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert "held by another process" in other.stderr


def test_the_guard_of_another_key_or_ledger(directory):
    new_signer(directory).close()
    with pytest.raises(Fatal, match="another key"):
        GuardFile(directory, KEYS[1].public_key, GENESIS.hash)
    with pytest.raises(Fatal, match="another ledger"):
        GuardFile(directory, KEY.public_key, make_genesis("elsewhere").hash)
    open_signer(directory).close()


@pytest.mark.parametrize("keeping", range(7))
@pytest.mark.parametrize("column", ["content", "name", "checksum", "view"])
def test_a_changed_row_of_any_kind_stops_it(directory, keeping, column):
    signer = new_signer(directory)
    bodies = transactions(1)
    block = proposal(7, bodies)
    signer.sign_vote(block.vote.ballot, (certificate(x(6)), certificate(f(5))), block, bodies)
    signer.keep_boundary(certificate(f(3)))
    signer.close()
    connection = sqlite3.connect(directory / GUARD_FILE)
    if column == "view":
        changed = connection.execute("UPDATE kept SET view = view + 1 WHERE keeping = ?", (keeping,))
    else:
        sql = f"UPDATE kept SET {column} = CAST({column} || x'00' AS BLOB) WHERE keeping = ?"
        changed = connection.execute(sql, (keeping,))
    assert changed.rowcount == 1
    connection.commit()
    connection.close()
    with pytest.raises(Fatal, match="not what was written"):
        open_signer(directory)


def test_a_guard_older_than_its_own_votes_stops_it(directory):
    signer = new_signer(directory)
    old = signer._guard_file._connection.execute("SELECT content, checksum FROM kept").fetchone()
    signer.sign_vote(n(5), (), None, ())
    signer.close()
    connection = sqlite3.connect(directory / GUARD_FILE)
    connection.execute("UPDATE kept SET content = ?, checksum = ? WHERE keeping = 0", old)
    connection.commit()
    connection.close()
    with pytest.raises(Fatal, match="its guard does not know"):
        open_signer(directory)


def test_a_damaged_page_stops_it(directory):
    signer = new_signer(directory)
    for view in range(1, 40):
        signer.sign_vote(x(view), (certificate(x(view)),), None, ())
    signer.close()
    file = directory / GUARD_FILE
    with file.open("r+b") as raw:
        raw.seek(4096)
        raw.write(os.urandom(os.path.getsize(file) - 4096))
    with pytest.raises(Fatal):
        open_signer(directory)
