"""`p2pledger query`: a command for each query of the modules, made from their table. Floor 9."""

import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.table import Table

    from p2pledger.client import QueryPage
    from p2pledger.ledger.queries import Parameter, Query

# What a command needs is imported when it runs, as in `cli`.

API_DEFAULT = "http://127.0.0.1:7100"
NOT_ANSWERED = 1
"""The exit code when the node refuses, or there is none."""

SHORT_HEX = 16
"""For people, so many digits of a hash are enough to tell it from others; scripts get them all."""


class _Queries(click.Group):
    """The queries as commands, by their names."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        from p2pledger.ledger.modules.queries import QUERIES

        return list(QUERIES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        from p2pledger.ledger.modules.queries import QUERIES

        query = QUERIES.get(cmd_name)
        return None if query is None else _command(query)


@click.group(cls=_Queries, subcommand_metavar="NAME [OPTIONS]")
def query() -> None:
    """Ask a node what its ledger has recorded.

    Prints a page of rows as a table; `--all` goes on to the end, `--json` prints one object a line.
    """


def _command(of: "Query") -> click.Command:
    parameters = [
        click.Option(
            ["--" + each.name.replace("_", "-"), each.name],
            required=each.is_required,
            callback=_reader(each),
            metavar={int: "N", bytes: "HEX"}.get(each.plain, "TEXT"),
            help=each.meaning,
        )
        for each in of.parameters
    ]
    parameters += [
        click.Option(["--limit"], type=click.IntRange(1, of.rows_max), help="How long a page may be."),
        click.Option(["--after"], metavar="HEX", help="Go on after the page that ended with this cursor."),
        click.Option(["--all", "is_all"], is_flag=True, help="Go on until nothing is left."),
        click.Option(["--json", "is_json"], is_flag=True, help="One JSON object a line, for scripts."),
        click.Option(
            ["--api", "urls"],
            multiple=True,
            default=[API_DEFAULT],
            show_default=True,
            metavar="URL",
            help="A node's API; the next one is asked when one fails.",
        ),
    ]
    return click.Command(
        of.name, callback=_run_of(of), params=list(parameters), help=of.description, short_help=of.summary
    )


def _reader(parameter: "Parameter") -> Any:
    """A callback that holds what was given against the parameter's own limits, before any node is asked."""

    def read(_: click.Context, __: click.Parameter, text: str | None) -> str | None:
        from p2pledger.errors import InvalidMessage

        if text is not None:
            try:
                parameter.read(text)
            except InvalidMessage as error:
                raise click.BadParameter(str(error).removeprefix(f"{parameter.name}: ")) from None
        return text

    return read


def _run_of(of: "Query") -> Any:
    def run(urls: tuple[str, ...], is_all: bool, is_json: bool, **given: Any) -> None:
        from p2pledger.client import LedgerError

        try:
            for page in _pages(of, urls, {name: value for name, value in given.items() if value is not None}):
                _show_json(page) if is_json else _show_table(of, page)
                if not is_all:
                    if page.next is not None:
                        click.echo(f"There is more: --all, or --after {page.next}", err=True)
                    break
        except LedgerError as error:
            click.echo(f"Error: {error}", err=True)
            cure = getattr(error, "cure", None)
            if cure is not None:
                click.echo(cure, err=True)
            sys.exit(NOT_ANSWERED)

    return run


def _pages(of: "Query", urls: tuple[str, ...], given: dict[str, Any]) -> "Iterator[QueryPage]":
    import httpx

    from p2pledger.client import Limits, wire
    from p2pledger.client.exchange import Nodes
    from p2pledger.client.queries import Walk
    from p2pledger.client.sync import carry_out

    nodes = Nodes([url if "://" in url else f"http://{url}" for url in urls], wire.monotonic_ms)
    walk = Walk(nodes, Limits(attempts_max=3), of.name, given)
    with httpx.Client(trust_env=False) as http:
        while not walk.is_over:
            yield carry_out(http, walk.next_page())


def _show_json(page: "QueryPage") -> None:
    for item in page.items:
        click.echo(json.dumps(item, ensure_ascii=False))


def _show_table(of: "Query", page: "QueryPage") -> None:
    from rich.console import Console

    console = Console()
    if len(page.items) == 1 and page.next is None:
        console.print(_upright(page.items[0]))
    elif page.items:
        console.print(_rows(of, page))
    click.echo(f"{len(page.items):,} found at height {page.height:,}")


def _upright(item: dict[str, Any]) -> "Table":
    """One item: a line for each field, nothing cut."""
    from rich.table import Table

    table = Table(show_header=False)
    table.add_column()
    table.add_column(overflow="fold")
    for name, value in item.items():
        table.add_row(name, _text(name, value, is_whole=True))
    return table


def _rows(of: "Query", page: "QueryPage") -> "Table":
    from dataclasses import fields

    from rich.table import Table

    there = [field.name for field in fields(of.item)]
    names = [name for name in there if any(item.get(name) is not None for item in page.items)]
    table = Table()
    for name in names:
        is_number = any(type(item.get(name)) is int for item in page.items)
        table.add_column(name, justify="right" if is_number else "left", overflow="fold")
    for item in page.items:
        table.add_row(*(_text(name, item.get(name), is_whole=False) for name in names))
    return table


def _text(name: str, value: Any, *, is_whole: bool) -> Any:
    """A value as people read it. Not as markup: what a ledger holds may have brackets."""
    from rich.text import Text

    if value is None:
        return Text("")
    if isinstance(value, bool):
        return Text("yes" if value else "no")
    if isinstance(value, list):
        parts = [_text(name, each, is_whole=is_whole).plain for each in value]
        return Text(("\n" if is_whole else ", ").join(parts))
    if isinstance(value, dict):
        return Text(" ".join(f"{key} {each}" for key, each in value.items()))
    if name.endswith("_ms") and isinstance(value, int) and value:
        return Text(_time(value))
    text = str(value)
    is_hash = len(text) > 2 * SHORT_HEX and all(digit in "0123456789abcdef" for digit in text)
    return Text(text[:SHORT_HEX] + "…" if is_hash and not is_whole else text)


def _time(time_ms: int) -> str:
    from datetime import UTC, datetime, timedelta

    try:
        at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=time_ms)
    except OverflowError:
        return f"{time_ms:,} ms"
    return at.isoformat(sep=" ", timespec="milliseconds").removesuffix("+00:00")
