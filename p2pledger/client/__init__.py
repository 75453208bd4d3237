"""The Python client: sign, submit, follow, verify. Floor 7.

    with Client(["http://127.0.0.1:8080"], genesis) as client:
        wish = transaction(genesis, "record.append", payload, "water-works", [key])
        fate = client.send(wish)
        client.receipt(wish.id)

`AsyncClient` is the same with `await`, under trio and under asyncio alike. Nothing is ever doubled: a
retry is the same bytes under the same id, and nothing is signed anew but by `renew`.
"""

from p2pledger.client.asynchronous import AsyncClient
from p2pledger.client.exchange import Limits
from p2pledger.client.outcomes import (
    Accepted,
    Expired,
    Fate,
    FinalEvent,
    InvalidAnswer,
    LedgerError,
    QueryPage,
    Refused,
    Status,
    Unavailable,
    Undecided,
    VerifiedReceipt,
)
from p2pledger.client.signing import transaction
from p2pledger.client.sync import Client

__all__ = [
    "Accepted",
    "AsyncClient",
    "Client",
    "Expired",
    "Fate",
    "FinalEvent",
    "InvalidAnswer",
    "LedgerError",
    "Limits",
    "QueryPage",
    "Refused",
    "Status",
    "Unavailable",
    "Undecided",
    "VerifiedReceipt",
    "transaction",
]
