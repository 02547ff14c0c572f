"""The least that answers durable requests over NATS: a program for `engine.py` to measure.

It does what an engine cannot do without and nothing else: nats-py takes a request, all that came
while the last commit was on its way leave as one JetStream message of as many bytes for each as an
allocation has, and each request is answered. No state, no decision, no second copy.

    python bare.py URL BYTES
"""

from __future__ import annotations

import asyncio
import sys

import nats
import uvloop
from nats.aio.msg import Msg

from ipledger.events import names
from ipledger.events.jetstream import stream_config

REALM = "bare"
ANSWER = b'{"type":"Allocated","position":"1.0","allocation":' + b'"x"'.ljust(400) + b"}"


async def serve(url: str, size: int) -> None:
    """Answer until the process is ended."""
    nc = await nats.connect(url)
    js = nc.jetstream()
    await js.add_stream(stream_config(REALM))
    waiting: list[str] = []
    wake = asyncio.Event()

    async def on_message(message: Msg) -> None:
        waiting.append(message.reply)
        wake.set()

    await nc.subscribe(names.node_command(REALM, "*", "*"), cb=on_message)
    await nc.flush()
    print("ready", flush=True)
    while True:
        await wake.wait()
        wake.clear()
        batch, waiting[:] = list(waiting), []
        await js.publish(
            names.log_subject(REALM), b"x" * (size * len(batch)), stream=names.stream(REALM)
        )
        for reply in batch:
            await nc.publish(reply, ANSWER)


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1], int(sys.argv[2])))
