"""What became of each document of `ipledger apply`."""

from __future__ import annotations

import msgspec

from ipledger.engine.answers import Change


class Outcome(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """`outcome` is created, configured or unchanged; or else `error` says what is wrong.

    In a dry run, that is what would become of it, and `changes` are the fields that would change.
    """

    kind: str = ""
    name: str = ""
    outcome: str = ""
    error: str = ""
    dry_run: bool = False
    changes: tuple[Change, ...] = ()
