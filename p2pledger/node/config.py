"""A node's configuration: a TOML file, and environment variables over it. Floor 6.

    [node]     data_dir, guard_dir, genesis, role, name, clock_offset_ms
    [keys]     consensus, identity, transaction, passphrase_file
    [network]  listen, peers, allow_peers
    [api]      host, port, drain_ms
    [metrics]  host, port, by_task
    [log]      level, format
    [mempool]  transactions_max, bytes_max
    [storage]  bodies_kept_blocks
    [traces]   endpoint, one_in
    [admin]    host, port

`P2PLEDGER_API_PORT` stands over `port` in `[api]`, and so on for every key; a list is written with
commas between its items. Nothing is guessed: an unknown key or variable is refused, and everything
that can be checked without starting is checked here, all of it before the first complaint is made.
Relative paths start at the directory of the file.
"""

import dataclasses
import difflib
import ipaddress
import os
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, get_origin, get_type_hints
from urllib.parse import urlsplit

from p2pledger.signer.keyfile import PASSPHRASE_VARIABLE, KeyFileRefused, read_passphrase

PREFIX = "P2PLEDGER_"
CLOCK_OFFSET_MS_MAX = 366 * 86_400_000

_HOSTS = {"ip4": ipaddress.IPv4Address, "ip6": ipaddress.IPv6Address}
_ADDRESS = re.compile(
    r"/(ip4|ip6|dns|dns4|dns6)/([^/]+)/tcp/([0-9]{1,5})(?:/p2p/([1-9A-HJ-NP-Za-km-z]{32,64}))?"
)
_NAME = re.compile("[A-Za-z0-9._-]{0,253}")
_PEER = re.compile("[1-9A-HJ-NP-Za-km-z]{32,64}")


