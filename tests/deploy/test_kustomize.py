"""The kustomize base and its overlays, built by the real kubectl. What the chart renders is theirs.

IPLEDGER_UPDATE_SNAPSHOTS=1 writes the rendered files anew.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.helm import render

FOLDER = Path(__file__).parents[2] / "deploy/kustomize"
UPDATE = os.environ.get("IPLEDGER_UPDATE_SNAPSHOTS") == "1"
HEAD = "# Rendered from deploy/chart/ipledger by tests/deploy/test_kustomize.py; change it there.\n"

BASE: dict[str, Any] = {"webhook": {"enabled": False}}
WITH_WEBHOOK = BASE | {"webhook": {"tls": {"certManager": True}}}


def rendered(values: dict[str, Any], only: str = "") -> str:
    """The chart's objects as one text, of all templates or of one."""
    texts = [
        text for name, text in sorted(render(values).items()) if name.endswith(only or ".yaml")
    ]
    documents = [one for text in texts for one in yaml.safe_load_all(text) if one]
    for document in documents:
        labels = document["metadata"]["labels"]
        labels["app.kubernetes.io/managed-by"] = "kustomize"
        del labels["helm.sh/chart"]
        template = document.get("spec", {}).get("template", {})
        for name in ("app.kubernetes.io/managed-by", "helm.sh/chart"):
            template.get("metadata", {}).get("labels", {}).pop(name, None)
    return HEAD + yaml.safe_dump_all(documents, sort_keys=False, width=100)


def build(overlay: str) -> list[dict[str, Any]]:
    """What kubectl makes of a folder."""
    command = ["kubectl", "kustomize", str(FOLDER / overlay)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return list(yaml.safe_load_all(done.stdout))


@pytest.mark.parametrize(
    ("file", "values", "only"),
    [
        ("base/ipledger.yaml", BASE, ""),
        ("overlays/webhook/webhook.yaml", WITH_WEBHOOK, "webhook.yaml"),
    ],
)
def test_files_are_what_the_chart_renders(file: str, values: dict[str, Any], only: str) -> None:
    text = rendered(values, only)
    if UPDATE:
        (FOLDER / file).write_text(text)
    assert (FOLDER / file).read_text() == text


def test_the_base_has_the_definitions_and_every_process() -> None:
    found = build("base")
    kinds = [one["kind"] for one in found]
    assert kinds.count("CustomResourceDefinition") == 4
    workloads = {
        one["metadata"]["name"]
        for one in found
        if one["kind"] in ("StatefulSet", "DaemonSet", "Deployment")
    }
    assert workloads == {f"ipledger-{c}" for c in ("nats", "engine", "agent", "controller")}
    assert "Secret" not in kinds


def test_the_webhook_comes_with_its_overlay() -> None:
    kinds = {one["kind"] for one in build("overlays/webhook")}
    more = kinds - {one["kind"] for one in build("base")}
    assert more == {"ValidatingWebhookConfiguration", "Certificate", "Issuer"}


def test_a_single_machine_has_one_of_each_and_no_budget() -> None:
    found = build("overlays/single")
    sets = {one["metadata"]["name"]: one for one in found if one["kind"] == "StatefulSet"}
    replicas = [one["spec"]["replicas"] for one in found if "replicas" in one.get("spec", {})]
    assert replicas == [1, 1, 1]
    engine = sets["ipledger-engine"]["spec"]["template"]["spec"]["containers"][0]
    assert "--replicas=1" in engine["args"]
    assert "--name=$(POD_NAME)" in engine["args"]
    assert "PodDisruptionBudget" not in {one["kind"] for one in found}
    (conf,) = [one["data"]["nats.conf"] for one in found if one["kind"] == "ConfigMap"]
    assert "cluster" not in conf
    assert 'include "accounts.conf"' in conf
    assert "sync_interval: always" in conf
