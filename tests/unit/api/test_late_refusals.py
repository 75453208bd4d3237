"""What the API of a node that decides tells of transactions that are found wanting only beside others."""

from typing import Any

import pytest
from p2pledger.chain.genesis import RESIDENTS
from p2pledger.chain.payloads import AccessServed
from p2pledger.chain.transaction import Batch, Transaction
from p2pledger.codec import encode
from p2pledger.types import Millis
from tests import consents, ledgers
from tests.consents import DAY_MS
from tests.unit.api.codes.node_alone import deciding
from tests.unit.api.test_cures import table
from tests.unit.ledger.modules.test_registry import add

CBOR, SUBMIT = {"Content-Type": "application/cbor"}, "/v1/transactions"
CURES = dict(table("Codes of the ledger"))


@pytest.fixture
async def alone(tmp_path):
    async with deciding(tmp_path) as (node, http):
        yield Alone(node, http)


class Alone:
    """Hands transactions in at a node and waits for what becomes of them."""

    def __init__(self, node, http) -> None:
        self.node, self.http = node, http
        self.time_ms = node._clock.now()

    def one(self, payload: object, sponsor: str, *names: str) -> Transaction:
        expires_ms = self.node._clock.now() + 60_000
        return ledgers.transaction(self.node.genesis, payload, sponsor, *names, expires_ms=expires_ms)

    async def submit(self, *transactions: Transaction) -> list[dict[str, Any]]:
        body = encode(Batch(tuple(one.encoded for one in transactions)))
        return (await self.http.post(SUBMIT, content=body, headers=CBOR)).json()["items"]

    async def end(self, transaction: Transaction) -> dict[str, Any]:
        path = f"{SUBMIT}/{transaction.id.hex()}?wait_ms=30000"
        return (await self.http.get(path)).json()

    async def final(self, payload: object, sponsor: str, *names: str) -> Transaction:
        made = self.one(payload, sponsor, *names)
        assert "code" not in (await self.submit(made))[0]
        assert (await self.end(made))["outcome"] == "final"
        return made


async def test_what_another_forestalls_is_refused_with_code_message_and_cure(alone):
    rivals = [alone.one(add("service"), "city", f"city {i}", "service") for i in (1, 2)]
    assert [item["transaction_id"] for item in await alone.submit(*rivals)] == [r.id.hex() for r in rivals]
    ends = {end["outcome"]: end for end in [await alone.end(one) for one in rivals]}
    assert ends.keys() == {"final", "refused"}
    refused = ends["refused"]
    assert (refused["code"], refused["cure"]) == ("key_taken", CURES["key_taken"])
    assert refused["message"]


async def test_a_report_on_an_intent_that_is_not_final(alone):
    """Handed in, it names an unknown intent. From a peer, it waits for one block, and nobody is told."""
    today = alone.time_ms // DAY_MS * DAY_MS
    register = consents.register(retain_until_ms=Millis(today + 9 * DAY_MS))
    data = await alone.final(register, "city", "city 1")
    grant = await alone.final(consents.give(alone), RESIDENTS, "handle", consents.GATEWAY)

    def pair(one_time: str) -> tuple[Transaction, Transaction]:
        asked = alone.one(consents.ask(data.id, grant.id, one_time), "utility", "utility 1")
        return asked, alone.one(AccessServed(asked.id), "authority-0", "admin 0")

    asked, early = pair("k")
    taken, refused = await alone.submit(asked, early)
    assert (taken["transaction_id"], refused["code"]) == (asked.id.hex(), "unknown_intent")
    asked, early = pair("k2")
    assert await alone.node._pool.take([asked, early], verified=True)
    first, second = await alone.end(asked), await alone.end(early)
    assert (first["outcome"], second["outcome"]) == ("final", "final")
    assert second["height"] > first["height"]
