"""The admission webhook, registered at the real API server with a certificate of its own."""

from __future__ import annotations

import json
import signal
from typing import Any

import pytest
import yaml
from support.cluster.kubectl import Kubectl
from support.cluster.manifests import POOLS, pool, put, subnet
from support.cluster.pods import POLL_S, deployment, until_running
from support.cluster.site import Site
from support.program import until

BLUE = pool("blue", "10.81.0.0/16", "10.81.1.1-10.81.1.20")
FROM_BLUE = json.dumps({"ipv4": ["blue"]})


def refusal(kubectl: Kubectl, manifest: dict[str, Any]) -> str:
    """Why kubectl cannot apply a manifest."""
    done = kubectl.run("apply", "-f", "-", stdin=yaml.safe_dump(manifest))
    assert done.returncode != 0, done.stdout
    return done.stderr


@pytest.mark.parametrize(
    ("manifest", "field", "value"),
    [
        (pool("wrong", "10.81.0.0/16", "10.82.0.1"), "spec.ips", "10.82.0.1"),
        (pool("wrong", "10.81.0.0/33", "10.81.0.1"), "spec.subnet", "10.81.0.0/33"),
        (pool("wrong", "10.81.0.0/16", "10.81.0.9-10.81.0.1"), "spec.ips", "10.81.0.9-10.81.0.1"),
        (pool("wrong", "10.81.0.0/16", gateway="10.9.0.1"), "spec.gateway", "10.9.0.1"),
        (subnet("wrong", "10.81.0.0/16", "10.81.0.x"), "spec.ips", "10.81.0.x"),
    ],
)
def test_a_bad_manifest_is_refused_with_field_and_value(
    kubectl: Kubectl, installed: Site, manifest: dict[str, Any], field: str, value: str
) -> None:
    said = refusal(kubectl, manifest)
    assert "admission webhook" in said
    assert field in said
    assert value in said
    assert not kubectl.finds(manifest["kind"], "wrong")


def test_a_pool_with_addresses_of_another_is_refused(kubectl: Kubectl, installed: Site) -> None:
    put(kubectl, BLUE)
    said = refusal(kubectl, pool("second", "10.81.0.0/16", "10.81.1.20-10.81.1.30"))
    assert "10.81.1.20" in said
    assert "blue" in said


def test_a_change_that_would_strand_a_held_address_is_refused(
    kubectl: Kubectl, installed: Site, namespace: str
) -> None:
    put(kubectl, BLUE)
    kubectl.apply(deployment(namespace, "web", 1, ippool=FROM_BLUE))
    [pod] = until_running(kubectl, namespace, 1)
    said = refusal(kubectl, pool("blue", "10.81.0.0/16", "10.81.1.15-10.81.1.20"))
    assert pod.addresses[0] in said


def test_a_pool_in_use_cannot_be_deleted_and_an_empty_one_can(
    kubectl: Kubectl, installed: Site, namespace: str
) -> None:
    put(kubectl, BLUE)
    kubectl.apply(deployment(namespace, "web", 1, ippool=FROM_BLUE))
    until_running(kubectl, namespace, 1)
    done = kubectl.run("delete", POOLS, "blue", "--wait=false")
    assert done.returncode != 0
    assert "PoolInUse" in done.stderr or "in use" in done.stderr
    [found] = kubectl.get(POOLS)
    assert "deletionTimestamp" not in found["metadata"]

    kubectl("delete", "-n", namespace, "deployment/web")
    until(lambda: installed.allocations() == [], 60, POLL_S)
    kubectl("delete", POOLS, "blue", "--timeout=30s")


def test_without_the_webhook_deletions_fail_and_what_is_wrong_changes_nothing(
    kubectl: Kubectl, installed: Site
) -> None:
    put(kubectl, BLUE)
    assert installed.webhook.stop() == 0
    try:
        done = kubectl.run("delete", POOLS, "blue", "--wait=false")
        assert done.returncode != 0
        assert "deletions.ipledger.io" in done.stderr
        kubectl.apply(pool("wrong", "10.81.0.0/16", "10.82.0.1"))
    finally:
        installed.start_webhook()
    kubectl("wait", "--for=condition=Accepted=false", f"{POOLS}/wrong", "--timeout=30s")
    page = kubectl("describe", POOLS, "wrong")
    assert "InvalidField" in page
    events = kubectl("get", "events", "--field-selector", "involvedObject.name=wrong")
    assert "Warning" in events
    assert "10.82.0.1" in events
    assert "wrong" not in installed.pools()
    kubectl("delete", POOLS, "wrong", "blue", "--timeout=30s")


def test_without_an_engine_deletions_fail_and_changes_pass_with_a_warning(
    kubectl: Kubectl, installed: Site
) -> None:
    put(kubectl, BLUE)
    [engine] = installed.replicas.engines
    engine.send(signal.SIGSTOP)
    try:
        done = kubectl.run("delete", POOLS, "blue", "--wait=false")
        assert done.returncode != 0
        assert "may be in use" in done.stderr
        late = yaml.safe_dump(pool("late", "10.81.0.0/16", "10.81.2.1"))
        done = kubectl.run("apply", "-f", "-", stdin=late)
        assert done.returncode == 0
        assert "Warning: " in done.stderr
    finally:
        engine.send(signal.SIGCONT)
    kubectl("wait", "--for=condition=Accepted", f"{POOLS}/late", "--timeout=60s")
    assert installed.pools()["late"].total == 1
