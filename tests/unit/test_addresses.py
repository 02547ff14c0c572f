"""Addresses between text and integer."""

from __future__ import annotations

import pytest

from ipledger.events.addresses import format_ip, parse_ip


@pytest.mark.parametrize(
    ("text", "version", "value"),
    [
        ("0.0.0.0", 4, 0),
        ("255.255.255.255", 4, 2**32 - 1),
        ("10.1.0.5", 4, 0x0A010005),
        ("::", 6, 0),
        ("fd00::1", 6, 0xFD << 120 | 1),
        ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 6, 2**128 - 1),
    ],
)
def test_canonical_text_and_integer_are_one(text: str, version: int, value: int) -> None:
    assert parse_ip(text) == (version, value)
    assert format_ip(version, value) == text


@pytest.mark.parametrize("text", ["FD00:0::1", "fd00:0:0:0:0:0:0:1", "fd00::0001"])
def test_ipv6_is_read_in_any_form_and_written_in_one(text: str) -> None:
    assert format_ip(*parse_ip(text)) == "fd00::1"


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "10.1",
        "10.1.0.256",
        "10.01.0.5",
        "010.1.0.5",
        "10.1.0.5 ",
        "10.1.0.5/24",
        "167837701",
        "0x0a.1.0.5",
        ":",
        ":::",
        "fd00::1::2",
        "fd00::g",
        "fd00::1%eth0",
        "[fd00::1]",
        "a\0b",
        "\0:",
    ],
)
def test_what_is_no_address_is_an_error_that_names_it(text: str) -> None:
    with pytest.raises(ValueError, match="is not an IP address") as error:
        parse_ip(text)
    assert repr(text) in str(error.value)
