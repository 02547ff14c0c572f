"""Connections to NATS as one user of its servers or another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nats
from nats.aio.client import Client as NatsClient

from ipledger.events import keys, names


async def connect(url: str, key: Path | None = None, **options: Any) -> NatsClient:
    """A client with the key in a file; without one, a client of open servers."""
    if key is not None:
        options["nkeys_seed"] = str(key)
        options["inbox_prefix"] = names.inbox(public_key(key))
    return await nats.connect(url.split(","), **options)


def public_key(key: Path) -> str:
    """The public half of the key in a file."""
    return keys.public_key(key.read_bytes().strip())
