"""The sync client, and the async one under asyncio and under trio, against real servers."""

import inspect
import re
import socket
import threading
import time

import anyio
import pytest
from p2pledger import client
from p2pledger.chain.transaction import Outcome
from p2pledger.client import AsyncClient, Client, Limits
from p2pledger.client.answers import read_page
from p2pledger.client.exchange import Answer
from p2pledger.crypto import KeySigner
from p2pledger.errors import InvalidTransaction
from tests import ledgers
from tests.committed import fact
from tests.unit.api.small_ledger import (
    START_MS,
    WRITER,
    SmallLedger,
    make_genesis,
    make_transaction,
)

GENESIS = make_genesis()
QUICK = Limits(attempts_max=6, time_ms_max=5_000, request_ms_max=2_000)


class Async:
    """The async client seen as if it were sync: each call runs an event loop of its own."""

    def __init__(self, backend, nodes, limits):
        self._backend, self._nodes, self._limits = backend, nodes, limits

    def __getattr__(self, name):
        async def call(*arguments):
            async with AsyncClient(self._nodes, GENESIS, self._limits) as asked:
                return await getattr(asked, name)(*arguments)

        return lambda *arguments: anyio.run(call, *arguments, backend=self._backend)

    def query(self, name, **parameters):
        async def pages():
            async with AsyncClient(self._nodes, GENESIS, self._limits) as asked:
                return [page async for page in asked.query(name, **parameters)]

        return anyio.run(pages, backend=self._backend)

    def events(self, after):
        return _Events(self._backend, self._nodes, self._limits, after)


class _Events:
    """Runs an async subscription until `take` items are there."""

    def __init__(self, backend, nodes, limits, after):
        self._arguments = backend, nodes, limits, after

    def take(self, count, each=lambda event: None):
        backend, nodes, limits, after = self._arguments
        taken = []

        async def run():
            async with AsyncClient(nodes, GENESIS, limits) as asked:
                events = asked.events(after)
                while len(taken) < count:
                    taken.append(await anext(events))
                    each(taken[-1])
                await events.aclose()

        anyio.run(run, backend=backend)
        return taken


class Sync(Client):
    def events(self, after=None):
        events = super().events(after)

        class Taking:
            def take(self, count, each=lambda event: None):
                taken = []
                while len(taken) < count:
                    taken.append(next(events))
                    each(taken[-1])
                events.close()
                return taken

        return Taking()


@pytest.fixture(params=["sync", "asyncio", "trio"])
def connect(request):
    """Makes a client of each kind."""
    made = []

    def make(*nodes, limits=QUICK):
        urls = [node if isinstance(node, str) else node.url for node in nodes]
        if request.param != "sync":
            return Async(request.param, urls, limits)
        made.append(Sync(urls, GENESIS, limits))
        return made[-1]

    yield make
    for each in made:
        each.close()


def unused_url():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return f"http://127.0.0.1:{listening.getsockname()[1]}"


def is_whole(request):
    head, end, body = request.partition(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head.lower())
    return bool(end) and len(body) == int(length[1])


class Cutting(threading.Thread):
    """A proxy that passes the first request on to a node, and cuts the connection instead of answering."""

    def __init__(self, behind):
        super().__init__(daemon=True)
        self._behind = behind
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self.start()

    def run(self):
        host, _, port = self._behind.url.removeprefix("http://").partition(":")
        accepted, _ = self._listening.accept()
        with accepted, socket.create_connection((host, int(port))) as onward:
            request = b""
            while not is_whole(request):
                request += accepted.recv(65_536)
            onward.sendall(request)
            onward.recv(65_536)  # the node has answered; nobody will hear it
        self._listening.close()


def test_both_clients_offer_the_same(connect):
    def surface(kind):
        return {
            name: list(inspect.signature(value).parameters)
            for name, value in vars(kind).items()
            if not name.startswith("_") and name not in ("close", "aclose")
        }

    assert surface(Client) == surface(AsyncClient)


