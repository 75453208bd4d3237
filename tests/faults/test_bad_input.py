"""Bad transactions, at the API and by gossip: refused, counted, blamed on the sender; no good one is lost."""

import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import pytest
import trio
from p2pledger.chain.genesis import Genesis, GenesisOrganisation, Quota
from p2pledger.chain.transaction import Batch, Body, Spread, Transaction, decode_transaction
from p2pledger.client import AsyncClient, transaction
from p2pledger.codec import encode
from p2pledger.crypto import KeySigner
from p2pledger.network.host import Host, peer_id_of
from p2pledger.network.seam import PeerAddress, Topic
from p2pledger.testnet.fleet import Device, enrolment, new_device, record
from p2pledger.testnet.sources import SOURCES, Row
from tests.faults.fleet import Fleet, running, until
from tests.faults.oracle import blocks_of, places_of
from tests.faults.wishes import good, keep_writing, note, note_payload, now_ms, see_final
from tests.net.hosts import Counts, Recorder, seed_of

POOR = KeySigner(seed_of("an organisation with a small quota"))
POOR_TRANSACTIONS = 2
ENEMY = "a peer that was let in"
WATER = SOURCES[3]
STATELESS = ("malformed", "too_large", "not_canonical", "bad_signature", "unknown_kind", "wrong_genesis")
"""What is wrong with the bytes themselves, whatever a node knows: whoever forwards it is to blame."""


def with_a_poor_organisation(genesis: Genesis) -> Genesis:
    quota = Quota(transactions=POOR_TRANSACTIONS, size_bytes=1_000_000)
    poor = GenesisOrganisation("poor", "department", (POOR.public_key,), 1, quota)
    # A day: what was used up stays used up.
    parameters = replace(genesis.parameters, quota_window_ms=86_400_000, idle_interval_ms=2_000)
    return replace(genesis, organisations=(*genesis.organisations, poor), parameters=parameters)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory) -> Iterator[Fleet]:
    path = tmp_path_factory.mktemp("fleet") / "net"
    with running(path, with_a_poor_organisation, [peer_id_of(seed_of(ENEMY))]) as fleet:
        yield fleet


@dataclass(frozen=True)
class Past:
    """What is on the ledger already, and so cannot be once more."""

    final: Transaction
    device: Device


@pytest.fixture(scope="module")
def past(fleet: Fleet) -> Past:
    past = Past(good(fleet), new_device(WATER, fleet.gateway))

    async def make() -> None:
        async with fleet.client("gateway-1") as client:
            await client.send(past.final)
            await client.send(enrolment(fleet.genesis, past.device))
            await client.send(of_device(fleet, past.device, seq=0))
            for _ in range(POOR_TRANSACTIONS):
                await client.send(note(fleet.genesis, "poor", POOR))

    trio.run(make)
    return past


def of_device(fleet: Fleet, device: Device, seq: int) -> Transaction:
    return record(fleet.genesis, device, Row(seq, now_ms(), (7,), False))


def bad_transactions(fleet: Fleet, past: Past) -> dict[str, bytes]:
    """One of each sort by the code it is refused with; fresh at each call, but for the replayed one."""
    window_ms = fleet.genesis.parameters.expiry_window_ms
    gateway = fleet.gateway
    whole = good(fleet).encoded
    body: Body = good(fleet).body
    other = replace(fleet.genesis, chain_id="another")
    noted = gateway.organisation, [gateway.signer]
    # The version, an integer below 24, stands after the heads of two arrays; here it takes two bytes.
    long_integer = whole[:2] + b"\x18" + whole[2:]
    oversized = whole + bytes(20 * 1024)
    forged = encode(Transaction(body, (KeySigner(seed_of("somebody else")).sign(body.id),)))
    return {
        "malformed": whole[:-1],
        "not_canonical": long_integer,
        "too_large": oversized,
        "bad_signature": forged,
        "unknown_kind": transaction(fleet.genesis, "money.print", note_payload(), *noted).encoded,
        "wrong_genesis": transaction(other, "record.append", note_payload(), *noted).encoded,
        "expired": good(fleet, expires_in_ms=-1_000).encoded,
        "expires_too_late": good(fleet, expires_in_ms=window_ms + 60_000).encoded,
        "replayed": past.final.encoded,
        "over_quota": note(fleet.genesis, "poor", POOR).encoded,
        "duplicate": of_device(fleet, past.device, seq=0).encoded,
    }


def received(counted: dict[str, float], source: str) -> Counter[str]:
    """How many transactions came in from a source, by result."""
    start, end = 'mempool_txs_received_total{result="', f'",source="{source}"}}'
    return Counter(
        {
            series.removeprefix(start).removesuffix(end): round(value)
            for series, value in counted.items()
            if series.startswith(start) and series.endswith(end)
        }
    )


@asynccontextmanager
async def good_ones_meanwhile(fleet: Fleet) -> AsyncIterator[AsyncClient]:
    """Good transactions are handed in all the while; at the end every one is final once, everywhere."""
    taken: list[Transaction] = []
    async with fleet.client("gateway-1") as client, trio.open_nursery() as nursery:
        nursery.start_soon(keep_writing, fleet, client, taken)
        yield client
        nursery.cancel_scope.cancel()
    await see_final(fleet, taken)


