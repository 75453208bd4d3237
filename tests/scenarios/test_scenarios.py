"""Every story still goes as it is told. README.md says how to read, write and rewrite them."""

import difflib
from pathlib import Path

import pytest
from tests.scenarios.commands import COMMANDS
from tests.scenarios.story import StoryError, retell

STORIES = sorted(Path(__file__).parent.glob("*.txt"))


@pytest.mark.parametrize("path", STORIES, ids=lambda path: path.stem)
def test_story(path: Path, request: pytest.FixtureRequest) -> None:
    text = path.read_text()
    try:
        told = retell(text)
    except StoryError as error:
        pytest.fail(f"{path.name}, {error}", pytrace=False)
    if request.config.getoption("--rewrite", default=False):
        path.write_text(told)
    elif told != text:
        difference = difflib.unified_diff(
            text.splitlines(), told.splitlines(), "as it is told", "as it goes now", lineterm=""
        )
        pytest.fail(
            f"{path.name} goes otherwise. If that is meant: make scenarios, then read the difference.\n"
            + "\n".join(difference),
            pytrace=False,
        )


def test_a_wrong_output_is_found_and_a_line_that_is_no_command_too() -> None:
    text = (Path(__file__).parent / "calm-one-block.txt").read_text()
    assert retell(text.replace("votes N(v1,b1)", "votes X(v1)")) == text
    with pytest.raises(StoryError, match="line 2"):
        retell("cast A B C D\nA sleeps\n")


def test_every_command_is_documented_and_every_documented_one_exists() -> None:
    text = (Path(__file__).parent / "README.md").read_text()
    documented = [line.split("  ")[0] for line in text.split("```commands\n")[1].split("```")[0].splitlines()]
    assert [line for line in documented if not any(pattern.fullmatch(line) for pattern, _ in COMMANDS)] == []
    assert [
        pattern.pattern for pattern, _ in COMMANDS if not any(pattern.fullmatch(line) for line in documented)
    ] == []


def test_every_story_has_a_title_that_the_protocol_s_index_shows() -> None:
    index = (Path(__file__).parents[2] / "docs" / "PROTOCOL.md").read_text()
    assert [path.name for path in STORIES if not path.read_text().startswith("# ")] == []
    assert [path.name for path in STORIES if f"scenarios/{path.name})" not in index] == []
