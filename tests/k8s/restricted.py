"""Pod Security `restricted`, as its standard has it for all fields of a pod template. Nothing here is ours.

https://kubernetes.io/docs/concepts/security/pod-security-standards/, baseline and restricted, version 1.37.
"""

from collections.abc import Iterator, Mapping
from typing import Any

VOLUMES = {
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected",
    "secret",
}  # fmt: skip
SYSCTLS = {
    "kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.tcp_syncookies", "net.ipv4.ping_group_range", "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes", "net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem",
}  # fmt: skip
PROFILES = {"RuntimeDefault", "Localhost"}


def offences(spec: Mapping[str, Any]) -> Iterator[str]:
    """What a pod's spec does that `restricted` does not let it."""
    for key in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(key):
            yield key
    for volume in spec.get("volumes", ()):
        if not volume.keys() - {"name"} <= VOLUMES:
            yield f"volume {volume['name']}"
    pod = spec.get("securityContext", {})
    if any(one["name"] not in SYSCTLS for one in pod.get("sysctls", ())):
        yield "sysctls"
    kinds = ("initContainers", "containers", "ephemeralContainers")
    for container in (one for kind in kinds for one in spec.get(kind, ())):
        yield from (f"{container['name']}: {what}" for what in _of_container(container, pod))


def _of_container(container: Mapping[str, Any], pod: Mapping[str, Any]) -> Iterator[str]:
    own = container.get("securityContext", {})
    if own.get("privileged"):
        yield "privileged"
    if own.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation"
    capabilities = own.get("capabilities", {})
    if "ALL" not in capabilities.get("drop", ()):
        yield "capabilities are not dropped"
    if set(capabilities.get("add", ())) - {"NET_BIND_SERVICE"}:
        yield "capabilities are added"
    if own.get("runAsNonRoot", pod.get("runAsNonRoot")) is not True:
        yield "runAsNonRoot"
    if own.get("runAsUser", pod.get("runAsUser")) == 0:
        yield "runAsUser 0"
    if own.get("seccompProfile", pod.get("seccompProfile", {})).get("type") not in PROFILES:
        yield "seccompProfile"
    if own.get("procMount", "Default") != "Default":
        yield "procMount"
    if any(port.get("hostPort") for port in container.get("ports", ())):
        yield "hostPort"
    for level in (pod, own):
        if level.get("windowsOptions", {}).get("hostProcess"):
            yield "hostProcess"
        if level.get("appArmorProfile", {}).get("type", "RuntimeDefault") not in PROFILES:
            yield "appArmorProfile"
        options = level.get("seLinuxOptions", {})
        if options.get("user") or options.get("role"):
            yield "seLinuxOptions"
    handlers = [container.get(f"{probe}Probe", {}) for probe in ("startup", "liveness", "readiness")]
    handlers += container.get("lifecycle", {}).values()
    if any("host" in handler.get(way, {}) for handler in handlers for way in ("httpGet", "tcpSocket")):
        yield "a probe of another host"
