"""The probe on a real link: a neighbour in its own namespace, whose kernel answers for it."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from support.moved import moved
from support.node import Node, Outcome
from support.otlp import receiving
from support.program import until

from ipledger.engine.metrics import table
from ipledger.events.addresses import parse_ip
from ipledger.events.facts import PoolSpec

V4 = PoolSpec("v4", 0, "10.63.0.0/24", ips=("10.63.0.10-10.63.0.15",))
V6 = PoolSpec("v6", 0, "fd63::/64", ips=("fd63::10-fd63::15",))
BOTH: dict[str, Any] = {"default_ipv4_ippool": ["v4"], "default_ipv6_ippool": ["v6"]}
MAC, OTHER_MAC = "02:00:00:00:63:01", "02:00:00:00:63:02"
_ALL_FRAMES = 3  # ETH_P_ALL: what is sent as well as what comes

_numbers = count()


def sh(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@dataclass
class Link:
    """The parent interface of a network on this machine, and a neighbour behind it."""

    interface: str
    namespace: str

    def owns(self, *addresses: str) -> None:
        """The neighbour has these addresses; its kernel answers to ARP and NDP."""
        for address in addresses:
            sh("ip", "-n", self.namespace, "address", "add", address, "dev", "eth0", "nodad")

    def answers_for_all(self) -> None:
        """The neighbour's kernel answers to ARP for every address of the IPv4 pool's subnet."""
        sh("ip", "-n", self.namespace, "link", "set", "lo", "up")
        sh("ip", "-n", self.namespace, "route", "add", "local", V4.subnet, "dev", "lo")

    def has_another(self, address: str) -> None:
        """Another neighbour, with a MAC of its own, has an address, and answers to that alone."""
        about = ("link", "eth0", "name", "eth1", "address", OTHER_MAC, "type", "macvlan")
        sh("ip", "-n", self.namespace, "link", "add", *about)
        ignore = "net.ipv4.conf.eth1.arp_ignore=1"
        sh("ip", "netns", "exec", self.namespace, "sysctl", "-q", "-w", ignore)
        sh("ip", "-n", self.namespace, "address", "add", address, "dev", "eth1")
        sh("ip", "-n", self.namespace, "link", "set", "eth1", "up")

    def quiet(self) -> socket.socket:
        """Hears every frame on this machine's end from here on."""
        tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ALL_FRAMES))
        tap.bind((self.interface, _ALL_FRAMES))
        tap.setblocking(False)
        return tap


def about(tap: socket.socket, *addresses: str) -> list[bytes]:
    """The frames so far that name one of the addresses."""
    packed = [v.to_bytes(4 if of == 4 else 16, "big") for of, v in map(parse_ip, addresses)]
    found: list[bytes] = []
    while True:
        try:
            frame = tap.recv(2048)
        except BlockingIOError:
            return found
        if any(address in frame[14:] for address in packed):
            found.append(frame)


@pytest.fixture
def link() -> Iterator[Link]:
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    if shutil.which("ip") is None:
        pytest.skip("ip is not installed (see `make debian`)")
    number = f"{os.getpid()}-{next(_numbers)}"
    link = Link(f"ip{number}", f"iplprobe{number}")
    sh("ip", "netns", "add", link.namespace)
    peer = ("peer", "name", "eth0", "address", MAC, "netns", link.namespace)
    try:
        sh("ip", "link", "add", link.interface, "type", "veth", *peer)
        sh("ip", "-n", link.namespace, "link", "set", "eth0", "up")
        sh("ip", "link", "set", link.interface, "up")
        yield link
    finally:
        sh("ip", "netns", "delete", link.namespace)


@pytest.fixture
def up(tmp_path: Path, shim: Path) -> Iterator[Callable[..., Node]]:
    """Starts a node with flags of its own and both pools."""
    started: list[Node] = []

    def start(*flags: str) -> Node:
        node = Node(tmp_path, shim, flags=flags)
        node.start()
        started.append(node)
        node.apply(V4, V6)
        return node

    yield start
    assert [node.stop() for node in started] == [0] * len(started)


def add(node: Node, sandbox: str = "s1", pod: str = "web", **ipam: Any) -> Outcome:
    args = f"K8S_POD_NAMESPACE=shop;K8S_POD_NAME={pod};K8S_POD_UID=uid-{pod};IgnoreUnknown=1"
    return node.cni("ADD", sandbox, node.config(**BOTH, **ipam), CNI_ARGS=args)


