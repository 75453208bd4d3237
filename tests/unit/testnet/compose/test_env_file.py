"""`testnet/.env` is read as compose reads it; tests/compose asks docker-compose for the same."""

from pathlib import Path

import pytest
from p2pledger.testnet.compose.env_file import read_env_file


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("PORT=9190", {"PORT": "9190"}),
        ("  export PORT = 9190  ", {"PORT": "9190"}),
        ("PORT=9190 # moved", {"PORT": "9190"}),
        ("PORT='9190' # moved", {"PORT": "9190"}),
        ('PORT="a # b"', {"PORT": "a # b"}),
        ("PORT=a#b=c", {"PORT": "a#b=c"}),
        ("PORT=", {"PORT": ""}),
        ('PORT=""', {"PORT": ""}),
        ("PORT=1\r\nPORT=2\r\n", {"PORT": "2"}),
        ("\ufeffPORT=1", {"PORT": "1"}),
        ("# PORT=1", {}),
        ("PORT", {}),
        ("a line of words", {}),
    ],
)
def test_a_line_is_read(tmp_path: Path, line: str, found: dict[str, str]) -> None:
    (tmp_path / ".env").write_text(line, encoding="utf-8", newline="")
    assert read_env_file(tmp_path / ".env") == found


def test_without_a_file_there_is_nothing(tmp_path: Path) -> None:
    assert read_env_file(tmp_path / ".env") == read_env_file(tmp_path) == {}
