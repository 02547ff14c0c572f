"""What a CNI call says about the pod: the inputs of a decision, and the errors for wrong ones."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from multidict import CIMultiDict

from ipledger.cni.errors import CODE_OF, CniError, Code
from ipledger.cni.inputs import PodInputs
from ipledger.cni.request import CniRequest, cni_version_of, parse
from ipledger.events.facts import Owner, Pod

POOL = "ipam.spidernet.io/ippool"
NETWORKS = "k8s.v1.cni.cncf.io/networks"
DEFAULT_NETWORK = "v1.multus-cni.io/default-network"
DEEP = "[" * 50_000 + "]" * 50_000
CAPABILITY = "io.kubernetes.cri.pod-annotations"


def call(
    config: dict[str, Any] | str, interface: str = "eth0", command: str = "ADD", args: str = ""
) -> CniRequest:
    headers = {
        "Cni-Command": command,
        "Cni-Containerid": "sandbox",
        "Cni-Netns": "/var/run/netns/x",
        "Cni-Ifname": interface,
        "Cni-Args": args or "K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-0;K8S_POD_UID=u1",
    }
    if isinstance(config, dict):
        config = json.dumps({"cniVersion": "1.0.0", "name": "net", **config})
    return parse(CIMultiDict(headers), config.encode())


def runtime(annotations: Any) -> dict[str, Any]:
    return {"runtimeConfig": {CAPABILITY: annotations}}


def cni(**args: Any) -> dict[str, Any]:
    return {"args": {"cni": args}}


READ: dict[str, tuple[dict[str, Any], PodInputs]] = {
    "nothing": ({}, PodInputs()),
    "annotations from the runtime": (
        runtime({POOL: "a", "ipledger.io/static-ip": "10.0.0.9"}),
        PodInputs(annotations={POOL: "a", "ipledger.io/static-ip": "10.0.0.9"}),
    ),
    "a runtime writes no annotations as null": (runtime(None), PodInputs()),
    "null all over": (
        {"runtimeConfig": None, **cni(labels=None, annotations=None, owner=None, network=None)},
        PodInputs(),
    ),
    "args is null": ({"args": None}, PodInputs()),
    "args.cni is null": ({"args": {"cni": None}}, PodInputs()),
    "args for others": ({"args": {"mesos": {"labels": 7}}}, PodInputs()),
    "capabilities of others": ({"runtimeConfig": {"portMappings": [7]}}, PodInputs()),
    "labels as the conventions have them": (
        cni(labels=[{"key": "app", "value": "web"}, {"key": "tier", "value": "front"}]),
        PodInputs(labels={"app": "web", "tier": "front"}),
    ),
    "labels as a map": (cni(labels={"app": "web"}), PodInputs(labels={"app": "web"})),
    "annotations as a list": (
        cni(annotations=[{"key": POOL, "value": "a"}]),
        PodInputs(annotations={POOL: "a"}),
    ),
    "namespace and node": (
        cni(
            namespaceLabels={"env": "prod"},
            namespaceAnnotations={"ipam.spidernet.io/default-ipv4-ippool": '["a"]'},
            nodeLabels=[{"key": "rack", "value": "r1"}],
        ),
        PodInputs(
            namespace_labels={"env": "prod"},
            namespace_annotations={"ipam.spidernet.io/default-ipv4-ippool": '["a"]'},
            node_labels={"rack": "r1"},
        ),
    ),
    "owner": (
        cni(owner={"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "web", "uid": "u9"}),
        PodInputs(owner=Owner("apps/v1", "StatefulSet", "web", "u9")),
    ),
    "owner without uid": (
        cni(owner={"apiVersion": "v1", "kind": "Thing", "name": "web"}),
        PodInputs(owner=Owner("v1", "Thing", "web")),
    ),
    "the runtime's annotations win, key by key": (
        {**runtime({POOL: "runtime"}), **cni(annotations={POOL: "args", f"{POOL}s": "args"})},
        PodInputs(annotations={POOL: "runtime", f"{POOL}s": "args"}),
    ),
    "annotations that the engine does not read stay here": (
        {
            **runtime({"kubectl.kubernetes.io/last-applied-configuration": "x" * 100_000}),
            **cni(
                annotations={"ipam.spidernet.iox/ippool": "a", "ipam.spidernet.io": "a"},
                namespaceAnnotations={"kubectl.kubernetes.io/last-applied-configuration": "x"},
            ),
        },
        PodInputs(),
    ),
}


@pytest.mark.parametrize("case", READ)
def test_inputs_are_read(case: str) -> None:
    config, inputs = READ[case]
    assert call(config).inputs == inputs


def test_the_pod_is_the_one_that_cni_args_names() -> None:
    assert call({}).pod == Pod("shop", "web-0", "u1")


def test_without_names_in_cni_args_the_container_id_stands_for_the_pod() -> None:
    assert call({}, args="IgnoreUnknown=1").pod == Pod("", "sandbox", "sandbox")


@pytest.mark.parametrize("command", ["DEL", "CHECK"])
def test_wrong_inputs_do_not_keep_a_pod_from_being_deleted_or_checked(command: str) -> None:
    assert call(cni(labels=7), command=command).inputs == PodInputs()


TWO_LISTED = '[{"name":"a"},{"name":"b","namespace":"nets","interface":"sriov0"},{"name":"c"}]'

NETWORK: dict[str, tuple[str, dict[str, str], str]] = {
    # name: (interface, annotations, namespace/name of the network)
    "no annotation": ("eth0", {}, ""),
    "default network": ("eth0", {DEFAULT_NETWORK: "nets/vlan7"}, "nets/vlan7"),
    "default network without namespace": (
        "eth0",
        {DEFAULT_NETWORK: "vlan7"},
        "kube-system/vlan7",
    ),
    "default network in JSON": (
        "eth0",
        {DEFAULT_NETWORK: '[{"name":"vlan7","namespace":"nets"}]'},
        "nets/vlan7",
    ),
    "two default networks": ("eth0", {DEFAULT_NETWORK: "a/b,c/d"}, ""),
    "default network is not for net1": ("net1", {DEFAULT_NETWORK: "nets/vlan7"}, ""),
    "networks are not for eth0": ("eth0", {NETWORKS: "nets/vlan7"}, ""),
    "first unnamed": ("net1", {NETWORKS: TWO_LISTED}, "shop/a"),
    "named": ("sriov0", {NETWORKS: TWO_LISTED}, "nets/b"),
    "named entries count": ("net3", {NETWORKS: TWO_LISTED}, "shop/c"),
    "a named entry has no other name": ("net2", {NETWORKS: TWO_LISTED}, ""),
    "null in an entry": (
        "net1",
        {NETWORKS: '[{"name":"a","namespace":null,"interface":null}]'},
        "shop/a",
    ),
    "comma form": ("net2", {NETWORKS: "a, nets/b ,c@x"}, "nets/b"),
    "comma form, named": ("x", {NETWORKS: "a,nets/b,nets/c@x"}, "nets/c"),
    "not listed": ("net4", {NETWORKS: "a,b,c"}, ""),
    "empty": ("net1", {NETWORKS: ""}, ""),
    "broken JSON": ("net1", {NETWORKS: '[{"name":"a"'}, ""),
    "an object where a list should be": ("net1", {NETWORKS: '{"name":"a"}'}, ""),
    "an entry without name": ("net1", {NETWORKS: '[{"namespace":"a"}]'}, ""),
    "a number for a name": ("net1", {NETWORKS: '[{"name":5}]'}, ""),
    "not a name": ("net1", {NETWORKS: '[{"name":"A b"}]'}, ""),
    "a name without end": ("net1", {NETWORKS: json.dumps([{"name": "a" * 300}])}, ""),
    "too many parts": ("net1", {NETWORKS: "a/b/c"}, ""),
    "nested too deeply": ("net1", {NETWORKS: f'[{{"name":"a","x":{DEEP}}}]'}, ""),
    "one bad item spoils the list": ("net1", {NETWORKS: "a,,b"}, ""),
}


@pytest.mark.parametrize("case", NETWORK)
def test_the_network_of_an_interface_comes_from_the_annotations(case: str) -> None:
    interface, annotations, network = NETWORK[case]
    assert call(runtime(annotations), interface).inputs.network_name == network


def test_the_network_in_args_wins_over_the_annotations() -> None:
    config = {**runtime({DEFAULT_NETWORK: "nets/a"}), **cni(network="nets/b")}
    assert call(config).inputs.network_name == "nets/b"


WRONG: dict[str, tuple[dict[str, Any] | str, str]] = {
    # name: (configuration, how the message begins)
    "runtimeConfig": ({"runtimeConfig": []}, "runtimeConfig: [] is not valid: "),
    "pod annotations": (runtime("a"), f'runtimeConfig.{CAPABILITY}: "a" is not valid: '),
    "a pod annotation": (
        runtime({"ok": "x", POOL: ["a"]}),
        f'runtimeConfig.{CAPABILITY}["{POOL}"]: ["a"] is not valid: ',
    ),
    "args": ({"args": "K=V"}, 'args: "K=V" is not valid: '),
    "args.cni": ({"args": {"cni": 7}}, "args.cni: 7 is not valid: "),
    "labels": (cni(labels="app=web"), 'args.cni.labels: "app=web" is not valid: '),
    "a label": (cni(labels={"app": 7}), 'args.cni.labels["app"]: 7 is not valid: '),
    "a pair's value": (
        cni(labels=[{"key": "a", "value": "b"}, {"key": "app", "value": 7}]),
        "args.cni.labels[1].value: 7 is not valid: ",
    ),
    "a pair without value": (
        cni(nodeLabels=[{"key": "rack"}]),
        'args.cni.nodeLabels[0]: {"key":"rack"} is not valid: ',
    ),
    "annotations": (cni(annotations=7), "args.cni.annotations: 7 is not valid: "),
    "namespace labels": (cni(namespaceLabels=True), "args.cni.namespaceLabels: true is not "),
    "namespace annotations": (
        cni(namespaceAnnotations={"a.b": None}),
        'args.cni.namespaceAnnotations["a.b"]: null is not valid: ',
    ),
    "owner": (cni(owner="web"), 'args.cni.owner: "web" is not valid: '),
    "owner without kind": (
        cni(owner={"apiVersion": "v1", "name": "web"}),
        'args.cni.owner: {"apiVersion":"v1","name":"web"} is not valid: ',
    ),
    "owner's name": (
        cni(owner={"apiVersion": "v1", "kind": "Pod", "name": 7}),
        "args.cni.owner.name: 7 is not valid: ",
    ),
    "network": (cni(network=7), "args.cni.network: 7 is not valid: "),
    "network without namespace": (cni(network="a"), 'args.cni.network: "a" is not valid: '),
    "network of a hundred thousand characters": (
        cni(network="a" * 100_000),
        'args.cni.network: "aaa',
    ),
    "a key that comes twice": (
        '{"cniVersion":"1.0.0","args":{"cni":{"labels":{"a":7,"a":"b"}}}}',
        'args.cni.labels: {"a":"b"} is not valid: ',
    ),
    "not an object": ("[]", "network configuration: [] is not valid: "),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_type_is_refused_with_field_and_value(case: str) -> None:
    config, message = WRONG[case]
    with pytest.raises(CniError) as caught:
        call(config)
    assert caught.value.code == Code.INVALID_NETWORK_CONFIG
    assert str(caught.value).startswith(message)
    assert len(str(caught.value)) < 400


UNREADABLE: dict[str, str] = {
    "nothing": "",
    "half": '{"cniVersion": "1.0.0"',
    "a wrong type, then the end": '{"cniVersion": 7, "name": ',
    "nested too deeply": f'{{"cniVersion": "1.0.0", "x": {DEEP}}}',
    "a wrong type, then nested too deeply": f'{{"cniVersion": 7, "x": {DEEP}}}',
    "half of a surrogate pair": '{"cniVersion": "1.0.0", "name": "\\ud800"}',
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_what_cannot_be_decoded_is_said_to_be_so(case: str) -> None:
    with pytest.raises(CniError) as caught:
        call(UNREADABLE[case])
    assert caught.value.code == Code.DECODING_FAILURE
    assert cni_version_of(UNREADABLE[case].encode()) == "1.0.0"


def test_the_reference_lists_every_error_code() -> None:
    page = Path(__file__).parents[2] / "docs/reference/cni-configuration.md"
    rows = re.findall(r"^\| (\d+) \| (?:`(\w+)`)? ?\|", page.read_text(), re.MULTILINE)
    refusals = [(str(code), str(reason)) for reason, code in CODE_OF.items()]
    assert sorted(rows) == sorted([(str(int(code)), "") for code in Code] + refusals)
