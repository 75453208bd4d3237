"""What the chapters of the day act through: they say, are refused, ask, and expect. Floor 8.

What is said goes in at one node and is waited for until it is final. What is asked is asked of another node,
once that has come as far: so an answer has gone the whole way through the ledger.
"""

import hashlib
import secrets
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import trio

from p2pledger.chain.authority import from_bitmap
from p2pledger.chain.genesis import RESIDENTS
from p2pledger.chain.payloads import Action, RecordAppend
from p2pledger.client import AsyncClient, Fate, Refused, transaction
from p2pledger.client.queries import Value
from p2pledger.codec import encode
from p2pledger.crypto import KeySigner, Signer
from p2pledger.testnet.directory import Directory
from p2pledger.testnet.fleet import Gateway
from p2pledger.testnet.tally import Tally
from p2pledger.types import Hash, Height, Millis

RESIDENT = "a resident"
"""Who stands for all residents in what is seen: no name of one is here."""

SAY_MS = 90_000
ASK_S = 60.0
POLL_S = 0.2
PAGES_MAX = 64


class Payload(Protocol):
    """A payload type of the chain."""

    KIND: str


@dataclass(frozen=True)
class Check:
    """What had to hold at the day's end, and what was found."""

    name: str
    expected: Any
    found: Any

    @property
    def holds(self) -> bool:
        """Whether it does."""
        return bool(self.expected == self.found)


