"""The chart, rendered by Helm's own engine."""

from __future__ import annotations

import base64
import inspect
import json
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import yaml
from support.helm import CHART, HelmError, lint, objects, render

from ipledger.cli.app import build
from ipledger.cli.catalogue import COMMANDS
from ipledger.cli.engine import engine as run_engine
from ipledger.events.embedded import find_server
from ipledger.events.keys import new_seed, public_key
from ipledger.events.nats_config import accounts
from ipledger.events.nats_roles import Role, User

DEFAULT = objects()
KEY = public_key(new_seed())
VARIANTS: dict[str, dict[str, Any]] = {
    "default": {},
    "external NATS": {"nats": {"url": "tls://a:4222,tls://b:4222", "keys": {"format": "creds"}}},
    "NATS that asks for no key": {
        "nats": {
            "url": "nats://a:4222",
            "keys": dict.fromkeys(("engine", "controller", "webhook", "agents"), ""),
        }
    },
    "probing": {"agent": {"probe": {"enabled": True, "interface": "eth1"}}},
    "keys on the nodes": {"nats": {"keys": {"nodeFile": "/etc/ipledger/node.nk"}}},
    "one of each": {
        "engine": {"replicas": 1, "logReplicas": 1},
        "nats": {"bundled": {"replicas": 1}},
    },
    "cert-manager": {"webhook": {"tls": {"certManager": True}}},
    "existing secrets": {
        "nats": {"bundled": {"secret": "mine"}, "keys": {"engine": "engine-nk"}},
        "webhook": {"tls": {"existingSecret": "certs", "caBundle": "Q0E="}},
        "image": {"pullSecrets": ["pull"]},
    },
    "monitored": {
        "podMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
        "prometheusRule": {"enabled": True, "labels": {"release": "prometheus"}},
        "dashboard": {"enabled": True},
    },
    "little": {"webhook": {"enabled": False}, "podDisruptionBudget": {"enabled": False}},
    "extra": {
        "agent": {"cni": {"force": True, "plugin": "macvlan", "link": "eth1"}, "extraArgs": ["-x"]},
        "engine": {"nodeSelector": {"ipam": "yes"}, "extraArgs": ["-x"]},
        "controller": {"nodeSelector": {"ipam": "yes"}, "extraArgs": ["-x"]},
    },
}
INSTALLER = {"folders", "install"}


