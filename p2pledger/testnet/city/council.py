"""What the authorities propose and vote on, and the lists that follow from it. Floor 8."""

from collections.abc import Sequence

import trio

from p2pledger.chain.epoch import boundary_height, epoch_of
from p2pledger.chain.payloads import (
    AuthorityAdd,
    AuthorityRemove,
    GovPropose,
    GovVote,
    sign_ready,
)
from p2pledger.client import AsyncClient
from p2pledger.codec import encode
from p2pledger.crypto import KeySigner
from p2pledger.errors import Code
from p2pledger.testnet.city.cast import EPOCH_BLOCKS
from p2pledger.testnet.city.stage import NotAsWritten, Payload, Stage, hash_of
from p2pledger.testnet.directory import Node
from p2pledger.types import Hash, Height

ATTEMPTS_MAX = 4
POLL_S = 0.5
CHANGE_S = 300.0
SIGNED_BLOCKS = 20


async def decide(stage: Stage, measure: Payload, voters: Sequence[str], basis: str) -> Height:
    """Propose a measure and vote for it; the height that it works from.

    A proposal that ran out before all had voted is made again, with twice the time. Raises: NotAsWritten.
    """
    for attempt in range(ATTEMPTS_MAX):
        begins = Height(await stage.height() + (EPOCH_BLOCKS << attempt))
        asked = GovPropose(measure.KIND, encode(measure), begins, basis, hash_of(basis))
        proposal = (await stage.say(asked, voters[0])).transaction_id
        async with trio.open_nursery() as nursery:
            for voter in voters:
                nursery.start_soon(_vote, stage, voter, proposal)
        for decision in await stage.ask("governance.decisions"):
            if decision["proposal"] == proposal.hex() and decision["status"] == "adopted":
                return begins
    raise NotAsWritten(f"{measure.KIND} was not adopted in {ATTEMPTS_MAX} attempts")


async def _vote(stage: Stage, voter: str, proposal: Hash) -> None:
    try:
        await stage.say(GovVote(proposal, True), voter)
    except NotAsWritten as refused:
        # Enough had voted already, or the time was over: the decision tells which.
        if refused.code != Code.VOTE_CLOSED:
            raise


async def add(stage: Stage, node: Node, measure: AuthorityAdd, own: KeySigner) -> Height:
    """Have a node that follows the chain say that it is ready, until a list has it; the list's first height.

    Raises: NotAsWritten.
    """
    with trio.move_on_after(CHANGE_S):
        async with AsyncClient([node.http_url], stage.genesis) as client:
            while True:
                said = await _say_ready(stage, client, measure, own)
                while await stage.height() < said + EPOCH_BLOCKS // 2:
                    if (begins := await _begins(stage, measure.organisation, is_in=True)) is not None:
                        return begins
                    await trio.sleep(POLL_S)
    raise NotAsWritten(f"no list has {measure.organisation} after {CHANGE_S:.0f} s")


async def _say_ready(stage: Stage, client: AsyncClient, measure: AuthorityAdd, own: KeySigner) -> Height:
    """The height that it was said at; once the node has come so far that what it says is recent."""
    while True:
        head = await client.status()
        ready = sign_ready(stage.genesis.hash, own, head.height, head.digest)
        try:
            fate = await stage.say(ready, measure.organisation)
        except NotAsWritten as refused:
            if refused.code != Code.NOT_RECENT:
                raise
            await trio.sleep(POLL_S)
            continue
        assert fate.height is not None, "it is final"
        return fate.height


async def remove(stage: Stage, organisation: str, voters: Sequence[str]) -> Height:
    """Vote an authority out; the first height that is decided on without it. Raises: NotAsWritten."""
    await decide(stage, AuthorityRemove(organisation), voters, "decision-12")
    with trio.move_on_after(CHANGE_S):
        while True:
            if (begins := await _begins(stage, organisation, is_in=False)) is not None:
                return begins
            await trio.sleep(POLL_S)
    raise NotAsWritten(f"every list has {organisation} after {CHANGE_S:.0f} s")


async def reached(stage: Stage, height: Height) -> None:
    """Return once a block is final. Raises: NotAsWritten."""
    with trio.move_on_after(CHANGE_S):
        while await stage.height() < height:  # noqa: ASYNC110 - another process's height
            await trio.sleep(POLL_S)
        return
    raise NotAsWritten(f"block {height} is not final after {CHANGE_S:.0f} s")


async def members(stage: Stage, height: Height) -> list[str]:
    """Who decides on the block of a height, in the list's order."""
    (found,) = await stage.ask("governance.authorities", height=height)
    return [member["organisation"] for member in found["members"]]


async def signs(stage: Stage, begins: Height, index: int) -> bool:
    """Whether the member of this index has signed for one of the first blocks from a height on."""
    for height in range(begins, begins + SIGNED_BLOCKS):
        await reached(stage, Height(height))
        if index in await stage.block_signers(Height(height)):
            return True
    return False


async def _begins(stage: Stage, organisation: str, *, is_in: bool) -> Height | None:
    """The first height of the next epoch, if its list is decided and has the organisation (or has it not)."""
    now = epoch_of(await stage.height() + 1, EPOCH_BLOCKS)
    first = Height(boundary_height(now, EPOCH_BLOCKS) + 1)
    return first if (organisation in await members(stage, first)) is is_in else None
