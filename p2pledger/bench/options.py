"""What several commands of the bench let be chosen. Floor 9."""

import click

as_json = click.option(
    "--json", "is_json", is_flag=True, help="Print one object as the last line; the rest goes to stderr."
)