def quarantines(node: Node) -> dict[str, str]:
    rows = json.loads(node.ipledger("get", "quarantines", "-o", "json").stdout)
    return {row["address"]: row["mac"] for row in rows}


def held(node: Node) -> list[list[str]]:
    return [[address.address for address in row.addresses] for row in node.allocations()]


def page(node: Node) -> str:
    with urllib.request.urlopen(f"{node.http_url}/metrics", timeout=10) as answer:
        text: str = answer.read().decode()
    return text


def probed(text: str) -> dict[str, float]:
    """How often addresses were probed, by outcome."""
    found = re.findall(r'^ipledger_probes_total{outcome="(\w+)",.*} (.+)$', text, re.MULTILINE)
    return {outcome: float(count) for outcome, count in found}


@pytest.mark.parametrize("named_by", ["flag", "configuration"])
def test_a_pod_gets_other_addresses_than_a_neighbour_has(
    link: Link, up: Callable[..., Node], named_by: str
) -> None:
    link.owns("10.63.0.10/24", "fd63::10/64")
    by_flag = named_by == "flag"
    node = up("--probe-interface", link.interface) if by_flag else up()
    ipam = {} if by_flag else {"probe_interface": link.interface}

    assert add(node, **ipam).addresses == ["10.63.0.11/24", "fd63::11/64"]
    assert quarantines(node) == {"10.63.0.10": MAC, "fd63::10": MAC}
    assert held(node) == [["10.63.0.11/24", "fd63::11/64"]]


def test_the_address_that_is_free_of_conflict_comes_again(
    link: Link, up: Callable[..., Node]
) -> None:
    link.owns("fd63::10/64")
    node = up("--probe-interface", link.interface)
    assert add(node).addresses == ["10.63.0.10/24", "fd63::11/64"]
    assert quarantines(node) == {"fd63::10": MAC}


def test_who_leaves_between_the_requests_is_no_conflict(
    link: Link, up: Callable[..., Node]
) -> None:
    link.owns("10.63.0.10/24")
    node = up("--probe-interface", link.interface, "--probe-requests", "2", "--probe-wait", "1")
    with ThreadPoolExecutor(1) as runtime, link.quiet() as tap:
        adding = runtime.submit(add, node)
        assert until(lambda: len(about(tap, "10.63.0.10")) > 0, 10)
        sh("ip", "-n", link.namespace, "address", "delete", "10.63.0.10/24", "dev", "eth0")
        assert adding.result().addresses == ["10.63.0.10/24", "fd63::10/64"]
    assert quarantines(node) == {}


def test_without_a_conflict_nothing_changes(link: Link, up: Callable[..., Node]) -> None:
    link.owns("10.63.0.99/24", "fd63::99/64")
    node = up("--probe-interface", link.interface)
    with link.quiet() as tap:
        assert add(node).addresses == ["10.63.0.10/24", "fd63::10/64"]
        assert len(about(tap, "10.63.0.10", "fd63::10")) == 6
    assert quarantines(node) == {}
    log = node.ipledger("log", "-o", "jsonl").stdout
    assert (log.count("AddressesAllocated"), log.count("AllocationReleased")) == (1, 0)


def test_by_default_no_frame_is_sent(link: Link, up: Callable[..., Node]) -> None:
    link.owns("10.63.0.10/24", "fd63::10/64")
    node = up()
    with link.quiet() as tap:
        assert add(node).addresses == ["10.63.0.10/24", "fd63::10/64"]
        assert about(tap, "10.63.0.10", "fd63::10") == []
    assert quarantines(node) == {}


def test_what_a_pod_has_is_not_probed_again(link: Link, up: Callable[..., Node]) -> None:
    """The pod itself would answer: for it, a repeated ADD and a new sandbox change nothing."""
    node = up("--probe-interface", link.interface)
    first = add(node)
    link.owns(*first.addresses)
    assert add(node) == first
    assert add(node, "s2") == first
    assert node.stop() == 0
    node.start()
    assert add(node, "s2") == first
    assert add(node, "s3", "other").addresses == ["10.63.0.11/24", "fd63::11/64"]
    assert quarantines(node) == {}


