"""Which key each container of the chart gets, and that there is no other secret of NATS in it."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest
from support.helm import objects, render
from support.keys import connect
from support.program import Program

from ipledger.events.access import Access, Listed, everyone
from ipledger.events.embedded import find_server
from ipledger.events.nats_roles import Role, User

NODE_FILE = "/etc/ipledger/node.nk"
ROLES = {"engine": "engine", "agent": "agents", "controller": "controller", "webhook": "webhook"}
EXTERNAL = {"url": "tls://a:4222"}


def pods(values: dict[str, Any]) -> list[dict[str, Any]]:
    """What the chart runs."""
    kinds = ("StatefulSet", "DaemonSet", "Deployment")
    return [one["spec"]["template"]["spec"] for one in objects(values) if one["kind"] in kinds]


def mounted(values: dict[str, Any]) -> dict[str, list[tuple[dict[str, Any], dict[str, Any]]]]:
    """By container: what it mounts where keys lie, with the volume that this is."""
    found: dict[str, list[tuple[dict[str, Any], dict[str, Any]]]] = {}
    for pod in pods(values):
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        for container in [*pod.get("initContainers", ()), *pod["containers"]]:
            found[container["name"]] = [
                (mount, volumes[mount["name"]])
                for mount in container["volumeMounts"]
                if mount["mountPath"].startswith("/etc/ipledger/key")
            ]
    return found


def variables(values: dict[str, Any]) -> dict[str, dict[str, str]]:
    """By container: its environment, where that is written out."""
    return {
        container["name"]: {v["name"]: v["value"] for v in container["env"] if "value" in v}
        for pod in pods(values)
        for container in pod["containers"]
    }


@pytest.mark.parametrize("nats", [{}, EXTERNAL], ids=["bundled", "external"])
def test_each_container_mounts_the_key_of_its_role_and_no_other(nats: dict[str, Any]) -> None:
    for container, keys in mounted({"nats": nats}).items():
        if container not in ROLES:
            assert keys == [], container
            continue
        ((mount, volume),) = keys
        assert mount["readOnly"] is True
        secret = {"secretName": f"ipledger-{ROLES[container]}-key", "defaultMode": 0o400}
        assert volume["secret"] == secret


@pytest.mark.parametrize("nats", [{}, EXTERNAL], ids=["bundled", "external"])
@pytest.mark.parametrize("variable", ["nkey", "creds"])
def test_each_process_is_told_where_its_key_is(nats: dict[str, Any], variable: str) -> None:
    found = variables({"nats": {**nats, "keys": {"format": variable}}})
    for container in ROLES:
        known = {name: found[container].get(name) for name in ("IPLEDGER_NKEY", "IPLEDGER_CREDS")}
        named = f"IPLEDGER_{variable.upper()}"
        assert {n: v for n, v in known.items() if v} == {named: f"/etc/ipledger/key/{variable}"}


def test_pods_of_a_key_can_read_it_though_they_are_not_root() -> None:
    for pod in pods({}):
        if any(volume["name"].endswith("-key") for volume in pod["volumes"]):
            assert pod["securityContext"]["fsGroup"] == 65532


def test_a_key_of_the_node_takes_the_place_of_the_one_for_all_nodes() -> None:
    values = {"nats": {"keys": {"nodeFile": NODE_FILE}}}
    ((mount, volume),) = mounted(values)["agent"]
    assert volume["hostPath"] == {"path": NODE_FILE, "type": "File"}
    assert (mount["mountPath"], mount["readOnly"]) == ("/etc/ipledger/key/nkey", True)
    assert "ipledger-agents-key" not in str(render(values))


def test_without_the_webhook_its_key_is_in_no_pod() -> None:
    assert "webhook-key" not in str(pods({"webhook": {"enabled": False}}))


def test_servers_that_ask_for_no_key_get_none() -> None:
    none = dict.fromkeys(ROLES.values(), "")
    values = {"nats": {"url": "nats://a:4222", "keys": none}}
    assert [keys for keys in mounted(values).values() if keys] == []
    assert all("IPLEDGER_NKEY" not in known for known in variables(values).values())


def test_only_the_servers_know_a_password_and_only_that_of_their_routes() -> None:
    assert [o for o in objects({"webhook": {"enabled": False}}) if o["kind"] == "Secret"] == []
    for pod in pods({}):
        for container in pod["containers"]:
            secrets = [v["valueFrom"]["secretKeyRef"] for v in container["env"] if takes_secret(v)]
            routes = {"name": "ipledger-nats", "key": "routes.password"}
            assert secrets == ([routes] if container["name"] == "nats" else [])
            url = {v["name"]: v.get("value", "") for v in container["env"]}.get("IPLEDGER_NATS", "")
            assert "@" not in url


def takes_secret(variable: dict[str, Any]) -> bool:
    return "secretKeyRef" in variable.get("valueFrom", {})


def test_servers_read_the_accounts_and_get_no_seed() -> None:
    (pod,) = [pod for pod in pods({}) if pod["containers"][0]["name"] == "nats"]
    (volume,) = pod["volumes"]
    configuration, access = volume["projected"]["sources"]
    assert configuration == {"configMap": {"name": "ipledger-nats"}}
    assert access["secret"]["name"] == "ipledger-nats"
    assert [item["path"] for item in access["secret"]["items"]] == ["accounts.conf"]
    assert 'include "accounts.conf"' in render({})["nats.yaml"]


def free_ports() -> tuple[int, int]:
    """Two ports that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("", 0)) as other:
        return int(one.getsockname()[1]), int(other.getsockname()[1])


async def test_a_server_of_the_chart_lets_in_who_has_a_key_and_nobody_else(tmp_path: Path) -> None:
    port, monitor = free_ports()
    bundled = {"replicas": 1, "clientPort": port, "monitorPort": monitor}
    found = objects({"nats": {"bundled": bundled}})
    (conf,) = [one["data"]["nats.conf"] for one in found if one["kind"] == "ConfigMap"]
    access, users = Access(tmp_path), [*everyone(()), User(Role.AGENTS)]
    access.write(access.ensure(Listed("default"), users))
    chart = conf.replace("/data", str(tmp_path / "data")).replace("$POD_NAME", "ipledger-nats-0")
    (tmp_path / "nats.conf").write_text(chart)
    command = [find_server(), "--config", str(tmp_path / "nats.conf")]
    server = Program("nats-server", command, tmp_path)
    server.launch()
    try:
        server.line("Server is ready")
        url = f"nats://127.0.0.1:{port}"
        for user in users:
            client = await connect(url, access.seed_file(user))
            assert client.is_connected
            await client.close()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert b'"auth_required":true' in await reader.readline()
        writer.write(b"CONNECT {}\r\nPING\r\n")
        assert await reader.readline() == b"-ERR 'Authorization Violation'\r\n"
        writer.close()
    finally:
        server.kill()
