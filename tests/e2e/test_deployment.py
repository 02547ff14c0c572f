"""What ships in deploy/, against the real API server: accepted, and with the rights it states."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from support.cluster.kubectl import Kubectl
from support.cluster.shipped import rights, shipped

ACCOUNT = "system:serviceaccount:ipledger:ipledger-"


@pytest.fixture(scope="module")
def installed(kubectl: Kubectl) -> Kubectl:
    """A cluster with the rights of the base."""
    kubectl.apply(*rights())
    return kubectl


@pytest.mark.parametrize(
    "one", shipped(), ids=lambda one: f"{one['kind']}-{one['metadata']['name']}"
)
def test_the_api_server_accepts_what_ships(installed: Kubectl, one: dict[str, Any]) -> None:
    if one["kind"] == "PodDisruptionBudget":  # policy/v1 came with Kubernetes 1.21
        one = {**one, "apiVersion": "policy/v1beta1"}
    text = yaml.safe_dump(one)
    done = installed.run("apply", "--dry-run=server", "--validate=true", "-f", "-", stdin=text)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("process", "verb", "resource", "may"),
    [
        ("agent", "watch", "pods", True),
        ("agent", "get", "replicasets.apps", True),
        ("agent", "delete", "pods", False),
        ("agent", "get", "secrets", False),
        ("agent", "list", "spiderippools.spiderpool.spidernet.io", False),
        ("controller", "watch", "spiderippools.spiderpool.spidernet.io", True),
        ("controller", "create", "spiderendpoints.spiderpool.spidernet.io", False),
        ("controller", "create", "events", True),
        ("controller", "delete", "pods", False),
        ("controller", "delete", "spidersubnets.spiderpool.spidernet.io", False),
        ("controller", "get", "secrets", False),
        ("engine", "get", "pods", False),
    ],
)
def test_each_process_may_do_what_its_role_says(
    installed: Kubectl, process: str, verb: str, resource: str, may: bool
) -> None:
    account = Kubectl(installed.kubeconfig, user=ACCOUNT + process)
    assert account.can(verb, resource, "--all-namespaces") is may


def test_only_the_controller_may_write_the_status(installed: Kubectl) -> None:
    resource = "spiderippools.spiderpool.spidernet.io"
    for process, may in (("controller", True), ("agent", False)):
        account = Kubectl(installed.kubeconfig, user=ACCOUNT + process)
        assert account.can("patch", resource, "--subresource=status") is may