def test_a_transaction_is_followed_to_its_verified_receipt(serve, connect):
    node = serve()
    asked, wish = connect(node), make_transaction(GENESIS)
    assert asked.submit(wish) == client.Accepted(wish.id)
    assert asked.fate(wish.id).outcome is Outcome.PENDING
    with pytest.raises(client.Refused) as refused:
        asked.receipt(wish.id)
    assert refused.value.code == "not_final"
    node.finalise()
    fate = asked.wait(wish.id)
    assert (fate.outcome, fate.height, fate.position, fate.output) == (Outcome.FINAL, 1, 0, b"\x80")
    assert asked.receipt(wish.id).transaction == wish
    assert asked.block(1).transaction_ids == (wish.id,)
    assert asked.status().height == 1


def test_many_are_answered_in_order_over_several_requests(serve, connect):
    node = serve(codes={b"\x01": "over_quota"})
    wishes = [make_transaction(GENESIS, i, payload=b"\x01" if i % 100 == 7 else b"\x80") for i in range(700)]
    results = connect(node).submit_many(wishes)
    for i, result in enumerate(results):
        if i % 100 == 7:
            assert (result.code, result.transaction_id) == ("over_quota", wishes[i].id)
        else:
            assert result == client.Accepted(wishes[i].id)
    assert len(node.ledger.submissions) == 2


def test_a_refusal_carries_its_code_and_costs_one_request(serve, connect):
    node = serve()
    with pytest.raises(client.Refused) as refused:
        connect(node).submit(make_transaction(make_genesis("elsewhere")))
    assert refused.value.code == "wrong_genesis"
    assert len(node.ledger.submissions) == 1


def test_a_node_that_is_down_is_passed_over(serve, connect):
    node = serve()
    wish = make_transaction(GENESIS)
    assert connect(unused_url(), unused_url(), node).submit(wish) == client.Accepted(wish.id)
    assert list(node.ledger.mempool) == [wish.id]


def test_no_node_at_all_is_said_within_the_limits(connect):
    with pytest.raises(client.Unavailable, match="no node answered"):
        connect(unused_url(), limits=Limits(attempts_max=3)).submit(make_transaction(GENESIS))


def test_full_mempools_are_asked_again(serve, connect):
    node = serve(busy=3)
    wishes = [make_transaction(GENESIS, salt) for salt in range(5)]
    results = connect(node).submit_many(wishes)
    assert results == [client.Accepted(wish.id) for wish in wishes]
    assert sorted(node.ledger.mempool) == sorted(wish.id for wish in wishes)


def test_a_full_node_is_left_for_one_that_is_not(serve, connect):
    full, free = serve(busy=1_000), serve()
    wish = make_transaction(GENESIS)
    assert connect(full, free).submit(wish) == client.Accepted(wish.id)
    assert len(full.ledger.submissions) == 1
    assert list(free.ledger.mempool) == [wish.id]


def test_an_answer_that_was_lost_doubles_nothing(serve, connect):
    node = serve()
    wish = make_transaction(GENESIS)
    assert connect(Cutting(node), node).submit(wish) == client.Accepted(wish.id)
    assert node.ledger.submissions == [[wish.encoded]] * 2
    node.finalise()
    assert node.ledger.blocks[0].transaction_ids == (wish.id,)


def test_a_lost_answer_and_a_final_block_between_is_not_taken_for_a_refusal(serve, connect):
    node = serve()
    wish = make_transaction(GENESIS)
    submit = node.ledger.submit

    async def submit_and_finalise(encoded):
        answers = await submit(encoded)
        if node.ledger.mempool:
            node.ledger.finalise()
        return answers

    node.ledger.submit = submit_and_finalise
    # The second attempt is refused as `duplicate`: that must be read as what it is.
    assert connect(Cutting(node), node).submit(wish) == client.Accepted(wish.id)
    assert len(node.ledger.blocks) == 1