class ConfigurationError(Exception):
    """The configuration cannot be used. One line per fault: the key, what is wrong, and the cure."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = tuple(faults)


class Role(Enum):
    """What a node is on its ledger: an authority votes, a gateway follows and takes transactions in."""

    AUTHORITY = "authority"
    GATEWAY = "gateway"


class LogFormat(Enum):
    """How log lines look: for machines or for people."""

    JSON = "json"
    CONSOLE = "console"


Check = Callable[[Any, Path], Any]
"""From a TOML value and the file's directory to the field's value; raises ValueError with the cure."""


def _text(value: Any, base: Path) -> str:
    if type(value) is not str or not value:
        raise ValueError("write a text in quotes")
    return value


def _name(value: Any, base: Path) -> str:
    if type(value) is not str or not _NAME.fullmatch(value):
        raise ValueError("write up to 253 letters, digits, dots, dashes and underscores, as in authority-1")
    return value


def _path(value: Any, base: Path) -> Path:
    return base / Path(_text(value, base)).expanduser()


def _file(value: Any, base: Path) -> Path:
    path = _path(value, base)
    if not path.is_file():
        raise ValueError(f"there is no file {path}; correct the path or make it with `p2pledger init`")
    return path


def _boolean(value: Any, base: Path) -> bool:
    if type(value) is not bool:
        raise ValueError("write true or false")
    return value


def _integer(least: int, most: int) -> Check:
    def check(value: Any, base: Path) -> int:
        if type(value) is not int or not least <= value <= most:
            raise ValueError(f"write a whole number from {least} to {most}")
        return value

    return check


def _choice(members: type[Enum]) -> Check:
    def check(value: Any, base: Path) -> Enum:
        for member in members:
            if member.value == value:
                return member
        raise ValueError(f"choose one of {', '.join(repr(member.value) for member in members)}")

    return check


def _level(value: Any, base: Path) -> str:
    if value not in ("debug", "info", "warning", "error"):
        raise ValueError("choose one of 'debug', 'info', 'warning', 'error'")
    return str(value)


def _endpoint(value: Any, base: Path) -> str:
    parts = urlsplit(value) if type(value) is str else None
    if parts is None or (value and (parts.scheme not in ("http", "https") or not parts.hostname)):
        raise ValueError("write a URL like http://127.0.0.1:4318/v1/traces, or nothing between the quotes")
    return str(value)


def _check_address(value: Any, *, of_peer: bool) -> str:
    match = _ADDRESS.fullmatch(value) if type(value) is str else None
    example = "/ip4/127.0.0.1/tcp/7160" + ("/p2p/12D3KooW..." if of_peer else "")
    if match is None or bool(match[4]) is not of_peer or int(match[3]) > 65_535:
        raise ValueError(f"{value!r} is not a TCP multiaddr like {example}")
    if match[1] in _HOSTS:
        try:
            _HOSTS[match[1]](match[2])
        except ValueError:
            raise ValueError(f"{match[2]!r} in {value!r} is not an address of kind {match[1]}") from None
    return str(value)


def check_peer_address(value: str) -> str:
    """A TCP multiaddr that ends in a peer id, as it was given. Raises: ValueError with the cure."""
    return _check_address(value, of_peer=True)


def _listen(value: Any, base: Path) -> str:
    return _check_address(value, of_peer=False)


def _each(check_item: Callable[[Any], str], most: int) -> Check:
    def check(value: Any, base: Path) -> tuple[str, ...]:
        if type(value) is not list or len(value) > most:
            raise ValueError(f"write a list of at most {most} texts")
        items = tuple(check_item(item) for item in value)
        if len(set(items)) != len(items):
            raise ValueError("an entry stands twice; remove one")
        return items

    return check


def _peer_id(value: Any) -> str:
    if type(value) is not str or not _PEER.fullmatch(value):
        raise ValueError(f"{value!r} is not a libp2p peer id (base58, as in 12D3KooW...)")
    return value


@dataclass(frozen=True)
class NodeSection:
    """Where a node keeps things and what it is."""

    data_dir: Annotated[Path, _path]
    genesis: Annotated[Path, _file]
    role: Annotated[Role, _choice(Role)]
    guard_dir: Annotated[Path | None, _path] = None
    """An authority's guard file: a directory of its own, never in a backup. None for a gateway."""
    clock_offset_ms: Annotated[int, _integer(-CLOCK_OFFSET_MS_MAX, CLOCK_OFFSET_MS_MAX)] = 0
    """Puts this node's clock wrong, to try what follows; a node that is in earnest leaves it at 0."""
    name: Annotated[str, _name] = ""
    """What metrics and traces call it; empty: as its home is called."""

    @property
    def called(self) -> str:
        """The node's name, for those who watch it; no other node is told."""
        return self.name or self.data_dir.absolute().parent.name


@dataclass(frozen=True)
class KeysSection:
    """Encrypted key files, and what opens them."""

    identity: Annotated[Path, _file]
    consensus: Annotated[Path | None, _file] = None
    transaction: Annotated[Path | None, _file] = None
    passphrase_file: Annotated[Path | None, _file] = None
    passphrase: bytes = field(default=b"", repr=False)
    """Read from the file, or from P2PLEDGER_KEYS_PASSPHRASE; never from the configuration itself."""


@dataclass(frozen=True)
class NetworkSection:
    """Where a node listens, whom it dials, and whom it lets in beside those whom the ledger names."""

    listen: Annotated[str, _listen]
    peers: Annotated[tuple[str, ...], _each(lambda value: _check_address(value, of_peer=True), 1_024)] = ()
    allow_peers: Annotated[tuple[str, ...], _each(_peer_id, 1_024)] = ()


@dataclass(frozen=True)
class ApiSection:
    """Where the HTTP API is served; port 0 takes a free one."""

    host: Annotated[str, _text] = "127.0.0.1"
    port: Annotated[int, _integer(0, 65_535)] = 7_100
    drain_ms: Annotated[int, _integer(0, 60_000)] = 0
    """How long a node that was told to stop goes on answering, while its probe says that it is not ready."""


