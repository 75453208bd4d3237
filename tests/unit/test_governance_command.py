"""The commands by which organisations decide: what they send of files and keys, and what they refuse."""

import hashlib
import json
import threading

import pytest
from click.testing import CliRunner
from p2pledger.api.cures import LEDGER_CURES
from p2pledger.chain.epoch import epoch_of
from p2pledger.chain.payloads import AuthorityAdd, AuthorityRemove, AuthorityRotate, GovPropose, GovVote
from p2pledger.cli import main
from p2pledger.client import QueryPage, Unavailable
from p2pledger.codec import decode, encode, to_json
from p2pledger.governance_command import say_until_listed
from p2pledger.node.config import Role
from p2pledger.node.home import prepare
from p2pledger.signer.keyfile import Secret, SecretRole, write_key_file
from p2pledger.types import Height, PeerId
from tests.asking import LedgerChain, page
from tests.ledgers import Ledger, genesis, signer
from tests.unit.api.small_ledger import ADMIN
from tests.unit.client.conftest import serve as serve
from tests.unit.ledger.modules.test_governance import CITY, EPOCH, SHORT, adopt, names, say_ready

PASSPHRASE = b"open, please"
REASONS = b"because"


@pytest.fixture
def files(tmp_path):
    """An admin's key, its passphrase, and a paper with reasons."""
    key, passphrase, reasons = tmp_path / "admin.key", tmp_path / "passphrase", tmp_path / "reasons.txt"
    write_key_file(key, Secret(SecretRole.TRANSACTION, b"\x02" * 32), PASSPHRASE, scrypt_n=2**10)
    passphrase.touch(mode=0o600)
    passphrase.write_bytes(PASSPHRASE)
    reasons.write_bytes(REASONS)
    return tmp_path


class Final(threading.Thread):
    """Makes whatever a node was given final, as soon as it is there."""

    def __init__(self, node):
        super().__init__(daemon=True)
        self.node, self.is_over = node, threading.Event()

    def run(self):
        while not self.is_over.wait(0.02):
            if self.node.ledger.mempool:
                self.node.finalise()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.is_over.set()
        self.join()


def run(files, node, *arguments):
    genesis = files / "genesis.json"
    genesis.write_text(json.dumps(to_json(node.ledger.genesis)))
    given = ["--key", files / "admin.key", "--passphrase-file", files / "passphrase", "--genesis", genesis]
    words = [*arguments, *given, "--api", node.url]
    with Final(node):
        result = CliRunner().invoke(main, list(map(str, words)))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.output
    return result


def only(node):
    ((transaction, _, _),) = node.ledger.located.values()
    assert transaction.body.signers == (ADMIN.public_key,) and transaction.body.sponsor == "city"
    return transaction


def propose(files, node, measure, *more, kind="authority.remove"):
    (files / "measure.json").write_text(json.dumps(measure))
    return run(
        *(files, node, "propose", kind, "--file", files / "measure.json", "--basis", "council:2026-7"),
        *("--document", files / "reasons.txt", *more),
    )


def test_a_proposal_holds_the_measure_of_the_file_and_the_hash_of_its_reasons(files, serve):
    node = serve()
    result = propose(files, node, {"organisation": "museum"}, "--from-height", "40", "--organisation", "city")
    assert result.exit_code == 0, result.output
    made = only(node)
    assert result.stdout.strip() == made.id.hex()
    assert "to work from block 40 on" in result.stderr
    reasons = hashlib.sha256(REASONS).digest()
    wanted = GovPropose("authority.remove", encode(AuthorityRemove("museum")), 40, "council:2026-7", reasons)
    assert decode(GovPropose, made.body.payload) == wanted and made.body.kind == "gov.propose"


def test_a_proposal_works_an_epoch_later_unless_said_otherwise(files, serve):
    node = serve()
    assert propose(files, node, {"organisation": "museum"}, "--organisation", "city").exit_code == 0
    epoch_blocks = node.ledger.genesis.parameters.epoch_blocks
    assert decode(GovPropose, only(node).body.payload).activation_height == epoch_blocks


@pytest.mark.parametrize(("voice", "approves"), [("yes", True), ("no", False)])
def test_a_vote_names_the_proposal_and_the_voice(files, serve, voice, approves):
    node = serve()
    result = run(files, node, "vote", "ab" * 32, voice, "--organisation", "city")
    assert result.exit_code == 0 and result.stdout == f"voted {voice} in block 1\n"
    assert decode(GovVote, only(node).body.payload) == GovVote(b"\xab" * 32, approves)


