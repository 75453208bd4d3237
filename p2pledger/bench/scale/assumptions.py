"""What `p2pledger bench scale` takes for granted; each of it is an option. Floor 9."""

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

import click


def _option(default: float, least: float, about: str) -> Any:
    return field(default=default, metadata={"least": least, "about": about})


@dataclass(frozen=True)
class Assumptions:
    """The fields' `about` says what they are.

    What a message costs a node was measured with 2 to 5 real hosts, each connected to each, in one process:
    k hosts spend a publisher's part, k - 1 times `first_us` and (k - 1)² times `copy_us`. A frame's cost was
    measured likewise, with 4 that each send to each.
    """

    seed: int = _option(0, 0, "Of the gossip simulation.")
    rate: float = _option(10.0, 0.1, "Messages a second, all publishers together.")
    seconds: float = _option(5.0, 1, "How long gossip is measured, in simulated time.")
    message_bytes: int = _option(1_000, 1, "Of a gossip message, before its envelope.")
    delay_ms: float = _option(5.0, 0.01, "Median delay of a link, one way.")
    delay_spread: float = _option(
        0.5, 0, "Links' delays are log-normal, with this deviation of the logarithm."
    )
    first_us: float = _option(250.0, 0, "What verifying a message costs a node that did not know it.")
    copy_us: float = _option(200.0, 0, "What a copy costs its sender and its receiver, together.")
    mesh_authorities: int = _option(4, 1, "Authorities in the mesh of --gateways, all connected.")
    dial_authorities: int = _option(2, 0, "How many authorities each gateway dials.")
    dial_gateways: int = _option(4, 0, "How many other gateways each gateway dials.")
    frame_us: float = _option(240.0, 0, "What a direct frame costs its sender and its receiver, together.")
    blocks: int = _option(10, 1, "Final blocks of each size of --authorities.")
    process_rate: float = _option(20.0, 0.2, "Transactions a second for --processes.")
    process_seconds: float = _option(5.0, 1, "How long each size of --processes runs.")
    memory_percent: int = _option(50, 1, "How much of the free memory --processes may take.")


def asked_for(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command an option for each field of `Assumptions`."""
    for each in reversed(fields(Assumptions)):
        least, kind = each.metadata["least"], click.IntRange if each.type is int else click.FloatRange
        command = click.option(
            f"--{each.name.replace('_', '-')}",
            type=kind(min=least),
            default=each.default,
            show_default=True,
            help=each.metadata["about"],
        )(command)
    return command
