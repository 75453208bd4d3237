"""The container engine under a compose testnet: its containers as they are, and what they are told. Floor 8.

Everything goes through the commands `docker` and `docker compose` (or `docker-compose` 1.29), as a person at
the terminal would do it. What is up, and how, is asked of the engine each time and kept nowhere else.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from p2pledger.testnet.compose.env_file import read_env_file

PROJECT = "testnet"
FILE = Path("testnet") / "docker-compose.yml"
PROFILES = {"grafana": "grafana", "alertmanager": "alerts", "load": "load", "links": "faults"}
"""The profile of each service that has one."""

COMMAND_S = 120.0
COMPOSE_S = 3_600.0
"""A first `up` builds an image and pulls others."""


class EngineError(Exception):
    """The engine is not there, or did not do what it was told. The message says what to do."""


@dataclass(frozen=True)
class Container:
    """A service's container, as the engine describes it."""

    id: str
    service: str
    state: str
    """`running`, `paused`, `exited`, `created`, `restarting`, `dead`."""
    health: str
    """`healthy`, `unhealthy`, `starting`; empty when it has no check."""
    networks: frozenset[str]
    command: tuple[str, ...] = ()
    """What its entry point was told."""

    @property
    def is_running(self) -> bool:
        """Whether its process is there and not paused."""
        return self.state == "running"

    @property
    def is_unwell(self) -> bool:
        """Whether it runs and its check fails, or has not been made since it was paused."""
        return self.is_running and self.health == "unhealthy"


class Engine:
    """One compose testnet on this machine's engine. `root` is the checkout that has its files."""

    def __init__(self, root: Path, environment: Mapping[str, str] | None = None) -> None:
        self._root = root
        self._environment = dict(os.environ if environment is None else environment)
        self.variables = {**read_env_file(root / FILE.with_name(".env")), **self._environment}
        """What compose replaces in its file: the environment, over what `testnet/.env` has."""
        self.project = self.variables.get("COMPOSE_PROJECT_NAME") or PROJECT
        self._compose: list[str] | None = None

    @property
    def p2p(self) -> str:
        """The network by which nodes reach each other."""
        return f"{self.project}_p2p"

    # --- the two commands --------------------------------------------------------------------------------

    def docker(self, *arguments: str) -> str:
        """What `docker ...` prints. Raises: EngineError."""
        done = self._run_docker(*arguments)
        if done.returncode != 0:
            raise EngineError(f"`docker {arguments[0]}` failed: {done.stderr.strip()}")
        return done.stdout.strip()

    def _run_docker(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(  # noqa: S603 - the engine's own command, by its path
                [self._found("docker"), *arguments],
                capture_output=True,
                text=True,
                timeout=COMMAND_S,
                env=self._environment,
                stdin=subprocess.DEVNULL,
            )
        except subprocess.TimeoutExpired:
            raise EngineError(
                f"the engine did not answer `docker {arguments[0]}` within {COMMAND_S:.0f} s: see its log"
            ) from None

    def compose(self, *arguments: str, variables: Mapping[str, str] | None = None) -> None:
        """Run `docker compose ...`, which speaks to the terminal itself. Raises: EngineError.

        All profiles are on, unless `variables`, which stand over the environment, name others.
        """
        every = ",".join(sorted(set(PROFILES.values())))
        environment = {**self._environment, "COMPOSE_PROFILES": every, **(variables or {})}
        command = [*self._compose_command(), "-p", self.project, "-f", str(self._root / FILE), *arguments]
        try:
            code = subprocess.run(  # noqa: S603 - the engine's own command, by its path
                command, timeout=COMPOSE_S, env=environment, stdin=subprocess.DEVNULL
            ).returncode
        except subprocess.TimeoutExpired:
            raise EngineError(f"`compose {arguments[0]}` took longer than {COMPOSE_S:.0f} s") from None
        if code != 0:
            raise EngineError(f"`compose {arguments[0]}` ended with code {code}; what it said is above")

    def _found(self, name: str) -> str:
        path = shutil.which(name, path=self._environment.get("PATH"))
        if path is None:
            raise EngineError(
                f"there is no `{name}` on PATH: install Docker Engine with Compose"
                " (Debian: apt-get install docker.io docker-compose)"
            )
        return path

    def _compose_command(self) -> list[str]:
        if self._compose is None:
            try:
                self.docker("compose", "version")
                self._compose = [self._found("docker"), "compose"]
            except EngineError:
                self._compose = [self._found("docker-compose")]
        return self._compose

    # --- what is there -----------------------------------------------------------------------------------

    def containers(self) -> dict[str, Container]:
        """The testnet's containers by service, running or not. Raises: EngineError."""
        label = f"label=com.docker.compose.project={self.project}"
        ids = self.docker("ps", "--all", "--quiet", "--filter", label).split()
        if not ids:
            return {}
        found = [container_of(description) for description in json.loads(self.docker("inspect", *ids))]
        return {container.service: container for container in found}

    def networks(self) -> set[str]:
        """The names of all networks of the engine. Raises: EngineError."""
        return set(self.docker("network", "ls", "--format", "{{.Name}}").split())

    def routes(self, containers: Mapping[str, Container]) -> dict[str, str]:
        """The variables with which compose was started: which profiles are on, routes to peers, the load."""
        profiles = sorted({PROFILES[service] for service in containers if service in PROFILES})
        return {**route_variables(profiles), **load_variables(containers)}

    def tell(self, container: Container, *command: str) -> tuple[int, str]:
        """Run a command inside a container; its exit code and what it said. Raises: EngineError."""
        done = self._run_docker("exec", container.id, *command)
        return done.returncode, (done.stdout or done.stderr).strip()


def route_variables(profiles: Sequence[str]) -> dict[str, str]:
    """What compose has to know so that these profiles are on."""
    route = "links.toml" if "faults" in profiles else "node.toml"
    return {"COMPOSE_PROFILES": ",".join(sorted(profiles)), "TESTNET_ROUTE": route}


def load_variables(containers: Mapping[str, Container]) -> dict[str, str]:
    """What compose has to know so that a load that is there stays as it was chosen; nothing without one."""
    words = containers["load"].command if "load" in containers else ()
    told = dict(word.split("=", 1) for word in words if "=" in word)
    options = {"TESTNET_RATE": "--rate", "TESTNET_REPLAY": "--replay"}
    return {variable: told[option] for variable, option in options.items() if option in told}


def container_of(description: Mapping[str, Any]) -> Container:
    """A container from what `docker inspect` says of it."""
    state = description["State"]
    return Container(
        id=description["Id"],
        service=description["Config"]["Labels"]["com.docker.compose.service"],
        state=state["Status"],
        health=(state.get("Health") or {}).get("Status", ""),
        networks=frozenset(description["NetworkSettings"]["Networks"]),
        command=tuple(description["Config"].get("Cmd") or ()),
    )