def of_kind(found: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [one for one in found if one["kind"] == kind]


def workloads(found: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each component with the pod that it runs."""
    for kind in ("StatefulSet", "DaemonSet", "Deployment"):
        for one in of_kind(found, kind):
            component = one["metadata"]["labels"]["app.kubernetes.io/component"]
            yield component, one["spec"]["template"]["spec"]


def containers(pod: dict[str, Any]) -> list[dict[str, Any]]:
    return [*pod.get("initContainers", ()), *pod["containers"]]


def test_helm_has_nothing_to_say_against_the_chart() -> None:
    assert lint() == []


@pytest.mark.parametrize("values", VARIANTS.values(), ids=VARIANTS)
def test_every_object_is_labelled_and_has_a_place_and_a_name_of_its_own(
    values: dict[str, Any],
) -> None:
    found = objects(values, name="lab", namespace="network")
    for one in found:
        labels = one["metadata"]["labels"]
        assert labels["app.kubernetes.io/name"] == "ipledger"
        assert labels["app.kubernetes.io/instance"] == "lab"
        assert labels["app.kubernetes.io/part-of"] == "ipledger"
        is_of_cluster = one["kind"].startswith(("ClusterRole", "ValidatingWebhook"))
        assert ("namespace" in one["metadata"]) is not is_of_cluster
    names = [(one["kind"], one["metadata"]["name"]) for one in found]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("values", VARIANTS.values(), ids=VARIANTS)
def test_selectors_select_the_pods_of_their_own_component(values: dict[str, Any]) -> None:
    found = objects(values)
    labels = [
        one["spec"]["template"]["metadata"]["labels"] | {"statefulset.kubernetes.io/pod-name": ""}
        for one in found
        if "template" in one.get("spec", {})
    ]
    for one in found:
        selector = one.get("spec", {}).get("selector", {})
        selector = dict(selector.get("matchLabels", selector))
        if one["kind"] == "PodMonitor" or not selector or "selfSigned" in one["spec"]:
            continue
        selector.pop("statefulset.kubernetes.io/pod-name", None)
        assert len([pod for pod in labels if selector.items() <= pod.items()]) == 1, one["metadata"]


@pytest.mark.parametrize("values", VARIANTS.values(), ids=VARIANTS)
def test_processes_may_do_only_what_they_must(values: dict[str, Any]) -> None:
    for component, pod in workloads(objects(values)):
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in containers(pod):
            may = container["securityContext"]
            assert may["allowPrivilegeEscalation"] is False
            assert may["readOnlyRootFilesystem"] is True
            assert may["capabilities"]["drop"] == ["ALL"]
            is_root = {**pod["securityContext"], **may}.get("runAsUser") == 0
            becomes_user = container.get("command", [""])[0] == "setpriv"
            assert is_root == (
                component == "agent" and (container["name"] in INSTALLER or becomes_user)
            )
            assert is_root or {**pod["securityContext"], **may}["runAsNonRoot"] is True
            assert {"requests", "limits"} <= set(container["resources"])


def test_only_the_agent_and_the_controller_have_rights_and_none_is_a_wildcard() -> None:
    accounts = {one["metadata"]["name"]: one for one in of_kind(DEFAULT, "ServiceAccount")}
    assert set(accounts) == {"ipledger-engine", "ipledger-agent", "ipledger-controller"}
    assert accounts["ipledger-engine"]["automountServiceAccountToken"] is False
    bound = {s["name"] for b in of_kind(DEFAULT, "ClusterRoleBinding") for s in b["subjects"]}
    assert bound == {"ipledger-agent", "ipledger-controller"}
    for role in of_kind(DEFAULT, "ClusterRole"):
        for rule in role["rules"]:
            assert "*" not in [*rule["verbs"], *rule["resources"], *rule["apiGroups"]]
            assert "secrets" not in rule["resources"]
    for component, pod in workloads(DEFAULT):
        named = pod.get("serviceAccountName")
        assert named == (None if component == "nats" else f"ipledger-{component}")


@pytest.mark.skipif(os.geteuid() != 0, reason="to become another user needs root")
def test_an_agent_that_may_probe_is_the_same_user_with_one_capability_more() -> None:
    (agent,) = [
        p["containers"][0] for of, p in workloads(objects(VARIANTS["probing"])) if of == "agent"
    ]
    assert "--probe-interface=eth1" in agent["args"]
    given = agent["securityContext"]["capabilities"]["add"]
    bounds = ",".join(["-all", *(f"+{name.lower()}" for name in given)])
    container = ["setpriv", f"--bounding-set={bounds}", "--inh-caps=-all", "--no-new-privs"]
    *become, program = agent["command"]
    assert program == "ipledger"
    status = subprocess.run(
        [*container, *become, "cat", "/proc/self/status"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    has = dict(re.findall(r"^(\w+):\t(.*)$", status, re.MULTILINE))
    assert (has["Uid"], has["Gid"]) == ("\t".join(["65532"] * 4),) * 2
    sets = {int(has[f"Cap{name}"], 16) for name in ("Inh", "Prm", "Eff", "Bnd", "Amb")}
    assert sets == {1 << 13}, "CAP_NET_RAW"
    assert all("probe" not in a for _, p in workloads(DEFAULT) for a in p["containers"][0]["args"])


def test_the_agent_can_change_nothing_in_the_cluster() -> None:
    (role,) = [
        r for r in of_kind(DEFAULT, "ClusterRole") if r["metadata"]["name"].endswith("agent")
    ]
    assert {verb for rule in role["rules"] for verb in rule["verbs"]} == {"get", "list", "watch"}


def test_of_several_controllers_one_holds_the_lease_that_it_may_hold() -> None:
    found = objects({"controller": {"replicas": 3}})
    (role,) = of_kind(found, "Role")
    named = {name for rule in role["rules"] for name in rule.get("resourceNames", ())}
    (controller,) = of_kind(found, "Deployment")
    assert controller["spec"]["replicas"] == 3
    arguments = controller["spec"]["template"]["spec"]["containers"][0]["args"]
    assert f"--lease=ipledger/{named.pop()}" in arguments
    assert role["metadata"]["namespace"] == "ipledger"


def test_the_controller_may_write_endpoints_only_where_it_is_told_to() -> None:
    for values, may in (({}, False), ({"controller": {"endpoints": True}}, True)):
        found = objects(values)
        (role,) = [
            r for r in of_kind(found, "ClusterRole") if r["metadata"]["name"].endswith("controller")
        ]
        resources = {resource for rule in role["rules"] for resource in rule["resources"]}
        assert ("spiderendpoints" in resources) is may
        arguments = [
            a for _, p in workloads(found) for c in containers(p) for a in c.get("args", ())
        ]
        assert ("--endpoints" in arguments) is may


@pytest.mark.parametrize("on_loopback", [False, True])
def test_probes_ask_where_the_processes_listen(on_loopback: bool) -> None:
    for component, pod in workloads(objects({"httpOnLoopback": on_loopback})):
        for container in pod["containers"]:
            listens = [a for a in container.get("args", ()) if a.startswith("--http=")]
            if not listens:
                continue
            ask = container["readinessProbe"]["httpGet"]
            assert listens == [f"--http={'' if on_loopback else '$(POD_IP):'}{ask['port']}"], (
                component
            )
            assert ask.get("host") == ("127.0.0.1" if on_loopback else None)
            variables = [v["name"] for v in container["env"]]
            assert ("POD_IP" in variables) is not on_loopback


def test_metrics_on_loopback_are_not_monitored() -> None:
    with pytest.raises(HelmError, match="httpOnLoopback"):
        render({"httpOnLoopback": True, "podMonitor": {"enabled": True}})


def test_nothing_of_ours_waits_for_an_address_or_for_dns() -> None:
    for component, pod in workloads(DEFAULT):
        assert pod["hostNetwork"] is True, component
        for variable in (v for c in containers(pod) for v in c.get("env", ())):
            if "://" in variable.get("value", ""):
                assert re.search(r"\$\(IPLEDGER_NATS(_\d)?_SERVICE_HOST\):\d+", variable["value"])
    services = {one["metadata"]["name"] for one in of_kind(DEFAULT, "Service")}
    assert {"ipledger-nats", "ipledger-nats-0", "ipledger-nats-1", "ipledger-nats-2"} <= services


@pytest.mark.parametrize("replicas", [1, 3])
@pytest.mark.parametrize("password", ["secret", "7k", "1e9"])
def test_the_real_nats_server_accepts_its_configuration(
    tmp_path: Path, replicas: int, password: str
) -> None:
    found = objects({"nats": {"bundled": {"replicas": replicas}}})
    (conf,) = [c["data"]["nats.conf"] for c in of_kind(found, "ConfigMap")]
    assert "sync_interval: always" in conf
    (tmp_path / "nats.conf").write_text(conf)
    (tmp_path / "accounts.conf").write_text(accounts("default", {User(Role.ENGINE): (KEY,)}))
    (pod,) = [pod for component, pod in workloads(found) if component == "nats"]
    known = {"POD_NAME": "ipledger-nats-0", "ROUTES_PASSWORD": password}
    known |= {f"IPLEDGER_NATS_{i}_SERVICE_HOST": f"127.0.0.{i + 1}" for i in range(replicas)}
    for variable in pod["containers"][0]["env"]:
        if "value" in variable:
            value = re.sub(r"\$\((\w+)\)", lambda m: known[m[1]], variable["value"])
            known[variable["name"]] = value
    check = subprocess.run(
        [find_server(), "-t", "--config", str(tmp_path / "nats.conf")],
        env={**os.environ, **known},
        capture_output=True,
        text=True,
        check=False,
    )
    assert check.returncode == 0, check.stderr


def test_deletes_are_refused_while_nobody_can_judge_them() -> None:
    (configuration,) = of_kind(DEFAULT, "ValidatingWebhookConfiguration")
    policies = {
        operation: webhook["failurePolicy"]
        for webhook in configuration["webhooks"]
        for rule in webhook["rules"]
        for operation in rule["operations"]
    }
    assert policies == {"CREATE": "Ignore", "UPDATE": "Ignore", "DELETE": "Fail"}


def test_the_certificate_is_for_the_service_and_of_the_authority_that_is_named(
    tmp_path: Path,
) -> None:
    found = objects()  # each rendering makes another one
    (configuration,) = of_kind(found, "ValidatingWebhookConfiguration")
    (secret,) = [one for one in of_kind(found, "Secret") if "tls.crt" in one["data"]]
    bundles = {w["clientConfig"]["caBundle"] for w in configuration["webhooks"]}
    (tmp_path / "ca.pem").write_bytes(base64.b64decode(bundles.pop()))
    (tmp_path / "tls.pem").write_bytes(base64.b64decode(secret["data"]["tls.crt"]))
    verify = ["openssl", "verify", "-CAfile", "ca.pem", "-verify_hostname"]
    host = "ipledger-webhook.ipledger.svc"
    subprocess.run([*verify, host, "tls.pem"], cwd=tmp_path, check=True, capture_output=True)
    assert not bundles


@pytest.mark.parametrize("values", VARIANTS.values(), ids=VARIANTS)
def test_volumes_that_are_mounted_are_there(values: dict[str, Any]) -> None:
    for one in objects(values):
        if "template" not in one.get("spec", {}):
            continue
        pod = one["spec"]["template"]["spec"]
        claims = [c["metadata"]["name"] for c in one["spec"].get("volumeClaimTemplates", ())]
        there = {*claims, *(volume["name"] for volume in pod["volumes"])}
        mounted = {m["name"] for c in containers(pod) for m in c["volumeMounts"]}
        assert mounted == there


def test_processes_write_only_where_a_volume_is() -> None:
    (engine,) = [pod for component, pod in workloads(DEFAULT) if component == "engine"]
    mounts = [mount["mountPath"] for mount in engine["containers"][0]["volumeMounts"]]
    assert str(inspect.signature(run_engine).parameters["data"].default) in mounts
    (agent,) = [pod for component, pod in workloads(DEFAULT) if component == "agent"]
    mounts = [mount["mountPath"] for mount in agent["containers"][0]["volumeMounts"]]
    for flag in ("--data=", "--socket="):
        (path,) = [a for a in agent["containers"][0]["args"] if a.startswith(flag)]
        assert any(path.removeprefix(flag).startswith(mount) for mount in mounts)


@pytest.mark.parametrize("values", VARIANTS.values(), ids=VARIANTS)
def test_every_port_says_its_protocol(values: dict[str, Any]) -> None:
    # Without it a server-side apply fails, on Kubernetes whose schemas have no default for it.
    for one in objects(values):
        for port in [p for c in ports(one) for p in c if "port" in p or "containerPort" in p]:
            assert port["protocol"] == "TCP", one["metadata"]


def ports(one: dict[str, Any]) -> list[list[dict[str, Any]]]:
    """The lists of ports of a Service, or of a workload's containers."""
    if one["kind"] == "Service":
        return [one["spec"].get("ports", [])]
    if "template" not in one.get("spec", {}):
        return []
    return [c.get("ports", []) for c in containers(one["spec"]["template"]["spec"])]


def test_an_update_needs_no_node_beside_those_that_are_taken() -> None:
    (controller,) = of_kind(DEFAULT, "Deployment")
    assert controller["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}


def test_arguments_are_known_to_the_commands_that_are_there() -> None:
    app = build()
    known = {entry.name for entry in COMMANDS}
    checked = set[str]()
    for _, pod in workloads(objects({"agent": {"cni": {"force": True}}})):
        for container in containers(pod):
            arguments = container.get("args", [])
            words = [a for a in arguments if not a.startswith("-")]
            if " ".join(words) in known:
                app.parse_args([a.replace("$(POD_NAME)", "e-0") for a in arguments])
                checked.add(" ".join(words))
    assert "cni install" in checked


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"engin": {}}, "engin"),
        ({"engine": {"logReplicas": 2}}, "logReplicas"),
        ({"nats": {"url": "localhost"}}, "url"),
        ({"nats": {"keys": {"format": "password"}}}, "format"),
        ({"nats": {"keys": {"nodeFile": "node.nk"}}}, "nodeFile"),
        ({"nats": {"keys": {"webhook": ""}}}, "nats.keys.webhook"),
        ({"nats": {"bundled": {"secret": ""}}}, "secret"),
        ({"agent": {"cni": {"plugin": "calico"}}}, "plugin"),
        ({"webhook": {"tls": {"existingSecret": "mine"}}}, "caBundle"),
        ({"agent": {"runDir": "run"}}, "runDir"),
        ({"engine": {"storage": {"size": "big"}}}, "size"),
    ],
)
def test_wrong_values_are_refused_by_name(values: dict[str, Any], named: str) -> None:
    with pytest.raises(HelmError, match=named):
        render(values)