@dataclass(frozen=True)
class MetricsSection:
    """Where Prometheus finds the metrics; port 0 takes a free one."""

    host: Annotated[str, _text] = "127.0.0.1"
    port: Annotated[int, _integer(0, 65_535)] = 7_130
    by_task: Annotated[bool, _boolean] = False
    """Also counts what libp2p, HTTP and the event loop take of the processor, for 5 us a step of the loop."""


@dataclass(frozen=True)
class AdminSection:
    """Where backups are asked for: whoever reaches it may have the whole chain. Without a port, nowhere."""

    host: Annotated[str, _text] = "127.0.0.1"
    port: Annotated[int | None, _integer(0, 65_535)] = None


@dataclass(frozen=True)
class LogSection:
    """What is logged, to standard error, and how it looks."""

    level: Annotated[str, _level] = "info"
    format: Annotated[LogFormat, _choice(LogFormat)] = LogFormat.JSON


@dataclass(frozen=True)
class MempoolSection:
    """How much may wait to become final; beyond that the API answers 429."""

    transactions_max: Annotated[int, _integer(16, 1_000_000)] = 50_000
    bytes_max: Annotated[int, _integer(1024**2, 4 * 1024**3)] = 64 * 1024**2


@dataclass(frozen=True)
class StorageSection:
    """What a node keeps of the chain."""

    bodies_kept_blocks: Annotated[int, _integer(0, 2**53)] = 0
    """A gateway drops the bodies of others' transactions that are so many blocks old; 0: it keeps all."""


@dataclass(frozen=True)
class TracesSection:
    """Where spans of transactions and blocks are sent, if anywhere."""

    endpoint: Annotated[str, _endpoint] = ""
    """An OTLP collector's URL, as in http://127.0.0.1:4318/v1/traces; empty: nothing is traced."""
    one_in: Annotated[int, _integer(1, 1_000_000)] = 100
    """One transaction in so many is followed, and one block."""


@dataclass(frozen=True)
class Configuration:
    """All of a node's configuration, checked."""

    node: NodeSection
    keys: KeysSection
    network: NetworkSection
    api: ApiSection
    metrics: MetricsSection
    log: LogSection
    mempool: MempoolSection
    storage: StorageSection
    traces: TracesSection = TracesSection()
    admin: AdminSection = AdminSection()


_SECTIONS: dict[str, type] = get_type_hints(Configuration)
CHECKS: dict[str, dict[str, Check]] = {
    name: {
        key: annotation.__metadata__[0]
        for key, annotation in get_type_hints(section, include_extras=True).items()
        if hasattr(annotation, "__metadata__")
    }
    for name, section in _SECTIONS.items()
}
"""What to hold every key of every section against; a field without a check is not a key."""


def load_configuration(path: Path, environment: Mapping[str, str] | None = None) -> Configuration:
    """Read and check a configuration file, with `environment` (by default the process's own) over it.

    Raises: ConfigurationError, with every fault that was found.
    """
    environment = os.environ if environment is None else environment
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(
            [f"{path}: {error.strerror}; name the configuration with --config"]
        ) from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigurationError([f"{path}: not TOML: {error}"]) from None
    faults = _overlay(document, environment)
    sections = {name: _section(name, document, path.parent.absolute(), faults) for name in _SECTIONS}
    if not faults:
        sections["keys"] = _with_passphrase(sections["keys"], environment, faults)
        faults += _across(Configuration(**sections))
    if faults:
        raise ConfigurationError(faults)
    return Configuration(**sections)


