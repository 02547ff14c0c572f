"""Where a role is asked how it is, as `--http` says it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ipledger.cli.errors import UsageError

if TYPE_CHECKING:
    from ipledger.engine.listen import Listen


def parse_http(text: str) -> Listen:
    """What `--http` says: `PORT` or `HOST:PORT`. Raises `UsageError`."""
    from ipledger.engine.listen import parse_listen

    try:
        return parse_listen(text)
    except ValueError as error:
        raise UsageError(f"--http: {error}") from None
