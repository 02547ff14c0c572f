"""The port to whoever knows more of a pod than the runtime says."""

from __future__ import annotations

from typing import Protocol

from ipledger.cni.request import CniRequest


class PodView(Protocol):
    """What the cluster knows of pods: it completes ADDs, and says which pods are over."""

    async def completed(self, request: CniRequest) -> CniRequest:
        """The request with the pod's UID and inputs as the cluster has them.

        Raises `CniError`: the pod needs no address any more, or nobody can tell for now.
        """
        ...

    async def has_ended(self, request: CniRequest) -> bool:
        """Whether the pod that a DEL names by its UID needs no address any more, for certain."""
        ...
