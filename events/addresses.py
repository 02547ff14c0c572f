"""IP addresses as the integers that all arithmetic is done with, and back to text.

An address is a pair (ip version, integer); text is read strictly (no leading zeros, no short
forms) and written canonically (RFC 5952 for IPv6).
"""

from __future__ import annotations

import socket

_FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}
_BYTES = {4: 4, 6: 16}
_from_bytes = int.from_bytes

BITS = {4: 32, 6: 128}


def parse_ip(text: str) -> tuple[int, int]:
    """Text as (ip version, integer). Raises `ValueError` naming the text.

    >>> parse_ip("10.0.0.1"), parse_ip("::1")
    ((4, 167772161), (6, 1))
    """
    try:
        if ":" in text:
            return 6, _from_bytes(socket.inet_pton(socket.AF_INET6, text), "big")
        return 4, _from_bytes(socket.inet_pton(socket.AF_INET, text), "big")
    except (OSError, ValueError):  # ValueError: an embedded NUL
        raise ValueError(f"{text!r} is not an IP address") from None


def format_ip(version: int, value: int) -> str:
    """The canonical text of an address.

    >>> format_ip(6, 1 << 127)
    '8000::'
    """
    return socket.inet_ntop(_FAMILY[version], value.to_bytes(_BYTES[version], "big"))