def test_every_process_of_ours_has_the_variables_that_were_given() -> None:
    wanted = {"name": "OTEL_EXPORTER_OTLP_ENDPOINT", "value": "http://collector:4318"}
    seen: set[str] = set()
    for component, pod in workloads(objects({"env": [wanted]})):
        for container in pod["containers"]:
            if component != "nats":
                seen.add(container["name"])
                assert wanted in container["env"]
    assert seen == {"engine", "agent", "controller", "webhook"}


def test_every_value_is_documented() -> None:
    text = (CHART.parents[2] / "docs/reference/chart-values.md").read_text()
    documented = set(re.findall(r"^\| `([\w.]+)` \|", text, re.MULTILINE))
    assert documented == set(leaves(yaml.safe_load((CHART / "values.yaml").read_text())))


def leaves(values: dict[str, Any], at: str = "") -> Iterator[str]:
    for name, value in values.items():
        if isinstance(value, dict) and value and name != "resources":
            yield from leaves(cast(dict[str, Any], value), f"{at}{name}.")
        else:
            yield f"{at}{name}"


def test_defaults_agree_with_those_of_the_command_line() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    (install,) = [
        c["args"]
        for _, pod in workloads(DEFAULT)
        for c in containers(pod)
        if c["name"] == "install"
    ]
    assert "--socket=/run/ipledger/agent.sock" in install
    assert values["realm"] == "default"
    assert json.dumps(values["agent"]["timeoutSeconds"]) == "60"
    assert shlex.join(install).startswith("cni install --bin-dir=/opt/cni/bin")
