"""Transactions to hand in while things break."""

import time
from collections.abc import Collection

import trio
from p2pledger.chain.genesis import Genesis
from p2pledger.chain.payloads import Action, RecordAppend
from p2pledger.chain.payloads.bodies import AdminAct
from p2pledger.chain.transaction import Transaction
from p2pledger.client import AsyncClient, transaction
from p2pledger.codec import encode
from p2pledger.crypto import Signer
from p2pledger.types import Millis
from tests.faults import oracle
from tests.faults.fleet import Fleet

PAUSE_S = 0.05


def now_ms() -> Millis:
    return Millis(time.time_ns() // 1_000_000)


def note_payload() -> RecordAppend:
    """A fact that an organisation states, of no device."""
    return RecordAppend(
        schema="admin.act/1",
        time_ms=now_ms(),
        device=None,
        seq=None,
        action=Action.OBSERVE,
        what=(),
        where=None,
        business_step=None,
        disposition=None,
        references=(),
        body=encode(AdminAct("office-7", "note", "act-5-2", bytes(32), "noted", None)),
        commitment=None,
    )


def note(genesis: Genesis, sponsor: str, signer: Signer, expires_in_ms: int | None = None) -> Transaction:
    """A transaction that is as good as any other one."""
    expires_ms = None if expires_in_ms is None else now_ms() + expires_in_ms
    return transaction(genesis, RecordAppend.KIND, note_payload(), sponsor, [signer], expires_ms)


def good(fleet: Fleet, expires_in_ms: int | None = None) -> Transaction:
    """A note of the fleet's first gateway."""
    gateway = fleet.gateway
    return note(fleet.genesis, gateway.organisation, gateway.signer, expires_in_ms)


async def keep_writing(fleet: Fleet, client: AsyncClient, taken: list[Transaction]) -> None:
    """Hand in one note after the other, for ever; what was accepted is appended to `taken`."""
    gateway = fleet.gateway
    while True:
        wish = note(fleet.genesis, gateway.organisation, gateway.signer)
        # A cancellation waits for the pause: what was accepted is on the list, and no request is cut off.
        with trio.CancelScope(shield=True):
            await client.submit(wish)
            taken.append(wish)
        await trio.sleep(PAUSE_S)


def check_final_once(fleet: Fleet, transactions: Collection[Transaction]) -> None:
    """Fail unless each transaction stands once, and at the same height, in every node's files."""
    assert transactions
    places = {name: oracle.places_of(oracle.blocks_of(fleet, name)) for name in fleet.nodes}
    heights = {name: [found.get(wish.id) for wish in transactions] for name, found in places.items()}
    for name, found in heights.items():
        assert all(places is not None and len(places) == 1 for places in found), name
    assert len({str(found) for found in heights.values()}) == 1


async def see_final(fleet: Fleet, transactions: Collection[Transaction]) -> None:
    """Wait until every node has all of them, then check that each has each once."""
    wanted = {wish.id for wish in transactions}
    for name in fleet.nodes:
        async with fleet.client(name) as client:
            for wish in wanted - oracle.places_of(oracle.blocks_of(fleet, name)).keys():
                await client.wait(wish)
    check_final_once(fleet, transactions)