def test_where_something_answers_to_every_address_the_add_ends_and_says_so(
    link: Link, up: Callable[..., Node]
) -> None:
    link.owns(*(f"10.63.0.{n}/24" for n in (10, 11, 12)))
    node = up("--probe-interface", link.interface)
    told = add(node)
    assert (told.code, told.json["code"]) == (1, 123)
    assert f"10.63.0.12 (answered by {MAC})" in told.json["msg"]
    assert quarantines(node) == {f"10.63.0.{n}": MAC for n in (10, 11, 12)}

    link.owns("10.63.0.13/24")  # which the engine gave, and the pod was not told of
    assert add(node).addresses[0] == "10.63.0.14/24"


def test_what_answers_for_every_address_has_none(link: Link, up: Callable[..., Node]) -> None:
    """Proxy ARP: the pod gets the address that it would get unprobed, and that is said."""
    link.answers_for_all()
    node = up("--probe-interface", link.interface, "--log-format", "text")
    before = page(node)
    assert add(node).addresses == ["10.63.0.10/24", "fd63::10/64"]
    assert quarantines(node) == {}
    said = f"cannot be probed on interface {link.interface}, proxy ARP or NDP: 10.63.0.10 "
    assert until(lambda: said in node.log.read_text(), 10)
    after = page(node)
    assert moved(before, after, table.PROBES, table.PROBE_DURATION)
    assert probed(after) == {"free": 1, "conflict": 0, "proxied": 1, "failed": 0}


def test_who_has_an_address_is_found_though_another_answers_for_all(
    link: Link, up: Callable[..., Node]
) -> None:
    link.answers_for_all()
    link.has_another("10.63.0.10/24")
    node = up("--probe-interface", link.interface)
    assert add(node).addresses == ["10.63.0.11/24", "fd63::10/64"]
    assert quarantines(node) == {"10.63.0.10": OTHER_MAC}
    assert probed(page(node)) == {"free": 2, "conflict": 1, "proxied": 1, "failed": 0}


def test_a_probe_is_a_part_of_the_adds_trace(
    link: Link, up: Callable[..., Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    with receiving() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
        assert add(up("--probe-interface", link.interface)).code == 0
        probe, call = receiver.one("cni.probe"), receiver.one("cni.add")
    assert (probe.parent, probe.trace) == (call.id, call.trace)
    assert probe.attributes == {
        "network.interface.name": link.interface,
        "ipledger.addresses": "10.63.0.10/24,fd63::10/64",
    }


def test_without_another_address_the_refusal_names_who_answers(
    link: Link, up: Callable[..., Node]
) -> None:
    link.owns("10.63.0.10/24")
    node = up("--probe-interface", link.interface)
    node.apply(PoolSpec("v4", 0, "10.63.0.0/24", ips=("10.63.0.10",)))
    told = add(node)
    assert (told.code, told.json["code"]) == (1, 100)
    assert f"10.63.0.10 (answered by {MAC})" in told.json["msg"]
    assert quarantines(node) == {}


def test_a_network_with_an_interface_that_is_not_there_gets_its_addresses_unprobed(
    link: Link, up: Callable[..., Node]
) -> None:
    node = up("--log-format", "text")
    assert add(node, probe_interface="gone0").addresses == ["10.63.0.10/24", "fd63::10/64"]
    assert until(lambda: "gone0" in node.log.read_text(), 10)  # lines come a moment later
    lines = [line for line in node.log.read_text().splitlines() if "gone0" in line]
    assert len(lines) == 1
    assert "not probed" in lines[0]
    assert "No such device" in lines[0]


def test_an_agent_that_cannot_probe_does_not_start(tmp_path: Path, shim: Path) -> None:
    node = Node(tmp_path, shim, flags=("--probe-interface", "gone0"))
    node.program.launch()
    assert node.wait() == 1
    assert "interface 'gone0' cannot be probed: No such device" in node.log.read_text()


def test_a_del_ends_an_add_that_is_being_probed(link: Link, up: Callable[..., Node]) -> None:
    """The agent answers other calls while it waits ten seconds for a neighbour."""
    node = up("--probe-interface", link.interface, "--probe-requests", "10", "--probe-wait", "1")
    with ThreadPoolExecutor(1) as runtime, link.quiet() as tap:
        adding = runtime.submit(add, node)
        assert until(lambda: bool(about(tap, "10.63.0.10")), 10)
        assert node.cni("DEL", "s1") == Outcome(0, "")
        assert adding.result().json["code"] == 104
    assert node.allocations() == []
