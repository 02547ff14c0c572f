"""Many clients at once at the socket of a real agent: the others get their addresses, in bounds."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Generator
from pathlib import Path

import pytest
from support.node import Node

from ipledger.events.facts import PoolSpec

POOL = PoolSpec("pool", 4, "10.6.0.0/16", ips=("10.6.0.1-10.6.0.99",), default=True)
HEAD = b"POST /cni HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
BODY = b'{"cniVersion":"1.1.0","name":"net","type":"ipledger"}'
FLOODS = {
    "questions": HEAD + b"Cni-Command: STATUS\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY),
    "bodies that are too long": HEAD
    + b"Cni-Command: ADD\r\nTransfer-Encoding: chunked\r\n\r\n400000\r\n"
    + b" " * 0x400000,
    "garbage": b"\0\1\2\3\r\n\r\n" * 1000,
    "requests that do not end": HEAD + b"Cni-Command: ADD\r\n",
}
CLIENTS = 6
RESIDENT_MIB = 256
"""What 1,024 connections have that the event loop read from once, 256 KiB each."""


def flood(agent: Path, sent: bytes, over: threading.Event) -> None:
    """Send the same again and again, each on a connection of its own, and leave some open."""
    left: list[socket.socket] = []
    while not over.is_set():
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(0.2)
        with contextlib.suppress(OSError):
            connection.connect(str(agent))
            connection.sendall(sent)
            connection.recv(65536)
        left.append(connection)
        if len(left) > 100:
            left.pop(0).close()
    for connection in left:
        connection.close()


@contextlib.contextmanager
def flooded(agent: Path, sent: bytes) -> Generator[None]:
    over = threading.Event()
    clients = [threading.Thread(target=flood, args=(agent, sent, over)) for _ in range(CLIENTS)]
    for client in clients:
        client.start()
    try:
        yield
    finally:
        over.set()
        for client in clients:
            client.join()


def peak_mib(pid: int) -> float:
    """The most memory that a process had."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


@pytest.mark.parametrize("what", FLOODS)
def test_others_are_served_beside_a_flood_of(what: str, node: Node) -> None:
    node.apply(POOL)
    assert node.cni("ADD", "before").code == 0
    before = peak_mib(node.pid)
    with flooded(node.socket, FLOODS[what]):
        answers = [node.cni("ADD", f"s{number}").code for number in range(5)]
        answers += [node.cni("DEL", f"s{number}").code for number in range(5)]
    assert answers == [0] * 10
    assert peak_mib(node.pid) - before < RESIDENT_MIB
    assert node.cni("DEL", "before").code == 0
    assert node.pools()["pool"].allocated == 0
