"""The probe: does something on the link have an address already (ADR 83)?

Who answers to every address has none of them (ADR 105). Raw sockets on a named interface, opened
for one window and closed behind it: an agent that is not probing reads no frame.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import socket
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple, TypeAlias

from ipledger.cni.frames import (
    ALL_NODES_MAC,
    ARP_TYPE,
    IPV6_TYPE,
    probe_of,
    seen_in,
    solicited_node_mac,
)
from ipledger.cni.proxies import controls, proxies
from ipledger.events.addresses import parse_ip
from ipledger.events.quoting import quote

_SOL_PACKET, _ADD_MEMBERSHIP, _MULTICAST = 263, 1, 0  # linux/if_packet.h
_SO_ATTACH_FILTER = 26
_FRAME_MAX = 2048
_FRAMES_AT_ONCE = 64
"""Frames read before others have their turn: a flood must not stop the agent."""
_WINDOWS_AT_ONCE = 64
"""Each has two sockets, until they are closed."""
_PROXY_WAIT_S = 1.0
"""How long answers for others are waited for: a proxy may take its time (Linux: 0.8 s)."""

_LOAD_BYTE, _IS_EQUAL, _RETURN = 0x30, 0x15, 0x06  # linux/bpf_common.h
_NEIGHBOURS = (  # ICMPv6 types 135 and 136; the kernel drops all other IPv6
    (_LOAD_BYTE, 0, 0, 20),
    (_IS_EQUAL, 0, 4, 58),
    (_LOAD_BYTE, 0, 0, 54),
    (_IS_EQUAL, 1, 0, 135),
    (_IS_EQUAL, 0, 1, 136),
    (_RETURN, 0, 0, _FRAME_MAX),
    (_RETURN, 0, 0, 0),
)


class ProbeError(Exception):
    """An interface cannot be probed; the message names it and says why."""


def _failed(interface: str, why: str) -> ProbeError:
    return ProbeError(f"interface {quote(interface)} cannot be probed: {why}")


@dataclass(frozen=True, slots=True)
class ProbeSettings:
    """How an address is probed. `interface` is asked where a network names none; '' for none.

    Each of `requests` is given `wait_s` seconds. The default is Spiderpool's: 3 times 100 ms.
    """

    interface: str = ""
    requests: int = 3
    wait_s: float = 0.1

    def check(self) -> None:
        """Whether the interface can be probed, if there is one. Raises `ProbeError`."""
        if self.interface:
            _open(self.interface, (bytes(4), bytes(16))).close()


NO_PROBE = ProbeSettings()


class Answered(NamedTuple):
    """Addresses by who has them, and by who alone answered to them but answers for all others."""

    owners: Mapping[str, str]
    proxies: Mapping[str, str]


_Found: TypeAlias = dict[bytes, list[bytes]]
"""The MACs that answered to each address, in the order in which they did."""


@dataclass(slots=True)
class Probe:
    """Asks the links of this machine."""

    settings: ProbeSettings = NO_PROBE
    random: Random = field(default_factory=Random)
    _room: asyncio.Semaphore = field(
        default_factory=lambda: asyncio.Semaphore(_WINDOWS_AT_ONCE), init=False
    )

    async def answered(self, interface: str, addresses: Iterable[str]) -> Answered:
        """Those of the addresses (with prefix lengths) that something answers to, with its MAC.

        All are asked at once, and others run meanwhile. It takes `requests` times `wait_s` unless
        all are answered before, and up to a second more where one is. Of several requests, an
        answer to the first alone does not count: the link of a pod that was just deleted lives a
        little longer than its address. Raises `ProbeError`.
        """
        texts = {_packed(_ip(text)): text for text in addresses}
        await self._room.acquire()
        try:
            link = _open(interface, tuple(texts))
        except BaseException:
            self._room.release()
            raise
        try:
            found = await _window(link, frozenset(texts), self.settings)
            return await self._told_apart(link, found, texts) if found else Answered({}, {})
        finally:
            self._close(link)

    async def _told_apart(self, link: _Link, found: _Found, texts: Mapping[bytes, str]) -> Answered:
        """Who has an address, and who answers to any: all are asked for others of their subnets."""
        asked = {
            address: controls(address, int(texts[address].partition("/")[2]), self.random)
            for address in found
        }
        wanted = frozenset(found).union(*asked.values())
        settings = ProbeSettings(link.interface, 1, _PROXY_WAIT_S)
        heard = await _window(link, wanted, settings) if wanted > found.keys() else {}
        owners, others = dict[str, str](), dict[str, str]()
        for address, macs in found.items():
            answering_all = proxies(heard, asked[address])
            own = [m for m in (*macs, *heard.get(address, ())) if m not in answering_all]
            (owners if own else others)[_ip(texts[address])] = (own or macs)[0].hex(":")
        return Answered(owners, others)

    def _close(self, link: _Link) -> None:
        """Linux closes a packet socket only when no CPU uses it any more, which takes tens of
        milliseconds: nobody waits for it."""
        closing = asyncio.get_running_loop().run_in_executor(None, link.close)
        closing.add_done_callback(lambda _: self._room.release())


def _ip(text: str) -> str:
    return text.partition("/")[0]


def _packed(text: str) -> bytes:
    version, value = parse_ip(text)
    return value.to_bytes(4 if version == 4 else 16, "big")


@dataclass(slots=True)
class _Link:
    """The sockets of one window by the length of the addresses that they are for."""

    interface: str
    sockets: Mapping[int, socket.socket]
    mac: bytes = b""

    def close(self) -> None:
        for sock in self.sockets.values():
            sock.close()

    def ask(self, address: bytes) -> None:
        try:
            self.sockets[len(address)].send(probe_of(self.mac, address))
        except BlockingIOError:
            return  # a full queue: the next request may find room
        except OSError as error:
            raise _failed(self.interface, str(error)) from None

    def read(self, sock: socket.socket, wanted: frozenset[bytes], found: _Found) -> None:
        """Take in what has come. An interface that went away shows when it is asked again."""
        with contextlib.suppress(OSError):
            for _ in range(_FRAMES_AT_ONCE):
                frame, (_, _, kind, *_) = sock.recvfrom(_FRAME_MAX)
                seen = seen_in(frame, self.mac) if kind != socket.PACKET_OUTGOING else None
                if seen is not None and seen.address in wanted:
                    found.setdefault(seen.address, []).append(seen.mac)


async def _window(link: _Link, wanted: frozenset[bytes], settings: ProbeSettings) -> _Found:
    loop, done = asyncio.get_running_loop(), asyncio.Event()
    found: _Found = {}

    def readable(sock: socket.socket) -> None:
        link.read(sock, wanted, found)
        if len(found) == len(wanted):
            done.set()

    for sock in link.sockets.values():
        loop.add_reader(sock, readable, sock)
    try:
        for number in range(settings.requests):
            if number == 1:  # who is leaving just now may still have answered to the first one
                found.clear()
                done.clear()
            for address in sorted(wanted - found.keys()):
                link.ask(address)
            if number == 0 and settings.requests > 1:
                await asyncio.sleep(settings.wait_s)
            else:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(done.wait(), settings.wait_s)
    finally:
        for sock in link.sockets.values():
            loop.remove_reader(sock)
    return found


def _open(interface: str, addresses: tuple[bytes, ...]) -> _Link:
    opened: dict[int, socket.socket] = {}
    link = _Link(interface, opened)
    try:
        for size in sorted({len(address) for address in addresses}):
            opened[size] = _socket(interface, size, addresses)
            link.mac = opened[size].getsockname()[4]
        if len(link.mac) != 6 or not any(link.mac):
            raise ValueError("it has no MAC address")
    except (OSError, ValueError) as error:
        link.close()
        why = getattr(error, "strerror", None) or str(error)
        raise _failed(interface, why) from None
    return link


def _socket(interface: str, size: int, addresses: tuple[bytes, ...]) -> socket.socket:
    """A socket that hears nothing before its filter is there: so it is bound last."""
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    try:
        sock.setblocking(False)
        if size == 16:
            _attach(sock, _NEIGHBOURS)
            index = socket.if_nametoindex(interface)
            groups = {solicited_node_mac(a) for a in addresses if len(a) == 16}
            for group in sorted({ALL_NODES_MAC, *groups}):
                member = struct.pack("iHH8s", index, _MULTICAST, 6, group)
                sock.setsockopt(_SOL_PACKET, _ADD_MEMBERSHIP, member)
        sock.bind((interface, ARP_TYPE if size == 4 else IPV6_TYPE))
    except BaseException:
        sock.close()
        raise
    return sock


def _attach(sock: socket.socket, program: tuple[tuple[int, int, int, int], ...]) -> None:
    code = b"".join(struct.pack("HBBI", *step) for step in program)
    buffer = ctypes.create_string_buffer(code, len(code))
    told = struct.pack("HL", len(program), ctypes.addressof(buffer))
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, told)
