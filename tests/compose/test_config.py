"""What docker-compose makes of the file where the environment says nothing: `testnet/.env` decides then.

No engine is asked. The campaign beside it leaves Grafana out, whose image cannot be had everywhere: here its
service is read, as are lines of `.env` as people write them.
"""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from p2pledger.testnet.compose.engine import PROFILES, Engine
from p2pledger.testnet.compose.table import NODES, SERVICES, service_url
from tests.compose.net import copy_of_checkout

pytestmark = pytest.mark.campaign

MOVED = """
export TESTNET_PROMETHEUS_PORT = 9190  # moved
TESTNET_ALERTMANAGER_PORT='9193'
TESTNET_GRAFANA_PORT="3100"
TESTNET_GRAFANA_PORT=
"""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh copy."""
    if not shutil.which("docker-compose"):
        pytest.skip("no docker-compose is here; on Debian: apt-get install docker-compose")
    return copy_of_checkout(tmp_path_factory.mktemp("config") / "p2pledger")


def services(checkout: Path) -> dict[str, dict[str, Any]]:
    """Services as docker-compose would start them."""
    outside = {name: text for name, text in os.environ.items() if not name.startswith(("COMPOSE", "TESTNET"))}
    done = subprocess.run(
        ["docker-compose", "-f", "testnet/docker-compose.yml", "config"],
        cwd=checkout,
        env=outside,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0 and done.stderr == "", done.stderr
    return dict(yaml.safe_load(done.stdout)["services"])


def test_all_services_are_understood_with_the_images_that_are_listed(checkout: Path) -> None:
    found = services(checkout)
    variables = Engine(checkout, {}).variables
    assert set(found) == {"init", "prometheus", *PROFILES, *NODES}
    assert {name: found[name]["image"] for name in SERVICES} == {
        name: variables[f"TESTNET_{name.upper()}_IMAGE"] for name in SERVICES
    }
    assert found["grafana"]["profiles"] == [variables["COMPOSE_PROFILES"]]
    assert {mount.split(":")[0] for mount in found["grafana"]["volumes"]} == {
        str(checkout / "testnet" / "grafana" / "provisioning"),
        str(checkout / "deploy" / "monitoring" / "dashboards"),
        "grafana",
    }


def test_ports_are_where_the_table_tells_them(checkout: Path) -> None:
    for more in ("", MOVED):
        with (checkout / "testnet" / ".env").open("a") as env:
            env.write(more)
        variables, found = Engine(checkout, {}).variables, services(checkout)
        assert {name: found[name]["ports"][0].rpartition(":")[0] for name in SERVICES} == {
            name: service_url(name, variables).removeprefix("http://") for name in SERVICES
        }
    assert service_url("prometheus", variables).endswith(":9190")