def test_a_rotation_names_the_key_and_the_peer_of_the_new_home(files, serve):
    node = serve()
    genesis = files / "genesis.json"
    genesis.write_text(json.dumps(to_json(node.ledger.genesis)))
    said = prepare(files / "new", Role.AUTHORITY, files / "passphrase", genesis, "/ip4/127.0.0.1/tcp/0", [])
    peer, key = (line.split()[-1] for line in said[:2])
    words = ["--home", files / "new", "--key", files / "admin.key", "--organisation", "city"]
    words += ["--passphrase-file", files / "passphrase"]
    with Final(node):
        result = CliRunner().invoke(main, ["authority", "rotate", *map(str, words), "--api", node.url])
    assert result.exit_code == 0 and "say that it is ready" in result.output, result.output
    body = only(node).body
    assert decode(AuthorityRotate, body.payload) == AuthorityRotate(bytes.fromhex(key), PeerId(peer))


def test_what_cannot_be_sent_is_said_and_nothing_is(files, serve):
    node = serve()
    assert "is no measure" in propose(files, node, {}, kind="city.sell").output
    assert "unknown field 'organization'" in propose(files, node, {"organization": "museum"}).output
    assert "non-hexadecimal" in run(files, node, "vote", "here", "yes").output
    told = run(files, node, "vote", "ab" * 32, "yes")
    assert told.exit_code == 1 and "name its --organisation" in told.output
    assert node.ledger.submissions == []


def test_a_refusal_comes_with_its_code_and_cure(files, serve):
    payload = encode(GovVote(b"\xab" * 32, True))
    node = serve(codes={payload: "already_voted"})
    told = run(files, node, "vote", "ab" * 32, "yes", "--organisation", "city")
    assert told.exit_code == 1 and "already_voted" in told.output
    assert LEDGER_CURES["already_voted"] in told.output


def ready(files, node, role):
    genesis = files / "genesis.json"
    genesis.write_text(json.dumps(to_json(node.ledger.genesis)))
    home, passphrase = files / "home", files / "passphrase"
    prepare(home, role, passphrase, genesis, "/ip4/127.0.0.1/tcp/0", ())
    words = ["--home", home, "--key", files / "admin.key", "--passphrase-file", passphrase, "--api", node.url]
    return CliRunner().invoke(main, ["authority", "ready", *map(str, words)])


def test_only_the_node_of_the_home_is_asked_whether_it_follows(files, serve):
    node = serve()
    told = ready(files, node, Role.AUTHORITY)
    assert told.exit_code == 1 and "is the API of peer-of-the-city, not of the node of" in told.output
    assert node.ledger.submissions == []


def test_a_gateway_is_never_ready_to_be_an_authority(files, serve):
    node = serve()
    told = ready(files, node, Role.GATEWAY)
    assert told.exit_code == 1 and "is a gateway's" in told.output
    assert node.ledger.submissions == []


class Chain:
    """A client of a ledger that grows by a block with each pause; at heights of `away` no node answers."""

    def __init__(self, ledger, away=()):
        self.ledger, self.genesis, self.away = ledger, ledger.genesis, set(away)

    def query(self, name, /, **parameters):
        if self.ledger.height in self.away:
            raise Unavailable("nobody answers")
        found = page(LedgerChain(self.ledger), name, **parameters)
        yield QueryPage(self.ledger.height, tuple(map(to_json, found.items)), None)

    def pause(self):
        self.ledger.block()


def test_a_node_is_said_ready_once_in_each_epoch_until_a_list_has_it(capsys):
    ledger, said = Ledger(genesis(parameters=SHORT)), []
    adopt(ledger, AuthorityAdd("utility", signer("utility votes").public_key, PeerId("utility-authority")))
    adopt(ledger, CITY)
    say_ready(ledger, "utility votes", "utility", "utility 1")  # which came first: a list grows by one
    chain = Chain(ledger, away=(16, 17))

    def say(_):
        say_ready(ledger, "city votes")
        said.append(ledger.height)
        return Height(ledger.height + EPOCH - 1)

    first = say_until_listed(chain, CITY.key, say, chain.pause)
    assert said == [10, 19] and ledger.height == 3 * EPOCH
    assert [epoch_of(height, EPOCH) for height in said] == [1, 2]
    assert (epoch_of(first - 1, EPOCH), epoch_of(first, EPOCH)) == (3, 4)
    assert "utility" in names(ledger, 3) and "city" not in names(ledger, 3)
    assert "city" in names(ledger, 4)
    assert capsys.readouterr().err.count("nobody answers") == 2
    assert say_until_listed(chain, CITY.key, say, chain.pause) == first and len(said) == 2


def test_readiness_is_not_said_before_it_can_count_nor_for_what_nobody_decided():
    ledger, said = Ledger(genesis(parameters=SHORT)), []
    chain = Chain(ledger)
    with pytest.raises(ValueError, match="no decided change"):
        say_until_listed(chain, CITY.key, said.append, chain.pause)
    adopt(ledger, CITY, ahead=2 * EPOCH)

    def say(_):
        said.append(ledger.height)
        say_ready(ledger, "city votes")
        return Height(ledger.height + EPOCH - 1)

    say_until_listed(chain, CITY.key, say, chain.pause)
    assert said == [EPOCH], "the end of the first epoch comes too early for the change"
