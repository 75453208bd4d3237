"""Who sits in which epoch, and what was decided, worked out once more from what was accepted. Floor 8.

In the plainest way, from PROTOCOL.md ("epochs", "evidence") and MODULES.md ("governance"); of the ledger's
own code nothing is used but the types of what is signed.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from p2pledger.chain.authority import Authority, AuthoritySet
from p2pledger.chain.genesis import Genesis
from p2pledger.chain.payloads import MEASURES
from p2pledger.chain.payloads.governance import (
    AuthorityAdd,
    AuthorityReady,
    AuthorityRemove,
    AuthorityRotate,
    GovPropose,
    GovSuspend,
    GovVote,
    Parameter,
    ParameterSet,
    UpgradePlan,
)
from p2pledger.chain.transaction import Transaction
from p2pledger.chain.vote import Offence
from p2pledger.codec import decode

ALLOWED = {
    Parameter.BLOCK_TRANSACTIONS_MAX: range(1, 15_001),
    Parameter.BLOCK_BYTES_MAX: range(1_024, 64 * 1024 * 1024 + 1),
}
UPGRADES_MAX = 64

Own = AuthorityAdd | AuthorityRemove | ParameterSet | UpgradePlan
"""The measures that are governance's own."""


@dataclass
class _Vote:
    """A proposal and the voices on it."""

    proposal: GovPropose
    voices: dict[str, bool] = field(default_factory=dict)
    is_decided: bool = False
    is_adopted: bool = False


@dataclass(frozen=True)
class _Wish:
    """A decided change of the list: `key` and `peer` are None for a removal."""

    organisation: str
    key: bytes | None
    peer: str | None
    is_new: bool
    from_height: int