def test_a_refusal_after_a_lost_answer_leaves_the_outcome_open(serve, connect):
    taker, refuser = serve(), serve(codes={b"\x80": "over_quota"})
    wish = make_transaction(GENESIS)
    (result,) = connect(Cutting(taker), refuser).submit_many([wish])
    assert isinstance(result, client.Undecided)


def test_sending_sees_it_final_even_when_the_first_node_loses_it(serve, connect, monkeypatch):
    monkeypatch.setattr("p2pledger.client.plans.DOUBT_MS", 50)
    forgetful, other = serve(), serve()
    wish = make_transaction(GENESIS)
    submit = other.ledger.submit

    async def forget(encoded):
        return [wish.id]

    async def submit_and_finalise(encoded):
        answers = await submit(encoded)
        other.ledger.finalise()
        return answers

    forgetful.ledger.submit = forget
    other.ledger.submit = submit_and_finalise
    fate = connect(forgetful, other).send(wish)
    assert (fate.outcome, fate.height) == (Outcome.FINAL, 1)


def test_sending_stops_at_a_late_refusal_and_at_the_expiry(serve, connect):
    node = serve()
    one, other = make_transaction(GENESIS, 1), make_transaction(GENESIS, 2)
    submit = node.ledger.submit

    async def submit_and_end(encoded):
        answers = await submit(encoded)
        if one.id in node.ledger.mempool:
            node.ledger.refuse_late(one.id, "over_quota")
        if other.id in node.ledger.mempool:
            node.ledger.expire(other.id)
        return answers

    node.ledger.submit = submit_and_end
    with pytest.raises(client.Refused, match="over_quota"):
        connect(node).send(one)
    with pytest.raises(client.Expired):
        connect(node).send(other)


def test_sending_again_what_is_final_long_since_is_no_refusal(serve, connect):
    node = serve()
    wish = make_transaction(GENESIS)
    connect(node).submit(wish)
    node.finalise()

    async def refuse(encoded):
        return [InvalidTransaction("replayed", "the transaction is in the chain already")]

    node.ledger.submit = refuse
    assert connect(node).send(wish).outcome is Outcome.FINAL


def test_nothing_is_signed_anew_while_the_old_one_may_become_final(serve, connect):
    node = serve()
    asked = connect(node)
    wish = make_transaction(GENESIS, expires_ms=START_MS + 2_500)
    with pytest.raises(client.Undecided):
        asked.renew(wish, [WRITER])
    for _ in range(2):
        node.finalise()
    with pytest.raises(client.Undecided):
        asked.renew(wish, [WRITER])
    node.finalise()
    renewed = asked.renew(wish, [WRITER])
    assert renewed.id != wish.id
    assert renewed.body.payload == wish.body.payload


def test_what_is_final_is_never_signed_anew(serve, connect):
    node = serve()
    wish = make_transaction(GENESIS)
    connect(node).submit(wish)
    node.finalise()
    with pytest.raises(client.Refused, match="final"):
        connect(node).renew(wish, [WRITER])


def test_an_undecided_wait_says_so(serve, connect):
    with pytest.raises(client.Undecided):
        connect(serve()).wait(make_transaction(GENESIS).id, 30)


def test_events_resume_at_another_node_without_a_gap(serve, connect):
    one, other = serve(), serve()
    for ledger in (one.ledger, other.ledger):
        for salt in range(2):
            ledger.mempool[make_transaction(GENESIS, salt).id] = make_transaction(GENESIS, salt)
            ledger.finalise()
    for node in (one, other):
        node.finalise()

    def each(event):
        if event.height == 2:
            # From a thread of its own: this may be the client's event loop.
            changing = threading.Thread(target=lambda: (one.stop(), other.finalise()))
            changing.start()
            changing.join()

    heights = [event.height for event in connect(one, other).events(0).take(4, each)]
    assert heights == [1, 2, 3, 4]


