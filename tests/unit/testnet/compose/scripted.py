"""An engine that writes down what it is told, and has the containers that a test says."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from p2pledger.testnet.compose.engine import Container, Engine, EngineError
from p2pledger.testnet.compose.table import NODES

P2P = "net_p2p"


def container(
    service: str,
    state: str = "running",
    networks: tuple[str, ...] = (P2P, "net_front"),
    command: tuple[str, ...] = (),
) -> Container:
    """A container as the engine would describe it; its id is its service's name in capitals."""
    health = "healthy" if state == "running" else ""
    return Container(service.upper(), service, state, health, frozenset(networks), command)


def whole(**states: str) -> dict[str, Container]:
    """A testnet all of whose nodes run, but for those that are named (with `_` for `-`)."""
    named = {name.replace("_", "-"): state for name, state in states.items()}
    return {name: container(name, named.get(name, "running")) for name in {**dict.fromkeys(NODES), **named}}


class ScriptedEngine(Engine):
    """See above. `answer`: what a command in a container ends with.

    Who was paused is unhealthy, until there was time for a check. What compose is told ends in `< all 20`
    where it is told what the load is.
    """

    def __init__(self, found: Mapping[str, Container], networks: tuple[str, ...] = (P2P,)) -> None:
        super().__init__(Path("/checkout"), {"COMPOSE_PROJECT_NAME": "net"})
        self.found, self.nets = dict(found), set(networks)
        self.told: list[str] = []
        self.answer = (0, "done by links")

    def docker(self, *arguments: str) -> str:
        self.told.append(" ".join(arguments))
        if arguments[0] == "unpause":
            woken = {name: one for name, one in self.found.items() if one.id in arguments}
            for name, one in woken.items():
                self.found[name] = replace(one, state="running", health="unhealthy")
        return ""

    def compose(self, *arguments: str, variables: Mapping[str, str] | None = None) -> None:
        given = variables or {}
        load = [given[name] for name in ("TESTNET_REPLAY", "TESTNET_RATE") if name in given]
        words = [f"compose[{given.get('COMPOSE_PROFILES', 'all')}]", *arguments]
        self.told.append(" ".join([*words, *(["<", *load] if load else [])]))
        if arguments[0] == "up":
            self._start([word for word in arguments[1:] if word in NODES])

    def _start(self, named: list[str]) -> None:
        """As docker-compose does it, and with the time that a health check takes behind it."""
        unwell = {name for name, one in self.found.items() if one.is_unwell}
        if unwell - {*named}:
            raise EngineError(f"{', '.join(unwell)} unhealthy, others depend on it")
        self.found.update({name: container(name) for name in unwell})

    def containers(self) -> dict[str, Container]:
        return self.found

    def networks(self) -> set[str]:
        return self.nets

    def tell(self, container: Container, *command: str) -> tuple[int, str]:
        self.told.append(f"exec {container.service} {' '.join(command)}")
        return self.answer
