"""What a simulated client does with what it wants final, or knows to be refused. Floor 8.

It hands in, waits for what is final, and hands in again, as clients do that wait for receipts.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import replace
from hashlib import sha256
from itertools import product
from typing import Any, Protocol

from p2pledger.chain.genesis import RESIDENTS
from p2pledger.chain.payloads import Action, GovPropose, GovVote, RecordAppend
from p2pledger.chain.payloads.bodies import Field, FieldList, Number, SensorReading
from p2pledger.chain.transaction import Transaction
from p2pledger.codec import encode
from p2pledger.crypto import Signer
from p2pledger.simulator.city import START_MS, City
from p2pledger.types import ZERO_HASH, Hash, Height, Millis

AHEAD = 6
"""How many blocks after its proposal a measure is to work."""
LASTING_MS = 100_000
AGAIN_MS = 1_000
"""What is not final by then is handed in again."""

Errand = Iterator[Sequence[Transaction]]
"""Yields what is wanted and not final; is asked again when time has passed."""


class Chain(Protocol):
    """What clients see of the ledger."""

    @property
    def height(self) -> int: ...
    def is_final(self, transaction_id: bytes) -> bool: ...
    def is_adopted(self, proposal: bytes) -> bool: ...
    def has_failed(self, proposal: bytes) -> bool: ...
    def is_suspended(self, organisation: str, time_ms: int) -> bool: ...
    def sitting(self) -> list[str]: ...


class Client:
    """Some errands, each beside the others. `before` a leap of time, and `after` it.

    `chain`: what is final now. `clock`: the time now, as everybody sees it. `salt`: no two clients of a run
    have the same; the numbers of a client's keys and transactions begin there.
    """

    def __init__(self, city: City, chain: Callable[[], Chain], clock: Callable[[], int], salt: int) -> None:
        self.city, self.chain, self.clock = city, chain, clock
        self.wrong: list[Transaction] = []
        """What was handed in and must never be final."""
        self.before: list[Errand] = []
        self.after: list[Errand] = []
        self._fresh: list[Transaction] = []
        self._handed: dict[bytes, int] = {}
        self._wanted: list[Transaction] = []
        self._salt = self._number = salt
        self._filling = -1, self.by("city", note())

    @property
    def is_settled(self) -> bool:
        """Whether all that can be had before the leap, or after it, is final."""
        self._advance()
        return not self.before

    @property
    def waits_for(self) -> set[str]:
        """The kinds of what is not final."""
        return {one.body.kind for one in self._wanted}

    def leap(self) -> None:
        """The time has come that the errands of `after` waited for."""
        self.before, self.after = self.after, []

    def wishes(self) -> list[Transaction]:
        """What to hand in now."""
        self._advance()
        now = self.clock()
        due = [one for one in self._wanted if now >= self._handed.get(one.id, 0) + AGAIN_MS]
        self._handed.update((one.id, now) for one in due)
        fresh, self._fresh = self._fresh, []
        return due + fresh

    def _advance(self) -> None:
        self._wanted = []
        for errand in list(self.before):
            wanted = next(errand, None)
            if wanted is None:
                self.before.remove(errand)
            else:
                self._wanted += wanted

    # --- what errands are made of ------------------------------------------------------------------------

    def key(self, number: int) -> Signer:
        """The holder of one of the client's own keys."""
        return self.city.signer(self._salt + number)

    def made(self, payload: Any, sponsor: str, *signers: Signer) -> Transaction:
        """A transaction that these sign."""
        self._number += 1
        expires_ms = Millis(self.clock() + LASTING_MS)
        return self.city.signed(payload, sponsor, signers, self._number, expires_ms)

    def by(self, organisation: str, payload: Any, *others: Signer) -> Transaction:
        """A transaction of an organisation, which its admin signs."""
        return self.made(payload, organisation, self.city.admin(organisation), *others)

    def resident(self, number: int, payload: Any) -> Transaction:
        """A transaction of a resident, by the number of the key, which a gateway hands in."""
        return self.made(payload, RESIDENTS, self.key(number), self.city.signer(300))

    def final(self, *wanted: Transaction) -> Errand:
        """Until all of these are final."""
        while left := self._open(wanted):
            yield left

    def attempt(self, *wrong: Transaction) -> None:
        """Hand in what has to be refused, whenever it comes to a block."""
        self.wrong += wrong
        self._fresh += wrong

    def flood(self, some: Iterable[Transaction]) -> None:
        """Hand in what may become final and need not."""
        self._fresh += some

    def decide(self, *measures: Any, ahead: int = AHEAD) -> Generator[Sequence[Transaction], None, Any]:
        """Measures are proposed together until one is carried out, and waited for until it works.

        Returns that one: of several that conflict all are adopted, and the others fail. What is to work
        further `ahead` than usual is waited for until all are adopted.
        """
        done = None
        while done is None:
            start, proposer = self.chain().height, self.chain().sitting()[0]
            proposals = [self._proposal(one, proposer, start + ahead) for one in measures]
            until = start + AHEAD
            while self._open(proposals) and self.chain().height < until:
                yield self._open(proposals)
            votes: dict[tuple[bytes, str], Transaction] = {}
            while not self._open(proposals):
                left = [one.id for one in proposals if not self.chain().is_adopted(one.id)]
                if (self.chain().height >= until) if ahead == AHEAD else not left:
                    break
                for pair in product(left, self.chain().sitting()):
                    if pair not in votes:
                        votes[pair] = self.by(pair[1], GovVote(Hash(pair[0]), approves=True))
                yield self._open([vote for (proposal, _), vote in votes.items() if proposal in left]) or [
                    self._filler()
                ]
            done = self._carried_out(measures, proposals)
        return done

    def _filler(self) -> Transaction:
        """What is handed in so that there is another block, when nothing else is wanted."""
        if self._filling[0] != self.chain().height:
            self._filling = self.chain().height, self.by("city", note())
        return self._filling[1]

    def _proposal(self, measure: Any, proposer: str, height: int) -> Transaction:
        basis = "council:simulated"
        return self.by(proposer, GovPropose(measure.KIND, encode(measure), Height(height), basis, ZERO_HASH))

    def _open(self, wanted: Iterable[Transaction]) -> list[Transaction]:
        return [one for one in wanted if not self.chain().is_final(one.id)]

    def _carried_out(self, measures: Iterable[Any], proposals: Iterable[Transaction]) -> Any:
        for measure, proposal in zip(measures, proposals, strict=True):
            if self.chain().is_adopted(proposal.id) and not self.chain().has_failed(proposal.id):
                return measure
        return None


def digest(name: str) -> Hash:
    """32 bytes that stand for something of this name."""
    return Hash(sha256(name.encode()).digest())


def weighing(device: bytes, seq: int) -> RecordAppend:
    """What a scale shows."""
    return replace(note(), device=device, seq=seq)


def note(schema: str = "sensor.reading/1") -> RecordAppend:
    """A fact without a device's number."""
    is_shipped = schema == "sensor.reading/1"
    parts = FieldList((Field("parts", Number(3)),))
    return RecordAppend(
        schema=schema,
        time_ms=START_MS,
        device=None,
        seq=None,
        action=Action.OBSERVE,
        what=(),
        where=None,
        business_step=None,
        disposition=None,
        references=(),
        body=encode(SensorReading("mass", "KGM", 1_000, (1,)) if is_shipped else parts),
        commitment=None,
    )
