"""A process that owns an embedded server: `python owner.py DIRECTORY` says its pid and waits."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from ipledger.events.embedded import EmbeddedServer


async def main() -> None:
    """Start the server, write its pid as one line to stdout, and wait for ever."""
    server = EmbeddedServer(Path(sys.argv[1]))
    await server.start()
    sys.stdout.write(f"{server.pid}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
