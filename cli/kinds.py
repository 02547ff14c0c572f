"""The kinds of things that commands name, in every spelling that kubectl would take."""

from __future__ import annotations

from enum import StrEnum

from ipledger.cli.errors import UsageError


class Kind(StrEnum):
    """A kind by its plural."""

    POOLS = "pools"
    SUBNETS = "subnets"
    RESERVATIONS = "reservations"
    QUARANTINES = "quarantines"
    ALLOCATIONS = "allocations"
    APPLICATIONS = "applications"


_SPELLINGS = {
    **dict.fromkeys(("pool", "pools", "ippool", "ippools"), Kind.POOLS),
    **dict.fromkeys(("spiderippool", "spiderippools"), Kind.POOLS),
    **dict.fromkeys(("subnet", "subnets", "spidersubnet", "spidersubnets"), Kind.SUBNETS),
    **dict.fromkeys(
        ("reservation", "reservations", "reservedip", "reservedips"), Kind.RESERVATIONS
    ),
    **dict.fromkeys(("spiderreservedip", "spiderreservedips"), Kind.RESERVATIONS),
    **dict.fromkeys(("quarantine", "quarantines"), Kind.QUARANTINES),
    **dict.fromkeys(("allocation", "allocations"), Kind.ALLOCATIONS),
    **dict.fromkeys(("application", "applications", "app", "apps"), Kind.APPLICATIONS),
}


def parse_kind(text: str) -> Kind:
    """The kind that a word means. Raises `UsageError` naming the word.

    >>> parse_kind("SpiderIPPool")
    <Kind.POOLS: 'pools'>
    """
    kind = _SPELLINGS.get(text.lower())
    if kind is None:
        raise UsageError(f"unknown kind {text!r}; known are {', '.join(Kind)}")
    return kind


def short_kind(kind: str) -> str:
    """A manifest's kind as messages have it.

    >>> short_kind("SpiderIPPool")
    'ippool'
    """
    return kind.lower().removeprefix("spider")
