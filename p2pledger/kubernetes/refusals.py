"""Why `p2pledger k8s` does not do what it was asked for. Floor 9."""

from enum import StrEnum


class Refusal(StrEnum):
    """Stable codes, for scripts; docs/kubernetes.md lists them."""

    OTHER_DEPLOYMENT = "other_deployment"
    """The directory holds keys of a deployment that differs from the one asked for."""
    DIRECTORY_TAKEN = "directory_taken"
    """The directory holds something else."""
    KEYS_EXIST = "keys_exist"
    """There are keys already where some were to be written."""
    NO_MANIFESTS = "no_manifests"
    """The manifests to build on are not where they were said to be."""
    NO_DIGEST = "no_digest"
    """An overlay for earnest use has to name its image by digest."""
    NOT_A_HOME = "not_a_home"
    """A home lacks what a pod needs of it."""
    FIRST_START_NOT_PERMITTED = "first_start_not_permitted"
    """There is no guard, and nothing permits to make one."""


class Refused(Exception):
    """It was not done. Nothing was changed."""

    def __init__(self, code: Refusal, why: str, cure: str) -> None:
        super().__init__(f"{code.value}: {why}; {cure}")
        self.code, self.why, self.cure = code, why, cure