@dataclass
class Findings:
    """What the day came to."""

    checks: list[Check] = field(default_factory=list)
    seen: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What can be seen, by who sees it."""


@dataclass(frozen=True)
class Flood:
    """What came of many transactions: how many are final, and how many were refused with which code."""

    final: int
    refused: Counter[str]


class NotAsWritten(Exception):
    """The day took another course than its script: something was refused (with `code`), or never came."""

    def __init__(self, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.code = code


def new_key() -> KeySigner:
    """A key of a device or of a resident, that nobody else has."""
    return KeySigner(secrets.token_bytes(32))


def hash_of(text: str) -> Hash:
    """Of a document that is published elsewhere."""
    return Hash(hashlib.sha256(text.encode()).digest())


def commitment() -> Hash:
    """To what stays elsewhere with its salt: here nothing is behind it."""
    return Hash(secrets.token_bytes(32))


class Stage:
    """The running city. `offset_ms`: how far its clocks are from this machine's, and so how far ours is."""

    def __init__(self, directory: Directory, offset_ms: int = 0) -> None:
        self.directory = directory
        self.genesis = directory.genesis
        self.findings = Findings()
        self.tally = Tally()
        self.offset_ms = offset_ms
        self._said: dict[str, AsyncClient] = {}
        self._height = Height(0)
        transport, utility = directory.gateways()
        self.gateways: dict[str, Gateway] = {transport.organisation: transport, utility.organisation: utility}
        self._mouth, self._ear = (
            AsyncClient([gateway.http_url], self.genesis) for gateway in (transport, utility)
        )

    async def __aenter__(self) -> "Stage":
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._mouth.aclose()
        await self._ear.aclose()

    def now_ms(self) -> Millis:
        """The time in the city."""
        return Millis(time.time_ns() // 1_000_000 + self.offset_ms)

    def admin(self, organisation: str) -> Signer:
        """The key that speaks for an organisation."""
        return self.directory.admin(organisation)

    def fact(
        self,
        schema: str,
        body: object,
        *,
        action: Action = Action.OBSERVE,
        device: bytes | None = None,
        seq: int | None = None,
        references: Sequence[Hash] = (),
    ) -> RecordAppend:
        """A record of now, with this body in clear."""
        return RecordAppend(
            schema=schema,
            time_ms=self.now_ms(),
            device=device,
            seq=seq,
            action=action,
            what=(),
            where=None,
            business_step=None,
            disposition=None,
            references=tuple(references),
            body=encode(body),
            commitment=None,
        )

    # --- saying ----------------------------------------------------------------------------------------

    async def say(self, payload: Payload, organisation: str, *signers: Signer) -> Fate:
        """Have it become final; signed by the organisation's admin unless by others.

        Raises: NotAsWritten.
        """
        began_s = trio.current_time()
        try:
            fate = await self._send(payload, organisation, signers)
        except Refused as refused:
            raise NotAsWritten(f"{payload.KIND} of {organisation}: {refused}", refused.code) from None
        self.tally.final(0, (trio.current_time() - began_s) * 1_000)
        return fate

    async def is_refused(self, payload: Payload, organisation: str, *signers: Signer) -> str:
        """The code that it is refused with. Raises: NotAsWritten when it becomes final."""
        try:
            fate = await self._send(payload, organisation, signers)
        except Refused as refused:
            self.tally.refused[refused.code] += 1
            return refused.code
        raise NotAsWritten(f"{payload.KIND} of {organisation} became final in block {fate.height}")

    async def _send(self, payload: Payload, organisation: str, signers: Sequence[Signer]) -> Fate:
        signed = transaction(
            self.genesis,
            payload.KIND,
            payload,
            organisation,
            signers or [self.admin(organisation)],
            self.now_ms() + self.genesis.parameters.expiry_window_ms // 2,
        )
        fate = await self._mouth.send(signed, SAY_MS)
        assert fate.height is not None, "it is final"
        self._height = max(self._height, fate.height)
        return fate

    async def flood(self, payloads: Sequence[Payload], organisation: str, signer: Signer) -> Flood:
        """Hand all in at once, as somebody does who does not care what is taken; what came of them."""
        expires_ms = self.now_ms() + self.genesis.parameters.expiry_window_ms // 2
        signed = [
            transaction(self.genesis, payload.KIND, payload, organisation, [signer], expires_ms)
            for payload in payloads
        ]
        final, refused = 0, Counter[str]()
        answers = await self._mouth.submit_many(signed)
        for one, answer in zip(signed, answers, strict=True):
            if isinstance(answer, Refused):
                refused[answer.code] += 1
                continue
            fate = await self._mouth.wait(one.id, SAY_MS)
            if fate.height is None:  # accepted for itself, and too late for what became final before
                refused[fate.code or fate.outcome.value] += 1
                continue
            final += 1
            self._height = max(self._height, fate.height)
        self.tally.transactions_final += final
        self.tally.refused.update(refused)
        return Flood(final, refused)

    async def say_for_resident(self, payload: Payload, gateway: str, *signers: Signer) -> Fate:
        """As `say`, of a resident, whose pseudonym signs with a gateway; the residents' quota pays."""
        return await self.say(payload, RESIDENTS, *signers, self.gateways[gateway].signer)

    async def is_refused_to_resident(self, payload: Payload, gateway: str, *signers: Signer) -> str:
        """As `is_refused`, of a resident."""
        return await self.is_refused(payload, RESIDENTS, *signers, self.gateways[gateway].signer)

    # --- asking ----------------------------------------------------------------------------------------

    async def height(self) -> Height:
        """How high the chain is, at the node that is asked."""
        return (await self._ear.status()).height

    async def ask(self, query: str, /, **parameters: Value) -> list[dict[str, Any]]:
        """All that a query finds, no older than what was said last. Raises: NotAsWritten."""
        with trio.move_on_after(ASK_S):
            while await self.height() < self._height:  # noqa: ASYNC110 - another process's height
                await trio.sleep(POLL_S)
            items: list[dict[str, Any]] = []
            pages = 0
            async for page in self._ear.query(query, **parameters):
                items += page.items
                pages += 1
                if page.next is None or pages == PAGES_MAX:
                    break
            return items
        raise NotAsWritten(f"{query} has no answer after {ASK_S:.0f} s")

    async def block_signers(self, height: Height) -> tuple[int, ...]:
        """Who signed for a final block, by places in the list; nobody where a later block says it."""
        certificate = (await self._ear.block(height)).certificate
        return () if certificate is None else from_bitmap(certificate.bitmap)

    # --- judging ---------------------------------------------------------------------------------------

    def expect(self, name: str, found: Any, expected: Any) -> None:
        """Note what was found beside what the script says; both are printed."""
        self.findings.checks.append(Check(name, expected, found))

    def sees(self, who: str, what: str, figure: Any) -> None:
        """Note what somebody can see now."""
        self.findings.seen.setdefault(who, {})[what] = figure
