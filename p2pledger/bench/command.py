"""`p2pledger bench`: what the ledger costs on this machine. Floor 9."""

import click

from p2pledger.bench.solo_command import modules, store

# What a command needs is imported when it runs: `p2pledger version` must not wait for libp2p.


@click.group()
def bench() -> None:
    """Measure what the ledger costs, with real nodes, against what this machine could do at best."""


bench.add_command(store)
bench.add_command(modules)
