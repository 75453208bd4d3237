"""A gateway that keeps the bodies of some blocks only, beside an authority that keeps all."""

import time

import trio
from p2pledger.bench.fleet import Fleet, Shape, prepared
from p2pledger.chain.payloads import Action, RecordAppend
from p2pledger.client import AsyncClient, transaction
from p2pledger.client.outcomes import Refused
from p2pledger.node.pruning import AT_ONCE_BLOCKS
from p2pledger.testnet.directory import Node
from p2pledger.types import Hash, Millis

KEPT_BLOCKS = 8
PATIENCE_S = 60


async def test_a_gateway_drops_old_bodies_of_others_and_says_so() -> None:
    async with prepared(Shape(authorities=1, gateways=2)) as fleet:
        authority, _, gateway = fleet.directory.nodes
        with gateway.configuration.open("a") as file:
            file.write(f"\n[storage]\nbodies_kept_blocks = {KEPT_BLOCKS}\n")
        await fleet.start(authority.name, gateway.name)
        with trio.fail_after(PATIENCE_S):
            first = await write_blocks(fleet, AT_ONCE_BLOCKS + KEPT_BLOCKS + 1)
            while not await pruned_height(fleet, gateway):
                await trio.sleep(0.2)
        assert await code_of_receipt(fleet, gateway, first) == "pruned"
        assert await code_of_receipt(fleet, authority, first) is None
        assert (await fleet.http.get(f"{gateway.http_url}/healthz/ready")).status_code == 200


async def write_blocks(fleet: Fleet, height: int) -> Hash:
    """Facts of the first gateway's organisation up to a height, one after the other; the first one's id."""
    (owner, _) = fleet.directory.gateways()
    now = Millis(time.time_ns() // 1_000_000)
    fact = RecordAppend(
        "sensor.reading/1", now, None, None, Action.OBSERVE, (), None, None, None, (), None, None
    )
    made = []
    async with AsyncClient([fleet.url("authority-1")], fleet.genesis) as client:
        while (await client.status()).height < height:
            made.append(transaction(fleet.genesis, fact.KIND, fact, owner.organisation, [owner.signer]))
            await client.send(made[-1])
    return made[0].id


async def pruned_height(fleet: Fleet, node: Node) -> float:
    lines = (await fleet.http.get(node.metrics_url)).text.splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("p2pledger_store_pruned_height"))


async def code_of_receipt(fleet: Fleet, node: Node, transaction_id: Hash) -> str | None:
    """None for a receipt that proves what it should, else why there is none."""
    async with AsyncClient([node.http_url], fleet.genesis) as client:
        try:
            await client.receipt(transaction_id)
        except Refused as refused:
            return refused.code
    return None
