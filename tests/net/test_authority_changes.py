"""Authorities come and go in a running ledger of processes: one joins by vote, one leaves by vote."""

import json
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
import trio
from p2pledger.bench.fleet import Fleet, Shape, prepared
from p2pledger.chain.authority import from_bitmap
from p2pledger.chain.block import FinalBlock
from p2pledger.chain.genesis import LAN
from p2pledger.chain.payloads import (
    Action,
    AuthorityAdd,
    AuthorityRemove,
    GovPropose,
    GovVote,
    Item,
    RecordAppend,
)
from p2pledger.chain.receipt import Receipt, check_receipt
from p2pledger.chain.transaction import Outcome
from p2pledger.client import AsyncClient, transaction
from p2pledger.codec import decode, encode, to_json
from p2pledger.crypto import KeySigner, is_signed
from p2pledger.node.genesis_file import load_genesis
from p2pledger.signer.keyfile import SecretRole, load_key_file
from p2pledger.testnet.directory import GENESIS, PASSPHRASE
from p2pledger.types import Hash, Height, Millis, PeerId, PublicKey
from tests.net.test_join import Newcomer, p2pledger, started, until_ready

EPOCH_BLOCKS = 12
PATIENCE_S = 120
SLOWLY_S, QUICKLY_S = 2.0, 0.1
"""Between records: while organisations vote, which has to be done by some height, and while epochs pass."""
COMING, LEAVING, STAYING = "gateway-1", "authority-2", "authority-3"
"""Who joins is an organisation of the genesis file whose own gateway does not run."""


