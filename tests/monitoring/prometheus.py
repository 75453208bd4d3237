"""A real Prometheus, Debian's, on loopback for as long as a test wants it, and what it answers.

    with testnet(path / "net") as net, prometheus(path, targets_of(net.directory)) as server:
        server.wait_for('up{job="p2pledger"} == 1', count=5)

It scrapes as a deployment would: job `p2pledger`, target labels `chain` and `role`. `instance` is the node's
name, which is easier to read than a port.
"""

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
from p2pledger.testnet.directory import Directory

HOST = "127.0.0.1"
JOB = "p2pledger"
START_S = 60.0
STOP_S = 30.0
REQUEST_S = 30.0
PATIENCE_S = 120.0
POLL_S = 0.2
STARTS_MAX = 3
"""Between looking for a free port and taking it somebody else may have taken it."""

INSTALL = (
    "no `{}` on this machine: `apt-get install --no-install-recommends prometheus` (Debian, Ubuntu) brings"
    " both prometheus and promtool; PROMETHEUS and PROMTOOL may name them elsewhere"
)


class NoPrometheus(Exception):
    """It is not installed, or did not start. The message says how to mend that."""


@dataclass(frozen=True)
class Target:
    """What is scraped: an address, and the labels that it gets."""

    instance: str
    address: str
    role: str
    chain: str


@dataclass(frozen=True)
class Sample:
    """One series of an instant query's answer."""

    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True)
class Series:
    """One series of a range query's answer: times in seconds, values."""

    labels: Mapping[str, str]
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class ActiveAlert:
    """An alert that is pending or firing. `labels` are without `alertname`."""

    name: str
    state: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str] = field(default_factory=dict)


def program(name: str) -> str:
    """The path of `prometheus` or `promtool`. Raises: NoPrometheus."""
    path = shutil.which(os.environ.get(name.upper(), name))
    if path is None:
        raise NoPrometheus(INSTALL.format(name))
    return path


def targets_of(directory: Directory) -> list[Target]:
    """All nodes of a testnet."""
    return [
        Target(node.name, urlsplit(node.metrics_url).netloc, node.role.value, directory.genesis.chain_id)
        for node in directory.nodes
    ]


class Prometheus:
    """A Prometheus that runs, asked over HTTP. Queries raise httpx.HTTPStatusError when it refuses one."""

    def __init__(self, url: str, http: httpx.Client) -> None:
        self.url = url
        self._http = http

    def query(self, expr: str, at: float | None = None) -> list[Sample]:
        """What an expression is now, or was at a Unix time. A scalar is one sample without labels."""
        data = self._get("query", {"query": expr} if at is None else {"query": expr, "time": at})
        if data["resultType"] in ("scalar", "string"):
            return [Sample({}, float(data["result"][1]))]
        return [Sample(one["metric"], float(one["value"][1])) for one in data["result"]]

    def query_range(self, expr: str, start_s: float, end_s: float, step_s: float = 1.0) -> list[Series]:
        """What an expression was from one Unix time to another."""
        data = self._get("query_range", {"query": expr, "start": start_s, "end": end_s, "step": step_s})
        return [
            Series(one["metric"], tuple((float(at), float(value)) for at, value in one["values"]))
            for one in data["result"]
        ]

    def alerts(self) -> list[ActiveAlert]:
        """What is pending or firing now."""
        return [
            ActiveAlert(
                name=one["labels"].pop("alertname"),
                state=one["state"],
                labels=one["labels"],
                annotations=one["annotations"],
            )
            for one in self._get("alerts")["alerts"]
        ]

    def targets(self) -> dict[str, str]:
        """The health of each target (`up`, `down`, `unknown`) by its instance."""
        active = self._get("targets", {"state": "active"})["activeTargets"]
        return {one["labels"]["instance"]: one["health"] for one in active}

    def rules(self) -> dict[str, str]:
        """The health of each rule (`ok`, `err`, `unknown`) by its name; `err` has its error with it."""
        groups = self._get("rules")["groups"]
        return {
            rule["name"]: " ".join(filter(None, (rule["health"], rule.get("lastError"))))
            for group in groups
            for rule in group["rules"]
        }

    def wait_for(self, expr: str, count: int = 1, patience_s: float = PATIENCE_S) -> list[Sample]:
        """Wait until an expression has at least so many series, and return them."""
        deadline = time.monotonic() + patience_s
        while len(found := self.query(expr)) < count:
            assert time.monotonic() < deadline, f"{expr}: {len(found)} of {count} series"
            time.sleep(POLL_S)
        return found

    def _get(self, path: str, parameters: Mapping[str, Any] | None = None) -> Any:
        answer = self._http.get(f"{self.url}/api/v1/{path}", params=parameters)
        if answer.is_error:
            raise httpx.HTTPStatusError(answer.text, request=answer.request, response=answer)
        return answer.json()["data"]


@contextmanager
def prometheus(
    directory: Path, targets: Sequence[Target], *, interval_s: int = 1, rules: Sequence[Path] = ()
) -> Iterator[Prometheus]:
    """Run one until the end, with its files in `directory`/prometheus. Rules are evaluated at each interval.

    Raises: NoPrometheus.
    """
    home = directory / "prometheus"
    home.mkdir()
    configuration = home / "prometheus.yml"
    # Every document of JSON is one of YAML too.
    configuration.write_text(json.dumps(_configuration(targets, interval_s, rules), indent=1))
    with httpx.Client(timeout=REQUEST_S, trust_env=False) as http:
        for attempt in range(1, STARTS_MAX + 1):
            process, url = _start(home, configuration)
            try:
                if _is_ready(process, url, http):
                    yield Prometheus(url, http)
                    return
            finally:
                _stop(process)
            said = (home / "log.txt").read_text()
            if "address already in use" not in said or attempt == STARTS_MAX:
                raise NoPrometheus(f"prometheus did not start:\n{said}")


def _configuration(targets: Sequence[Target], interval_s: int, rules: Sequence[Path]) -> dict[str, Any]:
    interval = f"{interval_s}s"
    return {
        "global": {
            "scrape_interval": interval,
            "scrape_timeout": interval,
            "evaluation_interval": interval,
        },
        "rule_files": [str(path.absolute()) for path in rules],
        "scrape_configs": [
            {
                "job_name": JOB,
                "static_configs": [
                    {"targets": [labels.pop("address")], "labels": labels} for labels in map(asdict, targets)
                ],
            }
        ],
    }


def _start(home: Path, configuration: Path) -> tuple["subprocess.Popen[bytes]", str]:
    with socket.socket() as free:
        free.bind((HOST, 0))
        address = f"{HOST}:{free.getsockname()[1]}"
    with (home / "log.txt").open("wb") as log:
        process = subprocess.Popen(
            [
                program("prometheus"),
                f"--config.file={configuration}",
                f"--storage.tsdb.path={home / 'data'}",
                f"--web.listen-address={address}",
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    return process, f"http://{address}"


def _is_ready(process: "subprocess.Popen[bytes]", url: str, http: httpx.Client) -> bool:
    """Wait until it answers; False when it has ended instead."""
    deadline = time.monotonic() + START_S
    while process.poll() is None:
        with suppress(httpx.TransportError):
            if http.get(f"{url}/-/ready").is_success:
                return True
        assert time.monotonic() < deadline, f"prometheus is not ready after {START_S:g} s"
        time.sleep(POLL_S)
    return False


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
