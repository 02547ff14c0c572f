"""Which Kubernetes cluster a role belongs to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ipledger.cli.errors import UsageError

IN_CLUSTER = "in-cluster"


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster, if there is one. Without a kubeconfig, it is the one that this pod runs in."""

    is_there: bool
    kubeconfig: Path | None = None


NO_CLUSTER = Cluster(False)


def parse_cluster(text: str) -> Cluster:
    """What `--kubeconfig` says: a file, `in-cluster`, or '' for no cluster. Raises `UsageError`."""
    if not text:
        return NO_CLUSTER
    if text == IN_CLUSTER:
        return Cluster(True)
    path = Path(text)
    if not path.is_file():
        raise UsageError(f"--kubeconfig: '{text}' is neither a file nor {IN_CLUSTER}")
    return Cluster(True, path)
