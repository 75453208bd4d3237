"""`bench scale` from end to end: small sizes, for real."""

import json

from click.testing import CliRunner
from p2pledger.bench.command import bench


def test_the_last_line_is_one_object_and_the_tables_go_elsewhere() -> None:
    options = ["scale", "--gateways", "10,20", "--authorities", "4", "--blocks", "2", "--seconds", "1"]
    result = CliRunner().invoke(bench, [*options, "--json"], catch_exceptions=False)
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert [each["gateways"] for each in found["gateways"]] == [10, 20]
    assert [each["authorities"] for each in found["authorities"]] == [4]
    assert found["processes"] is None and found["assumptions"]["blocks"] == 2
    assert "p99 ms" in result.stderr
    assert "p99 ms" in CliRunner().invoke(bench, options, catch_exceptions=False).stdout


def test_sizes_are_numbers() -> None:
    for wrong in ("", "0", "4,", "four", "-4"):
        result = CliRunner().invoke(bench, ["scale", "--gateways", wrong])
        assert result.exit_code == 2 and "with commas between them" in result.stderr
