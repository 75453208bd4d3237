"""Pods without a cluster: what a kubelet does with a pod's template, done by mounts and network namespaces.

    with Cluster(path, rendered) as cluster:
        pod = cluster.add("authority-1", workload)
        pod.run_init("guard"); pod.start("node")

Each pod has a network namespace of its own on one bridge that leads nowhere, a read-only root in which its
volumes are mounted as its template says, and the user and group that it names. Volumes have the modes and the
owner that a kubelet gives them for fsGroup. Names are in a hosts file. Needs root; nothing is left behind.
"""

import base64
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest
from tests.k8s.policies import matches
from tests.k8s.tools import ROOT, Rendered, containers, template

SWITCH = f"p2pk8s-{os.getpid()}"
"""The namespace that has the bridge; those of pods begin with it. Another run on this machine has its own."""

SUBNET = "10.85.7"
POLL_S = 0.2
ENVIRONMENT, SOURCE = "/opt/venv", "/opt/source"
"""Where a pod finds what is installed, and the code under test: a volume may lie over their own places."""

PROGRAM = (f"{ENVIRONMENT}/bin/python", "-m", "p2pledger")
"""What the image's entrypoint is here."""

SYSTEM = (
    "bin",
    "lib",
    "lib64",
    "sbin",
    "usr",
    "etc/alternatives",
    "etc/ssl",
    "etc/python3",
    "etc/python3.11",
)
SYSTEM_FILES = ("etc/passwd", "etc/group", "etc/nsswitch.conf", "etc/ld.so.cache", "etc/mime.types")
"""What of this machine stands for the image's own files."""


def ip(*arguments: str) -> None:
    """`ip`, which must not fail."""
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {' '.join(arguments)}: {done.stderr}"


def expanded(text: str, variables: Mapping[str, str]) -> str:
    """A text with each $(NAME) as Kubernetes expands it; what is not known stays."""
    return re.sub(r"\$\((\w+)\)", lambda match: variables.get(match[1], match[0]), text)


