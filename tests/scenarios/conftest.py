"""`pytest tests/scenarios --rewrite` (`make scenarios`) writes the stories' outputs anew."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--rewrite", action="store_true", help="write the outputs of tests/scenarios anew")
