"""The frames of a probe: what asks whether an address is used, and what says that it is.

RFC 5227 section 2.1.1 for IPv4 (ARP probe: sender address 0.0.0.0), RFC 4862 section 5.4 for IPv6
(neighbour solicitation from the unspecified address). Pure; addresses and MACs are bytes.
"""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

BROADCAST = b"\xff" * 6
ALL_NODES_MAC = b"\x33\x33\x00\x00\x00\x01"
ARP_TYPE, IPV6_TYPE = 0x0806, 0x86DD

_ARP_HEAD = b"\x00\x01\x08\x00\x06\x04"  # Ethernet, IPv4, lengths of both addresses
_ARP_REQUEST, _ARP_REPLY = 1, 2
_ARP = Struct("!6s6sH6sH6s4s6s4s")  # with the Ethernet header
_IPV6 = Struct("!6s6sH4sHBB16s16s")
_ICMPV6 = Struct("!BBH4s16s")
_ICMPV6_PROTOCOL, _HOPS = 58, 255
_SOLICITATION, _ADVERTISEMENT = 135, 136
_UNSPECIFIED = bytes(16)


class Seen(NamedTuple):
    """Somebody uses an address, or wants to: `mac` is where the frame came from."""

    address: bytes
    mac: bytes


def probe_of(mac: bytes, address: bytes) -> bytes:
    """The frame that asks on behalf of `mac` who uses an address of 4 or 16 bytes."""
    return _arp_probe(mac, address) if len(address) == 4 else _solicitation(mac, address)


def solicited_node_mac(address: bytes) -> bytes:
    """The group that whoever has an IPv6 address listens to (RFC 4291 section 2.7.1)."""
    return b"\x33\x33\xff" + address[13:]


def seen_in(frame: bytes, own: bytes) -> Seen | None:
    """What a frame says about an address; None if it says nothing, is broken, or is `own`'s.

    What a switch sends back to its sender, and what others send in our name, is no conflict.
    """
    if frame[6:12] == own:
        return None
    if frame[12:14] == ARP_TYPE.to_bytes(2, "big"):
        return _seen_in_arp(frame, own)
    if frame[12:14] == IPV6_TYPE.to_bytes(2, "big"):
        return _seen_in_ipv6(frame)
    return None


def _arp_probe(mac: bytes, address: bytes) -> bytes:
    nobody = bytes(4)
    return _ARP.pack(
        BROADCAST, mac, ARP_TYPE, _ARP_HEAD, _ARP_REQUEST, mac, nobody, bytes(6), address
    )


def _seen_in_arp(frame: bytes, own: bytes) -> Seen | None:
    if len(frame) < _ARP.size:
        return None
    _, source, _, head, verb, sender_mac, sender, _, target = _ARP.unpack_from(frame)
    if head != _ARP_HEAD or verb not in (_ARP_REQUEST, _ARP_REPLY) or sender_mac == own:
        return None
    if any(sender):
        return Seen(sender, source)
    return Seen(target, source) if verb == _ARP_REQUEST else None  # another's probe


def _solicitation(mac: bytes, address: bytes) -> bytes:
    group = bytes.fromhex("ff0200000000000000000001ff") + address[13:]
    bare = _ICMPV6.pack(_SOLICITATION, 0, 0, bytes(4), address)
    summed = _ICMPV6.pack(_SOLICITATION, 0, _checksum(_UNSPECIFIED, group, bare), bytes(4), address)
    return _ipv6_head(solicited_node_mac(address), mac, _UNSPECIFIED, group, len(bare)) + summed


def _ipv6_head(to_mac: bytes, mac: bytes, source: bytes, to: bytes, length: int) -> bytes:
    version = b"\x60\x00\x00\x00"
    return _IPV6.pack(to_mac, mac, IPV6_TYPE, version, length, _ICMPV6_PROTOCOL, _HOPS, source, to)


def _checksum(source: bytes, to: bytes, payload: bytes) -> int:
    """RFC 4443 section 2.3; 0 over a payload that holds its own."""
    pseudo = source + to + len(payload).to_bytes(4, "big") + _ICMPV6_PROTOCOL.to_bytes(4, "big")
    data = pseudo + payload + bytes(len(payload) % 2)
    total = sum(int.from_bytes(data[i : i + 2], "big") for i in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def _seen_in_ipv6(frame: bytes) -> Seen | None:
    """RFC 4861 sections 7.1.1 and 7.1.2 say what is let pass: whole, and from this very link."""
    if len(frame) < _IPV6.size + _ICMPV6.size:
        return None
    _, mac, _, version, length, protocol, hops, source, to = _IPV6.unpack_from(frame)
    payload = frame[_IPV6.size : _IPV6.size + length]
    if version[0] >> 4 != 6 or protocol != _ICMPV6_PROTOCOL or hops != _HOPS:
        return None
    if len(payload) != length or length < _ICMPV6.size or _checksum(source, to, payload):
        return None
    verb, code, _, _, target = _ICMPV6.unpack_from(payload)
    wanted = verb == _ADVERTISEMENT or (verb == _SOLICITATION and source == _UNSPECIFIED)
    return Seen(target, mac) if wanted and code == 0 else None