def test_events_follow_what_happens_now(serve, connect):
    node = serve()
    node.finalise()
    stop = threading.Event()

    def keep_going():
        while not stop.wait(0.01):
            node.finalise()

    going = threading.Thread(target=keep_going)
    going.start()
    taken = connect(node).events(None).take(3)
    stop.set()
    going.join()
    assert [event.height - taken[0].height for event in taken] == [0, 1, 2]
    assert taken[0].digest == node.ledger.blocks[taken[0].height - 1].header.digest


def test_a_receipt_of_another_ledger_or_transaction_does_not_hold(serve, connect):
    node = serve()
    wish, other = make_transaction(GENESIS, 1), make_transaction(GENESIS, 2)
    connect(node).submit_many([wish, other])
    node.finalise()
    honest = node.ledger.receipt
    node.ledger.receipt = lambda transaction_id: honest(other.id)
    with pytest.raises(client.InvalidAnswer, match="another transaction"):
        connect(node).receipt(wish.id)
    foreign = serve(genesis=make_genesis("elsewhere"))
    stranger = make_transaction(foreign.ledger.genesis)
    connect(foreign).submit(stranger)
    foreign.finalise()
    with pytest.raises(client.InvalidAnswer, match="does not hold"):
        connect(foreign).receipt(stranger.id)
    with pytest.raises(client.InvalidAnswer, match="another ledger"):
        connect(foreign).status()


def test_a_new_transaction_is_good_for_half_the_window_and_never_the_same_twice():
    before_ms = time.time() * 1_000
    one, other = (client.transaction(GENESIS, "record.append", b"\x80", "city", [WRITER]) for _ in range(2))
    assert one.id != other.id
    assert before_ms - 1 <= one.body.expires_ms - 60_000 <= time.time() * 1_000
    ledger = SmallLedger()
    assert ledger._judge(one.encoded) == one.id


def test_signers_are_put_in_their_order():
    signers = [KeySigner(bytes([n]) * 32) for n in (9, 5, 7)]
    wish = client.transaction(GENESIS, "record.append", b"\x80", "city", signers, salt=bytes(8))
    assert list(wish.body.signers) == sorted(signer.public_key for signer in signers)
    assert SmallLedger()._judge(wish.encoded) == wish.id


def test_a_query_is_walked_page_by_page(serve, connect):
    node = serve()
    chain = node.ledger.chain
    made = [node.on_loop(chain.does, fact(ledgers.START_MS + i), "city", "city 1") for i in range(5)]
    asked = connect(node)
    pages = list(asked.query("records.by-schema", schema="epcis.object/1", limit=2))
    assert [len(page.items) for page in pages] == [2, 2, 1]
    assert {page.height for page in pages} == {5}
    found = [item["transaction_id"] for page in pages for item in page.items]
    assert found == [transaction.id.hex() for transaction in made]
    [rest] = asked.query("records.by-schema", schema="epcis.object/1", after=pages[1].next)
    assert (rest.items, rest.next) == (pages[2].items, None)


def test_bytes_are_asked_for_in_hexadecimal_and_refusals_keep_their_code(serve, connect):
    asked = connect(serve())
    key = ledgers.signer("city 1").public_key
    [page] = asked.query("registry.key", key=key)
    assert page.items[0]["key"] == key.hex() and page.items[0]["is_valid"]
    with pytest.raises(client.Refused) as refused:
        list(asked.query("records.gaps", device=b"nobody".ljust(16)))
    assert refused.value.code == "unknown_device"
    with pytest.raises(client.Refused) as refused:
        list(asked.query("records.gaps", device=b"short"))
    assert refused.value.code == "invalid_parameter"
    with pytest.raises(client.Refused) as refused:
        list(asked.query("records.nothing"))
    assert refused.value.code == "not_found"
    with pytest.raises(ValueError, match="no query's name"):
        list(asked.query("../transactions"))


def test_a_page_that_is_none_is_not_believed():
    for content in (
        b"[]", b"{}", b'{"height": 1, "items": [1]}', b'{"height": "1", "items": []}',
        b'{"height": 1, "items": [], "next": 5}',
    ):  # fmt: skip
        with pytest.raises(client.InvalidAnswer):
            read_page(Answer(200, {}, content))
