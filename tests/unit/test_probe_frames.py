"""Frames of a probe: what is asked byte by byte, and what of the link is believed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipledger.cni.frames import Seen, probe_of, seen_in, solicited_node_mac

OWN, OTHER = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")
V4 = bytes([10, 6, 1, 7])
V6 = bytes.fromhex("fd000000000000000000000000abcdef")

ARP_REPLY = bytes.fromhex(
    "020000000001 020000000002 0806 0001 0800 06 04 0002020000000002 0a060107 020000000001 00000000"
)


def advertisement(code: int = 0, kind: int = 136, hops: int = 255, source: bytes = V6) -> bytes:
    to = bytes.fromhex("ff020000000000000000000000000001")
    bare = bytes([kind, code, 0, 0, 0x20, 0, 0, 0]) + V6 + b"\x02\x01" + OTHER
    total = source + to + len(bare).to_bytes(4, "big") + (58).to_bytes(4, "big") + bare
    words = sum(int.from_bytes(total[i : i + 2], "big") for i in range(0, len(total), 2))
    words = (words & 0xFFFF) + (words >> 16)
    checksum = ~((words & 0xFFFF) + (words >> 16)) & 0xFFFF
    head = (
        bytes.fromhex("333300000001") + OTHER + bytes.fromhex("86dd6000000000203a") + bytes([hops])
    )
    return head + source + to + bare[:2] + checksum.to_bytes(2, "big") + bare[4:]


def test_an_arp_probe_is_broadcast_and_has_no_sender_address() -> None:
    assert probe_of(OWN, V4) == bytes.fromhex(
        "ffffffffffff 020000000001 0806 0001 0800 06 04 0001"
        "020000000001 00000000 000000000000 0a060107"
    )


def test_a_solicitation_goes_from_nobody_to_the_solicited_node_group() -> None:
    frame = probe_of(OWN, V6)
    assert frame[:14] == bytes.fromhex("3333ffabcdef 020000000001 86dd")
    assert solicited_node_mac(V6) == frame[:6]
    assert frame[14:22] == bytes.fromhex("6000000000183aff")
    assert frame[22:38] == bytes(16)
    assert frame[38:54] == bytes.fromhex("ff0200000000000000000001ffabcdef")
    assert (frame[54:56], frame[62:]) == (b"\x87\x00", V6)


def test_the_checksum_of_a_solicitation_is_right() -> None:
    """Another's is let pass only with a checksum that fits, and says that it wants the address."""
    frame = probe_of(OTHER, V6)
    assert seen_in(frame, OWN) == Seen(V6, OTHER)
    assert seen_in(frame[:56] + b"\0\0" + frame[58:], OWN) is None


@pytest.mark.parametrize("frame", [ARP_REPLY, ARP_REPLY[:21] + b"\x01" + ARP_REPLY[22:]])
def test_who_sends_arp_from_an_address_uses_it(frame: bytes) -> None:
    assert seen_in(frame, OWN) == Seen(V4, OTHER)


def test_another_that_probes_an_address_wants_it() -> None:
    assert seen_in(probe_of(OTHER, V4), OWN) == Seen(V4, OTHER)


def test_who_advertises_an_address_uses_it() -> None:
    assert seen_in(advertisement(), OWN) == Seen(V6, OTHER)


@pytest.mark.parametrize("address", [V4, V6])
def test_a_frame_of_our_own_that_comes_back_is_no_conflict(address: bytes) -> None:
    assert seen_in(probe_of(OWN, address), OWN) is None


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        ARP_REPLY[:-1],
        ARP_REPLY[:15] + b"\x06" + ARP_REPLY[16:],  # hardware that is not Ethernet
        ARP_REPLY[:21] + b"\x03" + ARP_REPLY[22:],  # a verb of RARP
        ARP_REPLY[:22] + OWN + ARP_REPLY[28:],  # in our name
        ARP_REPLY[:28] + bytes(4) + ARP_REPLY[32:],  # a reply of nobody's
        advertisement()[:-1],
        advertisement(code=1),
        advertisement(kind=134),
        advertisement(hops=64),  # from beyond a router
        advertisement(kind=135),  # an ordinary solicitation: its sender looks for the address
    ],
)
def test_what_says_nothing_or_is_broken_is_not_believed(frame: bytes) -> None:
    assert seen_in(frame, OWN) is None


@given(st.binary(max_size=200), st.sampled_from([b"", b"\x08\x06", b"\x86\xdd"]))
def test_no_frame_is_an_error(rest: bytes, kind: bytes) -> None:
    seen = seen_in(bytes(6) + OTHER + kind + rest, OWN)
    assert seen is None or len(seen.address) in (4, 16)


@given(st.integers(0, 85), st.integers(1, 255))
def test_a_changed_byte_never_puts_another_address_in_conflict(at: int, change: int) -> None:
    frame = bytearray(advertisement())
    frame[at] ^= change
    seen = seen_in(bytes(frame), OWN)
    assert seen is None or seen.address == V6
