"""How hard hypothesis tries. One profile for every property of the suite.

By default the examples are the same in every run: a commit passes or fails, whoever runs it, whenever. A
campaign draws new ones each time, and as many times more as PROPERTIES says, until somebody stops reading:

    PROPERTIES=100 make test ARGS=tests/properties

A campaign that fails prints how to repeat it, and what it found becomes an example of its property.
"""

import pytest
from hypothesis import HealthCheck, settings
from tests.properties.effort import FACTOR, IS_CAMPAIGN
from tests.workers import Workers

settings.register_profile("every time", derandomize=True, database=None, deadline=None)
settings.register_profile(
    "campaign",
    max_examples=100 * FACTOR,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("campaign" if IS_CAMPAIGN else "every time")


def pytest_addoption(parser: pytest.Parser) -> None:
    """`make scenarios` and `make work` write anew what a run is compared with."""
    parser.addoption("--rewrite", action="store_true", help="write what is compared with anew")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log) -> Workers:
    """`make test WORKERS=3` runs several tests at a time; tests/workers.py says which."""
    return Workers(config, log)