def _unknown(what: str, name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"{name}: unknown {what}; " + (
        f"did you mean {close[0]}?" if close else f"known: {', '.join(known)}"
    )


def _overlay(document: dict[str, Any], environment: Mapping[str, str]) -> list[str]:
    """Put the environment's values into the document; returns what is unknown in either."""
    variables = {f"{PREFIX}{s}_{key}".upper(): (s, key) for s, keys in CHECKS.items() for key in keys}
    faults = []
    for section, content in document.items():
        if section not in CHECKS or not isinstance(content, dict):
            faults.append(_unknown("section", section, list(CHECKS)))
        elif section == "keys" and "passphrase" in content:
            faults.append(f"keys.passphrase: a secret; move it to a passphrase_file or {PASSPHRASE_VARIABLE}")
        else:
            known = [f"{section}.{key}" for key in CHECKS[section]]
            faults += [
                _unknown("key", f"{section}.{key}", known) for key in content if key not in CHECKS[section]
            ]
    for variable, text in environment.items():
        if not variable.startswith(PREFIX) or variable == PASSPHRASE_VARIABLE:
            continue
        if variable not in variables:
            faults.append(_unknown("variable", variable, list(variables)))
            continue
        section, key = variables[variable]
        if isinstance(document.setdefault(section, {}), dict):
            document[section][key] = _from_text(get_type_hints(_SECTIONS[section])[key], text)
    return faults


def _from_text(annotation: Any, text: str) -> Any:
    if get_origin(annotation) is tuple:
        return [item.strip() for item in text.split(",") if item.strip()]
    if annotation is bool:
        return {"true": True, "false": False}.get(text, text)
    return int(text) if annotation in (int, int | None) and re.fullmatch("-?[0-9]{1,18}", text) else text


def _section(name: str, document: Mapping[str, Any], base: Path, faults: list[str]) -> Any:
    content = document.get(name, {})
    section, values = _SECTIONS[name], {}
    for key, check in CHECKS[name].items():
        if isinstance(content, dict) and key in content:
            try:
                values[key] = check(content[key], base)
            except ValueError as error:
                faults.append(f"{name}.{key}: {error}")
        elif not hasattr(section, key):  # a dataclass keeps its defaults on the class
            variable = f"{PREFIX}{name}_{key}".upper()
            faults.append(f"{name}.{key}: missing; set it in [{name}] or as {variable}")
    return None if faults else section(**values)


def _with_passphrase(keys: KeysSection, environment: Mapping[str, str], faults: list[str]) -> KeysSection:
    file = None if PASSPHRASE_VARIABLE in environment else keys.passphrase_file
    try:
        return dataclasses.replace(keys, passphrase=read_passphrase(file, environment))
    except KeyFileRefused as refused:
        faults.append(f"keys.passphrase_file: {refused}")
        return keys


def _across(configuration: Configuration) -> list[str]:
    """What spans several keys."""
    faults = []
    node, keys = configuration.node, configuration.keys
    api, metrics = configuration.api, configuration.metrics
    if node.role is Role.AUTHORITY:
        if node.guard_dir is None:
            faults.append("node.guard_dir: missing; an authority needs a directory of its own for its guard")
        elif node.guard_dir.absolute().is_relative_to(node.data_dir.absolute()):
            faults.append("node.guard_dir: lies in data_dir, whose backups must not hold it; choose another")
        if configuration.storage.bodies_kept_blocks:
            faults.append(
                "storage.bodies_kept_blocks: an authority keeps all bodies, for those who catch up; remove it"
            )
        if keys.consensus is None:
            faults.append(
                "keys.consensus: missing; an authority votes with it (or set node.role to 'gateway')"
            )
    elif keys.consensus is not None:
        faults.append("keys.consensus: a gateway does not vote; remove the key (or set node.role)")
    files = [file for file in (keys.identity, keys.consensus, keys.transaction) if file is not None]
    if len({file.resolve() for file in files}) != len(files):
        faults.append("keys: two keys share a file; every role has a key of its own")
    if api.port and (api.host, api.port) == (metrics.host, metrics.port):
        faults.append("metrics.port: the API has this port; choose another")
    if configuration.admin.port and configuration.admin.port in (api.port, metrics.port):
        faults.append("admin.port: the API or the metrics have this port; choose another")
    return faults