class GovernanceInvariants:
    """Takes what was accepted, block by block in order; raises ValueError when it should not have been."""

    def __init__(self, genesis: Genesis) -> None:
        self._epoch_blocks = genesis.parameters.epoch_blocks
        self._lists: list[list[Authority]] = [
            list(genesis.authorities.members),
            list(genesis.next_authorities.members),
        ]
        self._sets: dict[int, AuthoritySet] = {}
        self._guilty: list[bytes] = []
        self._convicted: set[bytes] = set()
        self._wishes: list[_Wish] = []
        self._ready: dict[bytes, int] = {}
        self._keys: set[bytes] = set()
        """Every key that was ever to vote."""
        self._peers: dict[str, str] = {}
        """Whose authority each peer is, was, or was to be."""
        for member in (*self._lists[0], *self._lists[1]):
            self._take_office(member.organisation, member.key, member.peer)
        self._height = 0
        self._votes: dict[bytes, _Vote] = {}
        self._adopted: list[tuple[bytes, Any, int]] = []
        self._settings: dict[Parameter, list[tuple[int, int]]] = {
            one: [(0, getattr(genesis.parameters, one.value))] for one in Parameter
        }
        """Of each parameter the values to hold, each with the height that it holds from."""
        self._upgrades = [(0, 1)]
        """From which height on which version of the rules holds."""
        self._calls: dict[tuple[str, int], set[str]] = {}
        self.suspended: dict[str, int] = {}
        """Until when organisations are suspended, by their names."""

    def authorities(self, epoch: int) -> AuthoritySet:
        """The list of an epoch that is decided."""
        if epoch not in self._sets:
            self._sets[epoch] = AuthoritySet(tuple(self._lists[epoch]))
        return self._sets[epoch]

    def _epoch(self, height: int) -> int:
        return (height - 1) // self._epoch_blocks

    def _names(self, epoch: int) -> set[str]:
        return {member.organisation for member in self._lists[epoch]}

    def apply(self, transaction: Transaction, height: int, time_ms: int) -> None:
        """A transaction of the block of this height and time."""
        body, self._height = transaction.body, height
        sitting = self._names(self._epoch(height))
        if self.suspended.get(body.sponsor, 0) > time_ms:
            raise ValueError(f"{body.sponsor} is suspended, and writes in block {height}")
        match body.kind:
            case GovPropose.KIND:
                proposal: GovPropose = decode(GovPropose, body.payload)
                if body.sponsor not in sitting or proposal.activation_height <= height:
                    raise ValueError(f"a proposal in block {height} that nobody may make, or too late")
                self._votes[transaction.id] = _Vote(proposal)
            case GovVote.KIND:
                self._vote(decode(GovVote, body.payload), body.sponsor, height, sitting)
            case GovSuspend.KIND:
                wanted: GovSuspend = decode(GovSuspend, body.payload)
                callers = self._calls.setdefault((wanted.organisation, wanted.until_ms), set())
                if body.sponsor not in sitting or body.sponsor in callers:
                    raise ValueError(f"a call for a suspension in block {height} counts twice, or not")
                callers.add(body.sponsor)
                if len(callers & sitting) > len(sitting) / 2:
                    # In force; the same call may be made again, and counts from nothing.
                    del self._calls[wanted.organisation, wanted.until_ms]
                    until_ms = max(wanted.until_ms, self.suspended.get(wanted.organisation, 0))
                    self.suspended[wanted.organisation] = until_ms
            case AuthorityRotate.KIND:
                rotated: AuthorityRotate = decode(AuthorityRotate, body.payload)
                if body.sponsor not in sitting:
                    raise ValueError(f"{body.sponsor} rotates a key in block {height}, and does not sit")
                self._check_office(body.sponsor, rotated.key, rotated.peer)
                self._take_office(body.sponsor, rotated.key, rotated.peer)
                self._wish(_Wish(body.sponsor, rotated.key, rotated.peer, False, height + 1))
            case AuthorityReady.KIND:
                ready: AuthorityReady = decode(AuthorityReady, body.payload)
                if ready.key not in self._keys or not height - self._epoch_blocks <= ready.height < height:
                    raise ValueError(f"a key is ready in block {height} that nobody knows, or knows nothing")
                self._ready[ready.key] = height

    def _vote(self, vote: GovVote, voter: str, height: int, sitting: set[str]) -> None:
        known = self._votes.get(vote.proposal)
        if known is None or known.is_decided or voter in known.voices or voter not in sitting:
            raise ValueError(f"a vote in block {height} that does not count")
        if height >= known.proposal.activation_height:
            raise ValueError(f"a vote in block {height} on what should have begun")
        known.voices[voter] = vote.approves
        n = len(sitting)
        approving = sum(known.voices.get(name) is True for name in sitting)
        rejecting = sum(known.voices.get(name) is False for name in sitting)
        if approving > n * 2 / 3:
            known.is_decided = known.is_adopted = True
            content = decode(MEASURES[known.proposal.kind], known.proposal.measure)
            self._adopted.append((vote.proposal, content, known.proposal.activation_height))
        elif n - rejecting <= n * 2 / 3:
            known.is_decided = True

    def is_adopted(self, proposal: bytes) -> bool:
        """Whether a proposal, by the id of its transaction, was given the votes that it needs."""
        return proposal in self._votes and self._votes[proposal].is_adopted

    def take_adopted(self) -> list[tuple[bytes, Any, int]]:
        """What was adopted since this was asked last, to be carried out if that is possible by now.

        As (proposal, decoded measure, the height that it works from).
        """
        adopted, self._adopted = self._adopted, []
        return adopted

    def check(self, payload: Own, from_height: int) -> None:
        """Whether a measure can be carried out after what was accepted last. Raises: ValueError."""
        match payload:
            case AuthorityAdd():
                if payload.organisation in self._coming:
                    raise ValueError(f"{payload.organisation} is to sit, and sits already")
                self._check_office(payload.organisation, payload.key, payload.peer)
            case AuthorityRemove():
                waits = any(w.organisation == payload.organisation and w.is_new for w in self._wishes)
                if payload.organisation not in self._coming and not waits:
                    raise ValueError(f"{payload.organisation} is to go, and does not sit")
            case ParameterSet():
                if payload.value not in ALLOWED[payload.parameter]:
                    raise ValueError(f"{payload.parameter.value} cannot be {payload.value}")
            case UpgradePlan():
                last_height, last_version = self._upgrades[-1]
                is_later = payload.version > last_version and from_height > last_height
                if not is_later or len(self._upgrades) > UPGRADES_MAX:
                    raise ValueError(f"version {payload.version} at {from_height} comes after no other")

    def enact(self, payload: Own, from_height: int) -> None:
        """A measure that was adopted. Raises ValueError as `check` does, and then does nothing."""
        self.check(payload, from_height)
        match payload:
            case AuthorityAdd():
                self._take_office(payload.organisation, payload.key, payload.peer)
                self._wish(_Wish(payload.organisation, payload.key, payload.peer, True, from_height))
            case AuthorityRemove() if payload.organisation in self._coming:
                self._wish(_Wish(payload.organisation, None, None, False, from_height))
            case AuthorityRemove():
                gone = payload.organisation
                self._wishes = [w for w in self._wishes if w.organisation != gone or not w.is_new]
            case ParameterSet():
                now = self.value_at(payload.parameter, self._height)
                self._settings[payload.parameter] = [(0, now), (from_height, payload.value)]
            case UpgradePlan():
                self._upgrades.append((from_height, payload.version))

    @property
    def _coming(self) -> set[str]:
        return self._names(self._epoch(self._height) + 1)

    def value_at(self, parameter: Parameter, height: int) -> int:
        """The value of a parameter that holds for the block of a height."""
        return [value for begins, value in self._settings[parameter] if begins <= height][-1]

    def version_at(self, height: int) -> int:
        """The version of the rules that the block of a height follows."""
        return max(version for begins, version in self._upgrades if begins <= height)

    def check_block(self, height: int, sizes: Iterable[int]) -> None:
        """Whether a block's transactions, of these sizes in bytes, are within what was set for its height."""
        sizes = list(sizes)
        count_max = self.value_at(Parameter.BLOCK_TRANSACTIONS_MAX, height)
        if len(sizes) > count_max or sum(sizes) > self.value_at(Parameter.BLOCK_BYTES_MAX, height):
            raise ValueError(f"{len(sizes)} transactions of {sum(sizes)} bytes, where {count_max} may stand")

    def _check_office(self, organisation: str, key: bytes, peer: str) -> None:
        if key in self._keys or self._peers.get(peer, organisation) != organisation:
            raise ValueError(f"{organisation} is to vote with a key or from a peer that is known")

    def _take_office(self, organisation: str, key: bytes, peer: str) -> None:
        self._keys.add(key)
        self._peers[peer] = organisation

    def _wish(self, wish: _Wish) -> None:
        def sort(one: _Wish) -> tuple[Any, ...]:
            return one.organisation, one.is_new, one.key is None

        self._wishes = [one for one in self._wishes if sort(one) != sort(wish)] + [wish]

    def convict(self, offences: Iterable[Offence]) -> None:
        """The evidence of a block, after its transactions."""
        for epoch, _, signer in offences:
            key = self._lists[epoch][signer].key
            if key not in self._convicted:
                self._convicted.add(key)
                self._guilty.append(key)

    def close(self, height: int) -> AuthoritySet:
        """The list that the last block of an epoch decides, after all that the block holds."""
        before = self._lists[self._epoch(height) + 1]
        members, allowed = list(before), max(1, (len(before) - 1) // 3)
        changed = 0
        for key in list(self._guilty):
            found = [member for member in members if member.key == key]
            if found and (changed == allowed or len(members) == 4 or len(members) < 4):
                continue
            if found:
                members.remove(found[0])
                changed += 1
            self._guilty.remove(key)
        for wish in list(self._wishes):
            names = [member.organisation for member in members]
            sits = wish.organisation in names
            if sits is wish.is_new:
                self._wishes.remove(wish)
                continue
            if changed == allowed or wish.from_height > height:
                continue
            if wish.key is None:
                if len(members) <= 4:
                    continue
                members.pop(names.index(wish.organisation))
            else:
                said = self._ready.get(wish.key, -1)
                if said <= height - self._epoch_blocks or said < 0 or wish.key in self._convicted:
                    continue
                assert wish.peer is not None
                member = Authority(wish.organisation, wish.key, wish.peer)  # type: ignore[arg-type]
                if sits:
                    members[names.index(wish.organisation)] = member
                else:
                    members.append(member)
            changed += 1
            self._wishes.remove(wish)
        self._check(before, members, allowed)
        self._lists.append(members)
        return AuthoritySet(tuple(members))

    def _check(self, before: list[Authority], after: list[Authority], allowed: int) -> None:
        gone = {m.organisation for m in before} - {m.organisation for m in after}
        come = {m.organisation for m in after} - {m.organisation for m in before}
        keys = {m.key for m in after} - {m.key for m in before}
        if (
            len(gone) + len(keys) > allowed
            or (gone and len(after) < 4)
            or not come <= self._names_of(keys, after)
            or len({m.organisation for m in after}) < len(after)
        ):
            raise ValueError(f"{len(gone)} leave and {len(keys)} keys come, where {allowed} may change")

    @staticmethod
    def _names_of(keys: set[Any], members: list[Authority]) -> set[str]:
        return {member.organisation for member in members if member.key in keys}
