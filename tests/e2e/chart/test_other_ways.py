"""The other ways of docs/how-to/install.md: with kustomize, and on a single machine."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from support.cluster.installation import NAMESPACE, PAGE, POOL_NAME, ROOT, Installation, step
from support.cluster.kubectl import Kubectl, create_namespace
from support.cluster.manifests import POOLS
from support.cluster.pods import deployment, until_running
from support.document import blocks


@pytest.fixture(autouse=True)
def single(operator: Installation, kubectl: Kubectl) -> Iterator[None]:
    """A cluster with one machine for whoever may choose."""
    others = [machine.name for machine in operator.machines[1:]]
    kubectl("cordon", *others)
    operator.do("namespace", "keys")
    yield
    kubectl("uncordon", *others)
    kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--timeout=120s")


def serve(operator: Installation, kubectl: Kubectl, namespace: str) -> None:
    """Give addresses to pods, and take them back."""
    operator.pool()
    create_namespace(kubectl, namespace)
    kubectl.apply(deployment(namespace, "web", 3))
    until_running(kubectl, namespace, 3)
    operator.assert_agrees(namespace)
    kubectl("delete", "namespace", namespace, "--wait=false")
    operator.wait_no_pods()


def test_the_base_is_accepted_but_for_what_came_later(operator: Installation) -> None:
    done = operator.shell.run(step("base").strip() + " --dry-run=server")
    unknown = re.findall(r'no matches for kind "(\w+)" in version "(\S+)"', done.stderr)
    assert set(unknown) == {("PodDisruptionBudget", "policy/v1")}, done.stderr
    assert "statefulset.apps/ipledger-engine serverside-applied" in done.stdout


def test_an_overlay_of_the_one_for_a_single_machine_serves(
    operator: Installation, kubectl: Kubectl
) -> None:
    overlay = blocks(PAGE, "yaml")["With kustomize"][0]
    mine = operator.folder / "mine"
    mine.mkdir()
    from_here = overlay.replace("github.com/you/ipledger/deploy/kustomize/base", "../single")
    (operator.folder / "single").symlink_to(ROOT / "deploy/kustomize/overlays/single")
    (mine / "kustomization.yaml").write_text(from_here)
    operator.shell("kubectl apply --server-side --force-conflicts -k mine")
    operator.wait_ready()
    serve(operator, kubectl, "overlaid")
    kubectl("delete", POOLS, "--all", "--timeout=60s")
    operator.shell("kubectl delete --wait=false -k mine")
    kubectl("wait", "--for=delete", f"namespace/{NAMESPACE}", "--timeout=120s")
    kubectl("apply", "-k", str(ROOT / "deploy/crds"))  # of the whole run


def test_a_single_machine_has_one_of_each_and_a_pool_outlives_it_until_it_is_let_go(
    operator: Installation, kubectl: Kubectl
) -> None:
    operator.do("install", more=step("single").strip())
    operator.wait_ready()
    serve(operator, kubectl, "alone")
    (uninstall,) = [line for line in step("uninstall").splitlines() if line.startswith("helm")]
    operator.shell(uninstall)
    kubectl("delete", POOLS, POOL_NAME, "--wait=false")
    assert kubectl.finds(POOLS, POOL_NAME)
    operator.do("let go")
    assert not kubectl.finds(POOLS, POOL_NAME)
