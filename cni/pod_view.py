"""The port to whoever knows more of a pod than the runtime says."""

from __future__ import annotations

from typing import Protocol

from ipledger.cni.request import CniRequest


class PodView(Protocol):
    """Completes an ADD by what the cluster knows of its pod."""

    async def completed(self, request: CniRequest) -> CniRequest:
        """The request with the pod's UID and inputs as the cluster has them.

        Raises `CniError`: the pod needs no address any more, or nobody can tell for now.
        """
        ...
