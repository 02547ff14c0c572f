"""What became of each document of `ipledger apply`."""

from __future__ import annotations

import msgspec


class Outcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """`outcome` is created, configured or unchanged; or else `error` says what is wrong."""

    kind: str = ""
    name: str = ""
    outcome: str = ""
    error: str = ""
