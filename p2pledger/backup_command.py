"""`p2pledger backup` and `p2pledger restore`: options, what they print, and exit codes. Floor 9."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

# What a command needs is imported when it runs, as in `cli`.

ADMIN = "http://127.0.0.1:7190"


@click.command()
@click.option("--admin", default=ADMIN, show_default=True, metavar="URL", help="A node's admin port.")
@click.option(
    "--to",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="The directory that keeps backups, each in a directory of its own.",
)
@click.option("--keep", type=click.IntRange(1, 10_000), help="Remove all but so many, the oldest first.")
def backup(admin: str, to: Path, keep: int | None) -> None:
    """Fetch a copy of a running node's chain, and print where it is.

    It holds no key and nothing of a guard. It has its name once it is whole and durable, so that what has a
    manifest is a backup; an interrupted one goes with the next call. Where there is no room for it, what is
    beyond --keep with it goes first, but never the last one. Exits with 1 when there is none.
    """
    from p2pledger import backup as backups
    from p2pledger.errors import Fatal

    try:
        before = list(to.glob(f"*/{backups.MANIFEST}"))
        with _progress("backup") as tell:
            place = backups.fetch(admin, to, tell, keep)
        manifest = backups.read_manifest(place)
        if keep is not None:
            backups.prune(to, keep, place)
        gone = [path for path in before if not path.exists()]
    except (backups.BackupRefused, OSError) as error:
        raise click.ClickException(str(error)) from None
    except Fatal as error:
        raise click.ClickException(f"{error.code}: {error}") from None
    said = f"{manifest.chain_id} up to block {manifest.height:,}, {manifest.size_bytes:,} bytes"
    click.echo(f"{said}; {len(gone)} older removed" if gone else said, err=True)
    click.echo(place)


@click.command()
@click.argument("backup", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option(
    "--home",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="The node's home: its node.toml says where the data goes and of which ledger it is.",
)
@click.option(
    "--data-dir", type=click.Path(path_type=Path, file_okay=False), help="Where it goes, without --home."
)
@click.option(
    "--genesis",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="The genesis file that the node runs on.  [default: the one that node.toml names]",
)
def restore(backup: Path, home: Path | None, data_dir: Path | None, genesis: Path | None) -> None:
    """Put BACKUP, or the newest one in a directory of backups, into an empty data directory.

    The node must not run. It is checked first: its bytes, its ledger, its head, and the newest certificates
    from the genesis file on. The node fetches what is newer from its peers when it starts. Exits with 1 when
    it was refused; the directory is as empty then as it was.
    """
    from p2pledger import backup as backups
    from p2pledger import verify_chain
    from p2pledger.errors import Fatal, InvalidMessage

    if (home is None) == (data_dir is None):
        raise click.UsageError("name --home, or --data-dir with --genesis")
    try:
        place = home if home is not None else data_dir
        assert place is not None, "one of them was named"
        data, ledger = verify_chain.places(place, genesis)
        with _progress("restore") as tell:
            manifest = backups.restore(backup, data, ledger, tell)
    except (backups.BackupRefused, InvalidMessage, OSError, ValueError, KeyError) as error:
        raise click.ClickException(str(error)) from None
    except Fatal as error:
        raise click.ClickException(f"{error.code}: {error}") from None
    click.echo(f"{data} holds {manifest.chain_id} up to block {manifest.height:,}, checked.")
    click.echo(
        "An authority whose guard is lost follows without voting until its key is replaced (docs/backup.md)."
    )


@contextmanager
def _progress(label: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on standard error, once it is known how much there is."""
    bars: list[Any] = []

    def tell(done: int, of: int) -> None:
        if not bars:
            bars.append(click.progressbar(length=of, label=label, file=sys.stderr))
            bars[0].__enter__()
        bars[0].update(done - bars[0].pos)

    try:
        yield tell
    finally:
        for bar in bars:
            bar.__exit__(None, None, None)
