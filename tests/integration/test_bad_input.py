"""Wrong CNI input through the shim: one clear error, the right code, and nothing changed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.node import Node, run_cni

from ipledger.events.facts import PoolSpec

POOL = PoolSpec("pool", 0, "10.65.0.0/24", ips=("10.65.0.1-10.65.0.9",), default=True)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, shim: Path) -> Iterator[Node]:
    node = Node(tmp_path_factory.mktemp("node"), shim)
    node.start()
    node.apply(POOL)
    yield node
    assert node.stop() == 0


def ipam(**section: Any) -> dict[str, Any]:
    return {"cniVersion": "1.0.0", "name": "net", "ipam": {"type": "ipledger", **section}}


CASES: dict[str, tuple[dict[str, Any] | str, dict[str, str | None], int, list[str]]] = {
    # name: (configuration, environment, CNI error code, what the message names)
    "malformed JSON": ('{"cniVersion": "1.0.0", "ipam', {}, 6, ["not JSON"]),
    "empty stdin": ("", {}, 6, ["not JSON"]),
    "no cniVersion": ({"name": "n"}, {}, 1, ["cniVersion", "0.1.0"]),
    "unsupported version": ({"cniVersion": "9.9.9"}, {}, 1, ["cniVersion", "9.9.9"]),
    "version of a wrong type": ({"cniVersion": 1}, {}, 7, ["cniVersion", "1"]),
    "pools of a wrong type": (
        ipam(default_ipv4_ippool="pool"),
        {},
        7,
        ["ipam.default_ipv4_ippool", '"pool"'],
    ),
    "pool name of a wrong type": (
        ipam(default_ipv4_ippool=["a", 7]),
        {},
        7,
        ["ipam.default_ipv4_ippool[1]", "7"],
    ),
    "unknown pool": (
        ipam(default_ipv4_ippool=["nowhere"]),
        {},
        103,
        ["default_ipv4_ippool", "nowhere"],
    ),
    "pool named twice": (
        ipam(default_ipv4_ippool=["pool", "pool"]),
        {},
        107,
        ["default_ipv4_ippool", "pool", "twice"],
    ),
    "IPv4 pool for IPv6": (ipam(default_ipv6_ippool=["pool"]), {}, 101, ["pool", "IPv4"]),
    "no command": (ipam(), {"CNI_COMMAND": None}, 4, ["CNI_COMMAND"]),
    "unknown command": (ipam(), {"CNI_COMMAND": "PLEASE"}, 4, ["CNI_COMMAND", "PLEASE"]),
    "no container id": (ipam(), {"CNI_CONTAINERID": None}, 4, ["CNI_CONTAINERID"]),
    "bad container id": (ipam(), {"CNI_CONTAINERID": "a/b"}, 4, ["CNI_CONTAINERID", "a/b"]),
    "no interface": (ipam(), {"CNI_IFNAME": ""}, 4, ["CNI_IFNAME"]),
    "interface too long": (
        ipam(),
        {"CNI_IFNAME": "eth0123456789012"},
        4,
        ["CNI_IFNAME", "eth0123456789012"],
    ),
    "no network namespace": (ipam(), {"CNI_NETNS": None}, 4, ["CNI_NETNS"]),
    "bad CNI_ARGS": (ipam(), {"CNI_ARGS": "K8S_POD_NAME"}, 4, ["CNI_ARGS", "K8S_POD_NAME"]),
    "line break in CNI_ARGS": (ipam(), {"CNI_ARGS": "A=b\r\nX: y"}, 4, ["CNI_ARGS"]),
    "oversized request": ({**ipam(), "pad": "x" * 2_000_000}, {}, 6, ["stdin", "larger"]),
}


@pytest.mark.parametrize("case", CASES)
def test_one_clear_error_and_nothing_changed(node: Node, case: str) -> None:
    config, env, code, named = CASES[case]
    if not isinstance(config, str):
        section = {"type": "ipledger", **config.get("ipam", {}), "socket": str(node.socket)}
        config = json.dumps({**config, "ipam": section})
    elif config:
        config = config.replace('"ipam', f'"ipam": {{"socket": "{node.socket}"}}, "x')
    socket_by_default = config == ""
    before = node.pools()

    command = env.get("CNI_COMMAND", "ADD")
    outcome = run_cni(str(node.shim), "ADD", "sandbox", config, **{**env, "CNI_COMMAND": command})

    assert outcome.code == 1
    if socket_by_default:  # nothing says where the agent is, and none is at the default place
        assert outcome.json["code"] == 11
        return
    assert outcome.json["code"] == code, outcome.stdout
    assert outcome.json["cniVersion"] in ("1.0.0", "0.4.0")
    for part in named:
        assert part in outcome.json["msg"]
    assert node.pools() == before
    assert node.allocations() == []


def test_check_of_something_not_allocated(node: Node) -> None:
    nothing: dict[str, Any] = {"cniVersion": "1.0.0", "ips": []}
    config = {**node.config(), "prevResult": nothing}
    outcome = node.cni("CHECK", "nobody", config)
    assert (outcome.code, outcome.json["code"]) == (1, 120)
    assert "holds no address" in outcome.json["msg"]


def test_check_needs_the_previous_result(node: Node) -> None:
    outcome = node.cni("CHECK", "nobody")
    assert (outcome.code, outcome.json["code"]) == (1, 7)
    assert "prevResult" in outcome.json["msg"]


def test_check_tells_another_address(node: Node) -> None:
    held = node.cni("ADD", "checked")
    other = {**held.json, "ips": [{"address": "10.65.0.99/24"}]}
    outcome = node.cni("CHECK", "checked", {**node.config(), "prevResult": other})
    assert outcome.json["code"] == 120
    assert held.addresses[0] in outcome.json["msg"]
    assert "10.65.0.99/24" in outcome.json["msg"]
    node.cni("DEL", "checked")


@pytest.mark.parametrize("version", ["0.3.0", "0.3.1"])
def test_check_does_not_exist_before_0_4_0(node: Node, version: str) -> None:
    assert node.cni("CHECK", "nobody", node.config(version)).json["code"] == 1


@pytest.mark.parametrize("command", ["GC", "STATUS"])
def test_gc_and_status_do_not_exist_before_1_1_0(node: Node, command: str) -> None:
    error = node.cni(command, "", node.config("1.0.0"), CNI_CONTAINERID=None).json
    assert error["code"] == 1
    assert command in error["msg"]


@pytest.mark.parametrize("version", ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"])
def test_the_result_is_exact_for_each_version(node: Node, version: str) -> None:
    result = node.cni("ADD", f"v-{version}", node.config(version)).json
    node.cni("DEL", f"v-{version}", node.config(version))
    (ip,) = result.pop("ips")
    assert result == {"cniVersion": version, "routes": [], "dns": {}}
    assert ip.pop("address").endswith("/24")
    assert ip == ({"version": "4"} if version < "1.0.0" else {})