@dataclass
class Pod:
    """One pod: its template, its place on the network, its folder."""

    cluster: "Cluster"
    name: str
    workload: dict[str, Any]
    number: int
    node_name: str
    folder: Path
    processes: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)

    @property
    def address(self) -> str:
        """Where it is reached."""
        return f"{SUBNET}.{self.number}"

    @property
    def namespace(self) -> str:
        """Its network namespace."""
        return f"{SWITCH}-{self.number}"

    @property
    def link(self) -> str:
        """The bridge's end of its link."""
        return f"pod{self.number}"

    @property
    def spec(self) -> dict[str, Any]:
        """The pod's, of its template."""
        return template(self.workload)["spec"]

    def container(self, name: str) -> dict[str, Any]:
        """One of its containers."""
        (found,) = [one for one in containers(self.workload) if one["name"] == name]
        return found

    def environment(self, container: Mapping[str, Any]) -> dict[str, str]:
        """What a container's processes find in theirs: of ours nothing but how to find the code."""
        fields = {"metadata.name": self.name, "spec.nodeName": self.node_name}
        variables: dict[str, str] = {}
        for entry in container.get("env", ()):
            if "value" in entry:
                variables[entry["name"]] = expanded(entry["value"], variables)
            else:
                variables[entry["name"]] = fields[entry["valueFrom"]["fieldRef"]["fieldPath"]]
        return variables

    def command(self, container: Mapping[str, Any]) -> list[str]:
        """What it runs: what its template names, or the image's entrypoint, with the template's arguments."""
        variables = self.environment(container)
        program = container.get("command", PROGRAM)
        return [*program, *(expanded(argument, variables) for argument in container.get("args", ()))]

    def start(self, name: str) -> "subprocess.Popen[bytes]":
        """Start a container of it; its output goes to NAME.log in its folder."""
        container = self.container(name)
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                self._confined(container, self.command(container)),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={"PATH": os.environ["PATH"]},
            )  # fmt: skip
        self.processes[name] = process
        return process

    def run_init(self, name: str) -> tuple[int, str]:
        """Run a container of it to its end; its exit code and what it said."""
        container = self.container(name)
        done = subprocess.run(
            self._confined(container, self.command(container)),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env={"PATH": os.environ["PATH"]}, timeout=120, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout

    def stop(self, name: str) -> int:
        """SIGTERM, and its exit code if it ends within what the template grants beside preStop."""
        container, process = self.container(name), self.processes.pop(name)
        (_, before_s) = container["lifecycle"]["preStop"]["exec"]["command"]
        process.terminate()
        return process.wait(self.spec["terminationGracePeriodSeconds"] - float(before_s))

    def log(self, name: str = "node") -> str:
        """What a container said."""
        return (self.folder / f"{name}.log").read_text()

    def probe(self, kind: str, name: str = "node") -> int:
        """A probe as the kubelet makes it, by the pod's address; the status, 0 without an answer."""
        container = self.container(name)
        asked = container[f"{kind}Probe"]["httpGet"]
        port = {port["name"]: port["containerPort"] for port in container["ports"]}[asked["port"]]
        return self.cluster.status(f"http://{self.address}:{port}{asked['path']}")

    def cut(self, *, off: bool) -> None:
        """Take its link down, or up again."""
        ip("-n", SWITCH, "link", "set", self.link, "down" if off else "up")

    # --- what a kubelet does ---------------------------------------------------------------------------

    def _confined(self, container: Mapping[str, Any], command: Sequence[str]) -> list[str]:
        root = self.folder / "root"
        lines = ["set -e", f"mount -t tmpfs -o mode=755 tmpfs {root}"]
        folders = {f"/{name}": f"/{name}" for name in SYSTEM} | {sys.base_prefix: sys.base_prefix}
        for path, target in (folders | {sys.prefix: ENVIRONMENT, str(ROOT): SOURCE}).items():
            if Path(path).is_dir():
                lines += _bound(path, f"{root}{target}", is_read_only=True)
        lines += [f"cp /{path} {root}/{path}" for path in SYSTEM_FILES if Path(f"/{path}").is_file()]
        lines += [f"touch {root}/etc/hosts {root}/etc/resolv.conf"]
        lines += [f"mkdir -p {root}/proc {root}/dev", f"mount --rbind /proc {root}/proc"]
        lines += [f"mount --rbind /dev {root}/dev"]
        lines += [f"mount --bind {self.cluster.hosts} {root}/etc/hosts"]
        lines += [f"mount --bind {self.cluster.resolver} {root}/etc/resolv.conf"]
        variables = self.environment(container)
        for mount in container["volumeMounts"]:
            source = self._volume(mount["name"])
            if "subPathExpr" in mount:
                source = source / expanded(mount["subPathExpr"], variables)
            target = f"{root}{mount['mountPath']}"
            lines += _bound(str(source), target, is_read_only=mount.get("readOnly", False))
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        lines.append(f"mount -o remount,ro,bind {root}")
        user = {**self.spec["securityContext"], **container["securityContext"]}
        environment = [f"{name}={text}" for name, text in variables.items()]
        environment += [f"PYTHONPATH={SOURCE}", "PATH=/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE=1"]
        lines.append('exec "$@"')
        return [
            *("ip", "netns", "exec", self.namespace, "unshare", "--mount", "--propagation", "private"),
            *("sh", "-c", "\n".join(lines), "sh"),
            *(
                "chroot",
                f"--userspec={user['runAsUser']}:{user['runAsGroup']}",
                f"--groups={user['fsGroup']}",
            ),
            *(str(root), "env", "-i", *environment, *command),
        ]

    def _volume(self, name: str) -> Path:
        """The folder of a volume, as it is before its container starts."""
        claims = self.workload["spec"].get("volumeClaimTemplates", ())
        if any(claim["metadata"]["name"] == name for claim in claims):
            return self._kept(name)
        (volume,) = [volume for volume in self.spec["volumes"] if volume["name"] == name]
        if volume.keys() & {"ephemeral", "persistentVolumeClaim"}:
            return self._kept(name)
        folder = self.folder / "volumes" / name
        if "emptyDir" in volume:
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o777)
            return folder
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for path, data, mode in self._contents(volume):
            target = folder / path
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(data)
            # fsGroup: the group may read, whatever the mode says.
            os.chown(target, 0, self.spec["securityContext"]["fsGroup"])
            target.chmod(mode | 0o440)
        return folder

    def share(self, name: str, other: "Pod", theirs: str) -> None:
        """Have a claim of another pod's as one of its own, as two pods have it one after the other."""
        folder = self.folder / "claims" / name
        folder.parent.mkdir(exist_ok=True)
        folder.symlink_to(other.folder / "claims" / theirs)

    def _kept(self, name: str) -> Path:
        """A claim's: whose group is fsGroup, and who may write."""
        folder = self.folder / "claims" / name
        if not folder.exists():
            folder.mkdir(parents=True)
            os.chown(folder, 0, self.spec["securityContext"]["fsGroup"])
            folder.chmod(0o2775)
        return folder

    def _contents(self, volume: Mapping[str, Any]) -> Iterator[tuple[str, bytes, int]]:
        if "configMap" in volume:
            source = volume["configMap"]
            found = self.cluster.find("ConfigMap", source["name"])
            assert found is not None or source.get("optional"), f"no ConfigMap {source['name']}"
            for key, text in (found or {}).get("data", {}).items():
                yield key, text.encode(), source["defaultMode"]
            return
        for one in volume["projected"]["sources"]:
            found = self.cluster.find("Secret", one["secret"]["name"])
            assert found is not None, f"no Secret {one['secret']['name']}: the pod would wait"
            for item in one["secret"]["items"]:
                data = base64.b64decode(found["data"][item["key"]])
                yield item["path"], data, volume["projected"]["defaultMode"]


