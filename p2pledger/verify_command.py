"""`p2pledger verify-chain`: its options, what it prints and its exit codes. Floor 9."""

import sys
from pathlib import Path

import click

# What a command needs is imported when it runs, as in `cli`.


@click.command("verify-chain")
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option(
    "--genesis",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="The genesis file.  [default: the one that DIR/node.toml names]",
)
@click.option("--no-signatures", is_flag=True, help="Believe certificates and signers: execute only.")
@click.option(
    "--each", "is_each", is_flag=True, help="Print the roots of every block, one JSON object a line."
)
@click.option("--json", "is_json", is_flag=True, help="Print the head as one JSON object.")
def verify_chain(
    directory: Path, genesis: Path | None, no_signatures: bool, is_each: bool, is_json: bool
) -> None:
    """Execute a node's chain again from genesis, and hold every root and certificate against what comes out.

    DIR is a node's home, or its data directory together with --genesis. Nothing in it is changed, and the
    node may be running. Exits with 0 when all is the same, 1 with the first block that differs, 2 when there
    is no chain that can be executed: bodies that a gateway has dropped, another ledger, damage.
    """
    from p2pledger import verify_chain as verifying
    from p2pledger.errors import Fatal, InvalidMessage
    from p2pledger.storage.archive import Archive

    try:
        data, ledger = verifying.places(directory, genesis)
        archive = Archive(data, ledger)
        replay = verifying.Replay(ledger, is_checking=not no_signatures)
        try:
            with click.progressbar(length=archive.height, label="blocks", file=sys.stderr) as bar:
                for roots in verifying.replayed(archive, replay, bar.update):
                    if is_each:
                        click.echo(verifying.as_json(roots))
        finally:
            archive.close()
    except verifying.Different as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(verifying.DIFFERENT)
    except (Fatal, InvalidMessage, OSError, ValueError, KeyError) as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(verifying.UNREADABLE)
    head = replay.head()
    click.echo(verifying.as_json(head) if is_json else "\n".join(verifying.as_lines(head)))
