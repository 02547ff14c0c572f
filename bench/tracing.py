"""What tracing costs an engine while it is off: instructions and processor time an allocation.

Two trees of the same sources run in turn, one of them with all that tracing has on the way of a
command cut out of it. Bus and log are in memory, so that nothing else dilutes the difference. The
instructions are counted by valgrind, which no other load disturbs; of each tree two runs of
different length are subtracted, and what is left are the allocations between.

Beside it, what the trace context and the steps of an ADD cost, which every agent sends and the log
keeps for `ipledger trace`, traced or not.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from harness import median_and_spread, report
from load import allocate
from support.memory_bus import MemoryBus
from support.realm import REALM, realm

from ipledger.engine.commands import ApplyPool
from ipledger.events import names
from ipledger.events.bus import Message
from ipledger.events.facts import PoolSpec

ROOT = Path(__file__).parents[1]
ROUNDS = 11
SHORT, LONG, TIMED = 512, 2560, 20_480
POOL = PoolSpec("pool", 0, "10.0.0.0/8", ips=("10.0.0.1-10.255.0.0",), default=True)
CONTEXT = (
    b',"traceparent":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00","steps":'
    b'{"shim":1795000000000000,"agent":1795000000000200,"sent":1795000000000300}}'
)

TRACING = {
    "engine/service.py": (
        (
            "        if self._tells_all:\n"
            "            return await self._submit(told(message, command, reply))\n",
            "",
        ),
    ),
    "engine/commit_loop.py": (
        (
            '    traceparent: str = ""\n'
            "    spans: list[Span] = field(default_factory=list[Span])\n",
            "",
        ),
        (
            "            if request.span is not NO_SPAN:\n"
            '                request.span.add_event("decided")\n'
            "                if encoded:\n"
            "                    batch.spans.append(request.span)\n",
            "",
        ),
        (
            "            batch.traceparent = batch.traceparent or "
            'getattr(event, "traceparent", "")\n',
            "",
        ),
        (
            "        with _begin_span(batch, fold.state.epoch, len(payload)) as span:\n"
            "            traceparent = tracing.traceparent_of(span) or batch.traceparent\n"
            "            sequence = await self._append(payload, batch.types, traceparent)\n"
            '            span.set_attribute("ipledger.sequence", sequence)\n',
            "        sequence = await self._append(payload, batch.types)\n",
        ),
    ),
}
"""What tracing has on the way of a command, and what is there without it."""


class Case(NamedTuple):
    """A tree that is run, and whether its commands have a context."""

    tree: Path
    has_context: bool


def untraced(folder: Path) -> Path:
    """A tree of the sources without their tracing; fails if it is not where it was."""
    shutil.copytree(ROOT / "src/ipledger", folder / "ipledger")
    for name, cuts in TRACING.items():
        path = folder / "ipledger" / name
        text = path.read_text()
        for old, new in cuts:
            assert text.count(old) == 1, (name, old)
            text = text.replace(old, new)
        path.write_text(text)
    return folder


def run(case: Case, count: int, at_once: int, *before: str) -> subprocess.CompletedProcess[str]:
    """Run allocations in a process of their own, under a program where one is named."""
    command = [*before, sys.executable, __file__, str(count), str(at_once), str(case.has_context)]
    path = f"{case.tree}{os.pathsep}{ROOT / 'tests'}"
    env = {**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": "0"}
    return subprocess.run(command, env=env, check=True, capture_output=True, text=True)


def micros(case: Case, at_once: int) -> float:
    """Processor time of an allocation."""
    return float(run(case, TIMED, at_once).stdout)


def instructions(case: Case, at_once: int) -> float:
    """Instructions of an allocation."""
    valgrind = ("valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null")
    short, long = (
        int(re.findall(r"Collected : (\d+)", run(case, count, at_once, *valgrind).stderr)[0])
        for count in (SHORT, LONG)
    )
    return (long - short) / (LONG - SHORT)


def row(cases: tuple[Case, Case, Case], at_once: int) -> list[str]:
    """Measure the three cases round by round."""
    times = [[micros(case, at_once) for case in cases] for _ in range(ROUNDS)]
    counted = [instructions(case, at_once) for case in cases]
    without, off, told = counted
    ratios = [[one[at] / one[at - 1] * 100 - 100 for one in times] for at in (1, 2)]
    return [
        str(at_once),
        f"{without:,.0f}",
        f"{off / without * 100 - 100:+.2f}",
        f"{told / off * 100 - 100:+.2f}",
        f"{statistics.median(one[0] for one in times):.1f}",
        median_and_spread(ratios[0]),
        median_and_spread(ratios[1]),
    ]


async def work(count: int, at_once: int, *, has_context: bool) -> float:
    """Microseconds of processor time of an allocation, `at_once` of which wait for each other."""
    done, answers = asyncio.Event(), 0
    bodies = [allocate(number) for number in range(count)]
    if has_context:
        bodies = [body[:-1] + CONTEXT for body in bodies]

    async def answered(message: Message) -> None:
        nonlocal answers
        assert b'"type":"Allocated"' in message.data, message.data
        answers += 1
        if answers % at_once == 0:
            done.set()

    async with realm() as running:
        await running.leader("engine")
        await running.client().apply(ApplyPool(pool=POOL))
        bus = MemoryBus(running.net)
        inbox = bus.new_inbox()
        await bus.subscribe(inbox, cb=answered)
        subject = names.node_command(REALM, "node-1", "allocate")
        started = time.process_time()
        for start in range(0, count, at_once):
            for body in bodies[start : start + at_once]:
                await bus.publish(subject, body, reply=inbox)
            await done.wait()
            done.clear()
        return (time.process_time() - started) / count * 1e6


def main() -> int:
    """Measure and print; with arguments, be one of the runs."""
    if len(sys.argv) > 1:
        count, at_once, has_context = sys.argv[1:]
        took = asyncio.run(work(int(count), int(at_once), has_context=has_context == "True"))
        print(took)
        return 0
    with tempfile.TemporaryDirectory(prefix="ipledger-bench-") as folder:
        bare = untraced(Path(folder))
        cases = Case(bare, False), Case(ROOT / "src", False), Case(ROOT / "src", True)
        report(
            "tracing",
            "Tracing that is off: an allocation in the engine, without bus and disk",
            (
                "at once",
                "instructions without tracing",
                "with it, off, %",
                "and a context in command and event, %",
                f"µs without, median of {ROUNDS}",
                "with it, off, %",
                "and a context, %",
            ),
            [row(cases, at_once) for at_once in (1, 256)],
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