async def test_each_sort_of_bad_input_has_a_code_of_its_own_and_is_counted(fleet: Fleet, past: Past) -> None:
    before = received(await fleet.metrics("gateway-1"), "api")
    sent: Counter[str] = Counter()
    async with good_ones_meanwhile(fleet) as client:
        for code, data in bad_transactions(fleet, past).items():
            answer = await fleet.post("gateway-1", data)
            assert (answer.json()["code"], 400 <= answer.status_code < 500) == (code, True)
            sent[code] += 1
        # All in one request, with good ones between them: each is judged on its own.
        several = bad_transactions(fleet, past)
        del several["too_large"]  # would not fit into the form of a batch
        goods = [good(fleet) for _ in several]
        mixed = [
            data for pair in zip((g.encoded for g in goods), several.values(), strict=True) for data in pair
        ]
        items = (await fleet.post("gateway-1", encode(Batch(tuple(mixed))))).json()["items"]
        assert [item["transaction_id"] for item in items[::2]] == [wish.id.hex() for wish in goods]
        assert [item["code"] for item in items[1::2]] == list(several)
        sent.update(several.keys())
        # What is no transaction at all counts too.
        for rubbish in (b'{"body": {', b'{"body": 1, "body": 2}', json.dumps({"body": {}}).encode()):
            answer = await fleet.post("gateway-1", rubbish, "application/json")
            assert (answer.status_code, answer.json()["code"]) == (400, "malformed")
            sent["malformed"] += 1
        # The same bytes again, while the first are pending or final: no harm, and nothing twice.
        again = good(fleet)
        assert {(await fleet.post("gateway-1", again.encoded)).status_code for _ in range(2)} == {202}
        for wish in [*goods, again]:
            await client.wait(wish.id)
    after = received(await fleet.metrics("gateway-1"), "api")
    assert {code: after[code] - before[code] for code in sent} == sent
    assert after["repeated"] > before["repeated"]
    await see_final(fleet, [*goods, again])


class Enemy:
    """A real libp2p peer whom the gateway lets in, and who gossips whatever bytes it likes."""

    def __init__(self, fleet: Fleet) -> None:
        tag = fleet.genesis.hash.hex()[:16]
        self.host = Host(
            seed=seed_of(ENEMY),
            listen=["/ip4/127.0.0.1/tcp/0"],
            chain_tag=tag,
            handler=Recorder(),
            meter=Counts(),
        )
        self._target = PeerAddress(fleet.gateway.peer, (fleet.nodes["gateway-1"].p2p,))

    @asynccontextmanager
    async def connected(self) -> AsyncIterator["Enemy"]:
        async with trio.open_nursery() as nursery:
            await nursery.start(self.host.run)
            self.host.admit(frozenset({self._target.peer}), {self._target.peer: self._target})

            async def is_meshed() -> bool:
                return self.host.mesh_sizes()[Topic.TRANSACTIONS] == 1

            await until(is_meshed)
            yield self
            self.host.stop()

    async def say(self, data: bytes) -> None:
        await self.host.publish(Topic.TRANSACTIONS, data)


async def test_the_same_bytes_by_gossip_are_dropped_and_their_sender_pays(fleet: Fleet, past: Past) -> None:
    rejected = 'gossip_messages_total{result="reject",topic="transactions"}'
    disliked = 'gossip_peer_score_bucket{le="-20.0"}'
    banned = 'p2p_peers_banned_total{reason="invalid"}'

    async def count(series: str) -> float:
        return (await fleet.metrics("gateway-1"))[series]

    before = received(await fleet.metrics("gateway-1"), "gossip")
    async with good_ones_meanwhile(fleet), Enemy(fleet).connected() as enemy:
        bad = bad_transactions(fleet, past)
        # What hangs on a node's own state or clock is dropped without blame: an honest peer may lag.
        for code in bad.keys() - set(STATELESS):
            await enemy.say(encode(Spread(now_ms(), (bad[code],))))
        wish = good(fleet)
        await enemy.say(encode(Spread(now_ms(), (wish.encoded,))))  # not everything that it says is bad
        await see_final(fleet, [wish])
        assert (await count(rejected), await count(disliked)) == (0, 0)
        # The bytes themselves are bad, of the transaction or of the message around it.
        for code in STATELESS:
            await enemy.say(
                encode(Spread(now_ms(), (bad[code],))) if code != "too_large" else oversized(bad[code])
            )
        for rubbish in (b"", b"rubbish", encode(Spread(now_ms(), (bad["malformed"],)))[:-9], bytes(100_000)):
            await enemy.say(rubbish)
        said = len(STATELESS) + 4

        async def all_were_heard() -> bool:
            return await count(rejected) == said and await count(disliked) > 0

        await until(all_were_heard)
        after = received(await fleet.metrics("gateway-1"), "gossip")
        seen = {code for code in after if after[code] > before[code]}
        assert set(STATELESS) - {"too_large"} <= seen  # the batch around an oversized one is malformed
        assert after["expired"] > before["expired"]
        assert after["expires_too_late"] > before["expires_too_late"]
        # It goes on, and is cut off.
        assert str(enemy.host.local) in (await fleet.status("gateway-1"))["peers"]
        for n in range(30):
            await enemy.say(b"rubbish %d" % n)

        async def is_cut_off() -> bool:
            status = await fleet.status("gateway-1")
            return await count(banned) == 1 and str(enemy.host.local) not in status["peers"]

        await until(is_cut_off)
    # Nobody else had to refuse anything, nothing bad became final, and everybody is well.
    for name in fleet.nodes:
        assert fleet.is_alive(name)
        assert name == "gateway-1" or (await fleet.metrics(name))[rejected] == 0
        places = places_of(blocks_of(fleet, name))
        for code in ("expired", "expires_too_late", "over_quota", "duplicate"):
            assert decode_transaction(bad[code]).id not in places
    await fleet.check_agreement()


def oversized(data: bytes) -> bytes:
    """A batch of one transaction that is longer than any may be: `encode` would not make it."""
    return b"\x82\x00\x81\x59" + len(data).to_bytes(2, "big") + data