class Council:
    """The organisations of a running ledger, which propose, vote and write records."""

    def __init__(self, fleet: Fleet, urls: list[str]) -> None:
        self.fleet, self.urls = fleet, urls
        self.pause_s = SLOWLY_S
        self.written: list[Hash] = []
        self.client = AsyncClient(urls[:1], fleet.genesis)

    def key_file(self, organisation: str) -> Path:
        return self.fleet.directory.path / "organisations" / f"{organisation}.key"

    @property
    def passphrase_file(self) -> Path:
        return self.fleet.directory.path / PASSPHRASE

    @property
    def genesis_file(self) -> Path:
        return self.fleet.directory.path / GENESIS

    async def say(self, organisation: str, payload: GovPropose | GovVote) -> Hash:
        passphrase = self.passphrase_file.read_bytes()
        admin = load_key_file(self.key_file(organisation), SecretRole.TRANSACTION, passphrase).secret
        said = transaction(self.fleet.genesis, payload.KIND, payload, organisation, [KeySigner(admin)])
        await self.client.send(said)
        return said.id

    async def write(self) -> Hash:
        """A record of the gateway's organisation, handed in."""
        (gateway,) = self.fleet.directory.gateways()
        now = Millis(time.time_ns() // 1_000_000)
        fact = RecordAppend(
            "sensor.reading/1", now, None, None, Action.OBSERVE, (Item("flow", 1, "MTQ"),),
            None, None, None, (), None, None,
        )  # fmt: skip
        made = transaction(self.fleet.genesis, fact.KIND, fact, gateway.organisation, [gateway.signer])
        await self.client.submit(made)
        self.written.append(made.id)
        return made.id

    async def feed(self) -> None:
        """Write for ever, so that blocks and epochs pass."""
        while True:
            await self.write()
            await trio.sleep(self.pause_s)

    async def height(self) -> Height:
        return (await self.client.status()).height

    async def until_height(self, height: int) -> None:
        with trio.fail_after(PATIENCE_S):
            while await self.height() < height:
                await trio.sleep(0.1)

    async def until(self, url: str, **wanted: object) -> None:
        """Return once the node's status says all of this."""
        status: dict[str, object] = {}
        with trio.move_on_after(PATIENCE_S):
            while True:
                with suppress(httpx.TransportError):  # it starts
                    status = (await self.fleet.http.get(f"{url}/v1/status")).json()
                if wanted.items() <= status.items():
                    return
                await trio.sleep(0.1)
        raise AssertionError(f"{url} has {status} and not {wanted}")

    async def block(self, url: str, height: int) -> FinalBlock | None:
        reply = await self.fleet.http.get(f"{url}/v1/blocks/{height}", headers={"Accept": "application/cbor"})
        if reply.status_code == 404:
            return None
        block: FinalBlock = decode(FinalBlock, reply.raise_for_status().content)
        return block

    async def until_votes(self, peer_index: int, after: int) -> None:
        """Return once a final block above a height has this authority among those who signed for it."""
        height = after
        with trio.fail_after(PATIENCE_S):
            while True:
                block = await self.block(self.urls[0], height + 1)
                if block is None:
                    await trio.sleep(0.1)
                    continue
                height += 1
                if block.certificate is not None and peer_index in from_bitmap(block.certificate.bitmap):
                    return


@asynccontextmanager
async def at_work(fleet: Fleet, newcomer: Newcomer) -> AsyncIterator[Council]:
    council = Council(fleet, [*map(fleet.url, fleet.authorities), newcomer.url])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(council.feed)
        yield council
        nursery.cancel_scope.cancel()
    await council.client.aclose()


async def prepare_node(fleet: Fleet, newcomer: Newcomer) -> AuthorityAdd:
    """A home with keys, guard and configuration, and what the others have to know of it."""
    path = fleet.directory.path
    members = fleet.genesis.authorities.members
    listening = [node.p2p for node in fleet.directory.nodes]
    peers = [f"{at}/p2p/{member.peer}" for at, member in zip(listening, members, strict=False)]
    printed, _ = await p2pledger(
        *("init", "--dir", newcomer.home, "--role", "authority", "--genesis", path / GENESIS),
        *("--passphrase-file", path / PASSPHRASE),
        *("--listen", f"/ip4/127.0.0.1/tcp/{newcomer.base_port + 80}"),
        *(word for peer in peers for word in ("--peer", peer)),
    )
    peer, key = re.search(r"peer id +(\S+)", printed), re.search(r"consensus key +(\S+)", printed)
    assert peer is not None and key is not None, printed
    return AuthorityAdd(COMING, PublicKey(bytes.fromhex(key[1])), PeerId(peer[1]))


async def decide_to_add(council: Council, measure: AuthorityAdd, scratch: Path) -> None:
    """Proposed and voted on by command and by client, to work from the next block or so on."""
    file, reasons = scratch / "measure.json", scratch / "reasons.txt"
    file.write_text(json.dumps(to_json(measure)))
    reasons.write_text("The council's decision.")
    signed_by = ("--passphrase-file", council.passphrase_file, "--genesis", council.genesis_file)
    api = ("--api", council.urls[1])
    begins = await council.height() + 3 * EPOCH_BLOCKS
    said, told = await p2pledger(
        *("propose", "authority.add", "--file", file, "--from-height", str(begins), "--basis", "decision-7"),
        *("--document", reasons, "--key", council.key_file("authority-1"), *signed_by, *api),
    )
    assert f"to work from block {begins} on" in told
    proposal = Hash(bytes.fromhex(said.strip()))
    answered, _ = await p2pledger(
        *("vote", said.strip(), "yes", "--key", council.key_file("authority-1"), *signed_by, *api)
    )
    assert answered.startswith("voted yes in block")
    await council.say("authority-2", GovVote(proposal, True))
    await council.say("authority-3", GovVote(proposal, True))
    council.pause_s = QUICKLY_S
    await council.until_height(begins)


async def decide_to_remove(council: Council, voters: tuple[str, ...]) -> None:
    council.pause_s = SLOWLY_S
    begins = Height(await council.height() + 2 * EPOCH_BLOCKS)
    measure = encode(AuthorityRemove(LEAVING))
    payload = GovPropose(AuthorityRemove.KIND, measure, begins, "decision-8", Hash(bytes(32)))
    proposal = await council.say(voters[0], payload)
    for voter in voters:
        await council.say(voter, GovVote(proposal, True))
    council.pause_s = QUICKLY_S


async def final_everywhere(council: Council, transaction_id: Hash) -> None:
    for url in council.urls:
        async with AsyncClient([url], council.fleet.genesis) as client:
            fate = await client.wait(transaction_id, PATIENCE_S * 1_000)
            assert fate.outcome is Outcome.FINAL, url


async def check_proof(council: Council, transaction_id: Hash, lists: list[list[str]]) -> None:
    """The receipt of the newcomer's own node holds by the genesis file, and shows these lists in turn."""
    reply = await council.fleet.http.get(
        f"{council.urls[-1]}/v1/transactions/{transaction_id.hex()}/receipt",
        headers={"Accept": "application/cbor"},
    )
    receipt: Receipt = decode(Receipt, reply.raise_for_status().content)
    genesis = load_genesis(council.genesis_file)
    assert check_receipt(receipt, genesis, is_signed).id == transaction_id
    seen: list[list[str]] = []
    for boundary in receipt.boundaries:
        names = [member.organisation for member in boundary.next_set.members]
        if names != (seen or [None])[-1]:
            seen.append(names)
    assert seen == lists


async def test_an_authority_joins_by_vote_and_another_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with prepared(Shape(authorities=4, parameters=replace(LAN, epoch_blocks=EPOCH_BLOCKS))) as fleet:
        first = fleet.genesis.authorities
        leaver = next(member for member in first.members if member.organisation == LEAVING)
        # Who leaves goes on following where the others let it, as they let any observer.
        monkeypatch.setenv("P2PLEDGER_NETWORK_ALLOW_PEERS", leaver.peer)
        await fleet.start()
        newcomer = Newcomer(tmp_path / "new", int(fleet.url("authority-1").rsplit(":", 1)[1]))
        measure = await prepare_node(fleet, newcomer)
        async with at_work(fleet, newcomer) as council:
            with started(newcomer):
                # It dials from the start, and is let in once it is decided that it comes.
                await decide_to_add(council, measure, tmp_path)
                await until_ready(fleet, newcomer.url)
                await council.until(newcomer.url, authorities=4, is_authority=False, is_voting=False)
                council.pause_s = 0.3
                told, _ = await p2pledger(
                    *("authority", "ready", "--home", newcomer.home, "--key", council.key_file(COMING)),
                    *("--passphrase-file", council.passphrase_file, "--api", newcomer.url),
                )
                assert told.startswith("ready in block")
                council.pause_s = QUICKLY_S
                for url in council.urls:
                    await council.until(url, authorities=5, is_authority=True, is_voting=True)
                await council.until_votes(4, await council.height())

                await decide_to_remove(council, ("authority-1", STAYING, "authority-4", COMING))
                for name in (*(n for n in fleet.authorities if n != LEAVING), COMING):
                    url = newcomer.url if name == COMING else fleet.url(name)
                    await council.until(url, authorities=4, is_authority=True, is_voting=True)
                await council.until(fleet.url(LEAVING), authorities=4, is_authority=False, is_voting=False)
                await council.until_votes(3, await council.height())

                # A start finds the lists that were decided on the ledger, not those of the genesis file.
                await fleet.stop(STAYING)
                await fleet.start(STAYING)
                await council.until(fleet.url(STAYING), authorities=4, is_authority=True, is_voting=True)
                await council.until_votes(1, await council.height())

                # Long after its last epoch the one that left follows still.
                await council.until_height(await council.height() + 2 * EPOCH_BLOCKS)
                last = await council.write()
                await final_everywhere(council, last)
                for written in council.written[::8]:
                    assert (await council.client.wait(written)).outcome is Outcome.FINAL
                names = [member.organisation for member in first.members]
                without = [name for name in (*names, COMING) if name != LEAVING]
                await check_proof(council, last, [names, [*names, COMING], without])
                fleet.check_alive()
