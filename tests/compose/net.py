"""A compose testnet of the campaign's own, run as developers would: by docker-compose and testnet/testnet."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
from p2pledger.testnet.compose.engine import Container, Engine
from p2pledger.testnet.compose.table import NODES, api_url, height_of, service_url

ROOT = Path(__file__).resolve().parents[2]
PROJECT = "p2pledger-compose-test"
BUILD_S = 1_500
COMMAND_S = 400
PATIENCE_S = 90.0 * float(os.environ.get("COMPOSE_PATIENCE", "1"))
POLL_S = 0.5
PIP_VARIABLES = ("index-url", "extra-index-url", "trusted-host", "cert", "default-timeout")


def package_index() -> dict[str, str]:
    """How pip reaches its index on this machine, as the variables that a build hands on."""
    said = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    ).stdout
    pairs = (line.split("=", 1) for line in said.splitlines() if "=" in line)
    settings = {key.rsplit(".", 1)[1]: value.strip().strip("'") for key, value in pairs}
    found = {
        f"PIP_{name.upper().replace('-', '_')}": settings[name] for name in PIP_VARIABLES if name in settings
    }
    # A folder of this machine is nothing that a build can see.
    return {name: value for name, value in found.items() if "file:" not in value}


def copy_of_checkout(to: Path) -> Path:
    """What a fresh clone has: nothing that git ignores, nothing that was built."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file() and not (ROOT / name).is_symlink():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, to / name)
    return to


@dataclass
class Net:
    """One testnet, from a checkout of its own."""

    checkout: Path
    variables: Mapping[str, str] = field(default_factory=package_index)

    @property
    def environment(self) -> dict[str, str]:
        """The environment of whoever runs it: no profile is on, so Grafana is left out."""
        outside = {
            name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "COMPOSE_FILE")
        }
        return {**outside, **self.variables, "COMPOSE_PROJECT_NAME": PROJECT, "COMPOSE_PROFILES": ""}

    @property
    def engine(self) -> Engine:
        """The engine that it runs on."""
        return Engine(self.checkout, self.environment)

    def compose(self, *arguments: str, timeout_s: float = COMMAND_S) -> None:
        """Plain compose with the file, and no wrapper. What went wrong stands in the failure's own words."""
        command = ["docker-compose"] if shutil.which("docker-compose") else ["docker", "compose"]
        done = subprocess.run(
            [*command, "-f", "testnet/docker-compose.yml", *arguments],
            cwd=self.checkout,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout_s,
        )
        print(done.stdout)
        if done.returncode:
            errors = [line for line in done.stdout.splitlines() if "error" in line.lower()]
            raise AssertionError(f"compose {' '.join(arguments)}: {'; '.join(errors)[-1500:]}")

    def testnet(self, *arguments: str, code: int = 0) -> str:
        """What `testnet/testnet ...` says."""
        done = subprocess.run(
            ["testnet/testnet", *arguments],
            cwd=self.checkout,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_S,
        )
        assert done.returncode == code, f"{arguments}: {done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout + done.stderr if code else done.stdout

    def containers(self) -> dict[str, Container]:
        """Its containers by service."""
        return self.engine.containers()


def get(url: str) -> Any:
    """What a URL answers."""
    return httpx.get(url, timeout=10, trust_env=False).raise_for_status().json()


def genesis_of(node: str) -> Any:
    """The genesis file that a node is on."""
    return get(f"{api_url(node)}/v1/genesis")


def digest_of(node: str, height: int) -> str:
    """The digest of a final block."""
    return str(get(f"{api_url(node)}/v1/blocks/{height}")["digest"])


def query(expression: str) -> list[Any]:
    """What Prometheus answers."""
    return list(get(f"{prometheus_url()}/api/v1/query?{urlencode({'query': expression})}")["data"]["result"])


def rules() -> list[tuple[str, str]]:
    """Name and health of every rule that Prometheus has: `unknown` until evaluated, then `ok` or `err`."""
    groups = get(f"{prometheus_url()}/api/v1/rules")["data"]["groups"]
    return [(rule["name"], rule["health"]) for group in groups for rule in group["rules"]]


def prometheus_url() -> str:
    """Where Prometheus is published."""
    return service_url("prometheus", Engine(ROOT).variables)


def wait_until(holds: Callable[[], bool], what: str) -> None:
    """Return once something holds; fail when it does not within PATIENCE_S."""
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, f"{what}: not within {PATIENCE_S:.0f} s; {json.dumps(heights())}"
        time.sleep(POLL_S)


def heights() -> dict[str, int | None]:
    """The final height of each node."""
    return {name: height_of(name) for name in NODES}


def height(node: str) -> int:
    """The final height of a node that answers."""
    found = height_of(node)
    assert found is not None, f"{node} does not answer"
    return found


def wait_for_growth(*nodes: str, blocks: int = 3) -> None:
    """Return once each of these nodes has so many final blocks more."""
    before = {name: height_of(name) or 0 for name in nodes}
    wait_until(
        lambda: all((height_of(name) or 0) >= before[name] + blocks for name in nodes),
        f"{', '.join(nodes)} see {blocks} more final blocks",
    )


def wait_for_agreement() -> None:
    """Return once all nodes have come to what the highest has now, and hold the same block there."""
    highest = max(found for found in heights().values() if found is not None)
    wait_until(lambda: all((found or 0) >= highest for found in heights().values()), f"all come to {highest}")
    assert len({digest_of(name, highest) for name in NODES}) == 1


def wait_until_nothing_becomes_final() -> None:
    """Return once no node's height has moved for some seconds."""
    still_s = 6.0
    last, since = heights(), time.monotonic()

    def is_still() -> bool:
        nonlocal last, since
        if (now := heights()) != last:
            last, since = now, time.monotonic()
        return time.monotonic() - since > still_s

    wait_until(is_still, f"nothing becomes final for {still_s:.0f} s")
