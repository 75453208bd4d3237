"""Verifying the signatures of transactions, each once: on the event loop, or on threads beside it. Floor 6.

A thread verifies on a core of its own while the loop does something else, if there is such a core. Where all
are taken it only costs: the loop and the thread wait for one core, and for each other's lock.
"""

import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import compress, islice

import trio

from p2pledger.chain.transaction import Transaction, are_authentic
from p2pledger.crypto import Signed, is_signed
from p2pledger.ledger.machine import Machine
from p2pledger.metrics import Metrics
from p2pledger.node.cores import Cores
from p2pledger.types import Hash

INLINE_MAX = 16
"""So few signatures are verified where they stand: handing them to a thread costs more."""
CHUNK_S = 0.006
"""The loop verifies for so long before others, votes above all, have their turn. Only a node under load has
so much to verify at a time.

A third of it costs a node under load 2 us more for each transaction, since whoever comes between finds the
caches emptied and empties them in turn; three times as much saves nothing more.
"""
SWITCH_S = 0.0005
"""While threads verify, each lets go of the interpreter's lock for every signature, and gets it back so soon
where the loop is busy. By Python's own 5 ms one signature would take as long. At other times that is better:
where all cores are taken, a tenth of what a node does is switching."""

AT_ONCE = 64
"""So many signatures are verified one right after the other, at most: two milliseconds or three."""

_verifiers = trio.CapacityLimiter(max(1, os.cpu_count() or 1))


class Verifier:
    """Verifies batches of transactions, and tells `machine` what it need not verify again."""

    def __init__(self, machine: Machine, metrics: Metrics, cores: Cores) -> None:
        self._machine, self._metrics, self._cores = machine, metrics, cores
        self._turn = trio.Lock()
        """Held by who verifies on the loop: two would hold others up for twice CHUNK_S."""
        self._in_threads = 0
        self._switch_s = sys.getswitchinterval()

    async def authentic(self, transactions: Sequence[Transaction]) -> list[bool]:
        """Which of these are signed by all their signers.

        What others have signed inside their payloads is verified with it, and `machine` is told what holds.
        What does not hold is for its rule to refuse, with a code of its own.
        """
        if not transactions:
            return []
        started = trio.current_time()
        inside = self._machine.signed_inside(transactions)
        work = _Work(transactions, inside)
        if len(transactions) + len(inside) <= INLINE_MAX:
            with self._observed():
                self._finish(work)
        elif self._cores.is_for_thread():
            with self._switching_soon():
                await trio.to_thread.run_sync(self._finish, work, limiter=_verifiers)
        else:
            async with self._turn:
                await self._finish_here(work)
        self._machine.note_proven(work.proven)
        self._metrics.signature_verify_seconds.observe(trio.current_time() - started)
        return work.verdicts

    @contextmanager
    def _observed(self) -> Iterator[None]:
        """Have `cores` told how much of one the loop gets meanwhile: all that time it has something to do."""
        began_s, spent_s = time.perf_counter(), time.thread_time()
        yield
        self._cores.observe(time.perf_counter() - began_s, time.thread_time() - spent_s)

    @contextmanager
    def _switching_soon(self) -> Iterator[None]:
        """Have the loop let threads go on after SWITCH_S while one of them verifies."""
        self._in_threads += 1
        sys.setswitchinterval(min(SWITCH_S, self._switch_s))
        try:
            yield
        finally:
            self._in_threads -= 1
            if not self._in_threads:
                sys.setswitchinterval(self._switch_s)

    def _finish(self, work: "_Work") -> None:
        with self._metrics.spending("verify"):
            work.go_on()

    async def _finish_here(self, work: "_Work") -> None:
        """In chunks, so that others have their turn."""
        with self._observed():
            while True:
                with self._metrics.spending("verify"):
                    is_done = work.go_on(time.perf_counter() + CHUNK_S)
                if is_done:
                    break
                await trio.lowlevel.checkpoint()


class _Work:
    """A batch that is verified piece after piece; it may be left and gone on with."""

    def __init__(self, transactions: Sequence[Transaction], inside: Mapping[Hash, Signed]) -> None:
        self.verdicts: list[bool] = []
        self.proven: list[Hash] = []
        self._left, self._inside = iter(transactions), inside
        signers_max = max([len(transaction.signatures) for transaction in transactions])
        self._piece = AT_ONCE // signers_max

    def go_on(self, until_s: float = float("inf")) -> bool:
        """Verify until this time of `time.perf_counter`, or all that is left; whether nothing is left."""
        while some := list(islice(self._left, self._piece)):
            verdicts = are_authentic(some)
            self.verdicts += verdicts
            # A forger's work is not done for it: where its own signatures do not hold, no more is looked at.
            for transaction in compress(some, verdicts) if self._inside else ():
                signed = self._inside.get(transaction.id)
                if signed is not None and is_signed(*signed):
                    self.proven.append(transaction.id)
            if time.perf_counter() >= until_s:
                return False
        return True
