"""Which application a pod belongs to: the key by which its places and its pools are found."""

from __future__ import annotations

from typing import NamedTuple

from ipledger.events.facts import Application, Owner

MACHINES = ("VirtualMachine", "VirtualMachineInstance")
"""A virtual machine of KubeVirt, and its running instance."""


class ApplicationKey(NamedTuple):
    """Which application. A virtual machine and its running instance are one.

    The version of its API is not part of it: a cluster may serve one object in several.
    """

    group: str
    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


def application_key(api_version: str, kind: str, namespace: str, name: str) -> ApplicationKey:
    """The key of an application. The core group, whose `apiVersion` has no slash, is ''."""
    group = api_version.rpartition("/")[0]
    return ApplicationKey(group, MACHINES[0] if kind in MACHINES else kind, namespace, name)


def key_of(application: Application) -> ApplicationKey:
    """The key of an application that is known."""
    return application_key(
        application.api_version, application.kind, application.namespace, application.name
    )


def key_of_owner(owner: Owner, namespace: str) -> ApplicationKey:
    """The key of the application that owns a pod in `namespace`."""
    return application_key(owner.api_version, owner.kind, namespace, owner.name)
