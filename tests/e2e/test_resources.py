"""What the real API server makes of the resource definitions and of manifests."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml
from support.cluster.kubectl import Kubectl

from ipledger.kube.resources import POOL_KIND, RESERVATION_KIND, SUBNET_KIND

MANIFESTS = Path(__file__).parents[1] / "scenario/manifests"
KINDS = ("spiderippools", "spidersubnets", "spiderreservedips", "spiderendpoints")
READ = (POOL_KIND, SUBNET_KIND, RESERVATION_KIND)
POOL = """
apiVersion: spiderpool.spidernet.io/v2beta1
kind: SpiderIPPool
metadata: {name: printed}
spec: {ipVersion: 4, subnet: 10.70.0.0/16, ips: [10.70.0.10-10.70.0.20]}
"""


def ours() -> list[str]:
    """The documents of our kinds."""
    texts = [
        text
        for file in sorted(MANIFESTS.glob("*.yaml"))
        for text in re.split(r"^---$", file.read_text(), flags=re.MULTILINE)
    ]
    return [text for text in texts if yaml.safe_load(text)["kind"] in READ]


@pytest.mark.parametrize("kind", KINDS)
def test_definitions_are_accepted_and_explained(kubectl: Kubectl, kind: str) -> None:
    (crd,) = [one for one in kubectl.get("crd") if one["spec"]["names"]["plural"] == kind]
    conditions = {one["type"]: one["status"] for one in crd["status"]["conditions"]}
    assert conditions["Established"] == conditions["NamesAccepted"] == "True"
    assert "NonStructuralSchema" not in conditions
    assert "FIELDS:" in kubectl("explain", kind)


def test_fields_are_explained_with_our_descriptions(kubectl: Kubectl) -> None:
    text = " ".join(kubectl("explain", "spiderippools.spec.multusName").split())
    assert "Serve only interfaces of these NetworkAttachmentDefinitions" in text


@pytest.mark.parametrize("text", ours(), ids=lambda text: yaml.safe_load(text)["metadata"]["name"])
def test_manifests_of_the_scenarios_are_accepted(kubectl: Kubectl, text: str) -> None:
    unknown = re.search(r"# expect: refused (spec\.excludedIPs)", text)
    done = kubectl.run("apply", "--dry-run=server", "--validate=true", "-f", "-", stdin=text)
    if unknown:
        assert unknown[1].partition(".")[2] in done.stderr
    else:
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ("{ipVersion: 5, subnet: 10.70.0.0/16}", "spec.ipVersion"),
        ("{ips: [10.70.0.1]}", "spec.subnet"),
        ("{subnet: 10.70.0.0/16, routes: [{dst: 10.0.0.0/8}]}", "spec.routes.gw"),
        ("{subnet: 10.70.0.0/16, default: 'yes'}", "spec.default"),
    ],
)
def test_specs_of_wrong_shape_are_refused_by_their_field(
    kubectl: Kubectl, change: str, field: str
) -> None:
    text = re.sub(r"spec: .*", f"spec: {change}", POOL)
    done = kubectl.run("apply", "--validate=false", "-f", "-", stdin=text)
    assert done.returncode != 0
    assert field in done.stderr


def test_columns_of_pools_are_printed_from_spec_and_status(kubectl: Kubectl) -> None:
    kubectl.apply(POOL)
    status = {"status": {"allocatedIPCount": 3, "totalIPCount": 11}}
    path = "/apis/spiderpool.spidernet.io/v2beta1/spiderippools/printed"
    found = json.loads(kubectl("get", "--raw", path))
    kubectl("replace", "--raw", f"{path}/status", "-f", "-", stdin=json.dumps(found | status))

    header, row = (line.split() for line in kubectl("get", "sp", "printed").splitlines())
    shown = dict(zip(header, row, strict=True))
    assert shown == {
        "NAME": "printed",
        "VERSION": "4",
        "SUBNET": "10.70.0.0/16",
        "ALLOCATED-IP-COUNT": "3",
        "TOTAL-IP-COUNT": "11",
        "DEFAULT": "false",
    }
    kubectl("delete", "sp", "printed")


def test_status_cannot_be_changed_with_the_spec(kubectl: Kubectl) -> None:
    kubectl.apply(POOL.rstrip() + "\nstatus: {allocatedIPCount: 7}\n")
    (pool,) = [p for p in kubectl.get("sp") if p["metadata"]["name"] == "printed"]
    assert pool.get("status", {}) == {}
    kubectl("delete", "sp", "printed")