def _bound(source: str, target: str, *, is_read_only: bool) -> list[str]:
    lines = [f"mkdir -p {target}", f"mount --bind {source} {target}"]
    return [*lines, f"mount -o remount,ro,bind {target}"] if is_read_only else lines


class Cluster:
    """Pods on one bridge, and the objects that they find."""

    def __init__(self, folder: Path, rendered: Rendered) -> None:
        self.folder = folder
        self.objects = list(rendered.objects)
        self.pods: dict[str, Pod] = {}
        self.hosts, self.resolver = folder / "hosts", folder / "resolv.conf"
        self._made: list[str] = []

    def __enter__(self) -> "Cluster":
        if os.geteuid() != 0:
            pytest.fail("pods are made of namespaces: run this as root", pytrace=False)
        self.folder.chmod(0o755)
        self.hosts.write_text("127.0.0.1 localhost\n")
        self.resolver.write_text(
            "nameserver 127.0.0.1\nsearch p2pledger.svc.cluster.local svc.cluster.local cluster.local\n"
        )
        self._namespace(SWITCH)
        ip("-n", SWITCH, "link", "add", "br0", "type", "bridge")
        ip("-n", SWITCH, "address", "add", f"{SUBNET}.254/24", "dev", "br0")
        ip("-n", SWITCH, "link", "set", "br0", "up")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        processes = [process for pod in self.pods.values() for process in pod.processes.values()]
        for process in processes:
            process.terminate()
        for process in processes:
            with suppress(subprocess.TimeoutExpired):
                process.wait(20)
            process.kill()
            process.wait()
        for name in reversed(self._made):
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)

    def _namespace(self, name: str) -> None:
        subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)
        ip("netns", "add", name)
        self._made.append(name)
        ip("-n", name, "link", "set", "lo", "up")

    def add(self, name: str, workload: dict[str, Any], node_name: str = "node") -> Pod:
        """A pod of a workload, with its link. Nothing runs in it yet."""
        number = len(self.pods) + 1
        folder = self.folder / name
        (folder / "root").mkdir(parents=True)
        folder.chmod(0o755)
        pod = Pod(self, name, workload, number, node_name, folder)
        self._namespace(pod.namespace)
        ends = (pod.link, "type", "veth", "peer", "name", "eth0", "netns", pod.namespace)
        ip("-n", SWITCH, "link", "add", *ends)
        ip("-n", SWITCH, "link", "set", pod.link, "master", "br0", "up")
        ip("-n", pod.namespace, "address", "add", f"{pod.address}/24", "dev", "eth0")
        ip("-n", pod.namespace, "link", "set", "eth0", "up")
        self.pods[name] = pod
        return pod

    def resolve(self, service: str, namespace: str) -> None:
        """Have the cluster's DNS know all pods by their names below a headless Service.

        And each other Service, by the address of one of its pods: nothing here carries its own address on.
        """
        lines = [
            f"{pod.address} {pod.name}.{service}.{namespace}.svc {pod.name}.{service}"
            for pod in self.pods.values()
        ]
        for one in self.objects:
            if one["kind"] == "Service" and one["spec"].get("clusterIP") != "None":
                name, selector = one["metadata"]["name"], {"matchLabels": one["spec"]["selector"]}
                chosen = [
                    pod.address
                    for pod in self.pods.values()
                    if matches(selector, template(pod.workload)["metadata"]["labels"])
                ]
                lines += [f"{address} {name}.{namespace}.svc {name}" for address in chosen[:1]]
        # In place: the file is mounted in pods that run.
        self.hosts.write_text("127.0.0.1 localhost\n" + "\n".join(lines) + "\n")

    def find(self, kind: str, name: str) -> dict[str, Any] | None:
        """An object that was applied."""
        return next(
            (one for one in self.objects if (one["kind"], one["metadata"]["name"]) == (kind, name)), None
        )

    def status(self, url: str) -> int:
        """The status that a URL answers to somebody on the bridge; 0 without an answer."""
        return self._curl("--output", "/dev/null", "--write-out", "%{http_code}", url)[1]

    def get(self, url: str) -> Any:
        """The JSON that a URL answers."""
        return json.loads(self._curl("--fail", url)[0])

    def _curl(self, *arguments: str) -> tuple[str, int]:
        done = self.run("curl", "--silent", "--max-time", "5", *arguments)
        return done.stdout, int(done.stdout) if done.stdout.isdigit() else 0

    def run(self, *command: str, timeout_s: float = 60) -> "subprocess.CompletedProcess[str]":
        """A command with the cluster's names, on the bridge: as a pod that is nobody's."""
        files = {self.hosts: "/etc/hosts", self.resolver: "/etc/resolv.conf"}
        mounts = [f"mount --bind {source} {target}" for source, target in files.items()]
        script = "\n".join(["set -e", *mounts, 'exec "$@"'])
        return subprocess.run(
            ["ip", "netns", "exec", SWITCH, "unshare", "--mount", "sh", "-c", script, "sh", *command],
            capture_output=True, text=True, timeout=timeout_s, check=False,
        )  # fmt: skip

    @contextmanager
    def patience(self, what: str, seconds: float) -> Iterator["Patience"]:
        """Looks again and again until the time is over; then it fails with every log's end."""
        yield Patience(self, what, time.monotonic() + seconds)


@dataclass(frozen=True)
class Patience:
    """Until when something is waited for."""

    cluster: Cluster
    what: str
    until: float

    def again(self) -> None:
        """Wait a little. Fails when the time is over."""
        if time.monotonic() > self.until:
            logs = {name: pod.log()[-1_500:] for name, pod in self.cluster.pods.items() if pod.processes}
            said = "\n".join(f"{name}: {log}" for name, log in logs.items())
            pytest.fail(f"{self.what}: not in time\n{said}")
        time.sleep(POLL_S)
