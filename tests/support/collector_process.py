"""A collector in a process of its own.

`python -m support.collector_process NATS KEY KUBECONFIG SETTINGS`, of which the last is JSON.
It runs until it is killed.
"""

from __future__ import annotations

import asyncio
import logging
import random
import sys
from pathlib import Path

import msgspec

from ipledger.engine.client import EngineClient
from ipledger.gc.collector import Collector
from ipledger.gc.settings import Settings
from ipledger.projections.cluster.live.connect import connected
from support.collecting import quick_view
from support.keys import connect


async def main(url: str, key: str, kubeconfig: str, settings: str) -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    nc = await connect(url, Path(key), max_reconnect_attempts=-1)
    async with connected(Path(kubeconfig)) as api:
        wanted = msgspec.json.decode(settings, type=Settings)
        await Collector(EngineClient(nc), quick_view(api), wanted).run()


if __name__ == "__main__":
    random.seed()
    asyncio.run(main(*sys.argv[1:]))
