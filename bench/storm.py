"""All nodes of a large cluster come back at once: every agent asks for all of its pods.

NODES simulated agents (10,000), each a connection of its own with a subject of its own, ask for
PODS_EACH pods (30), five at a time as the kubelet starts them: 50,000 requests are on their way at
once, three times what the engine queues. Who is told "try again" does so after a pause, as an agent
does. One `ipledger engine` serves them,
on a nats-server that asks for no key. Afterwards the log is verified and every pod has its
address.
"""

from __future__ import annotations

import asyncio
import os
import random
import resource
import time
from collections import deque
from dataclasses import dataclass, field

import uvloop
from harness import OpenRealm, cpu_seconds, engine_up, percentile, report, resident_mib
from load import Ask, Client, Who, allocate, connect

from ipledger.events.facts import PoolSpec

NODES = int(os.environ.get("NODES", "10000"))
PODS_EACH = int(os.environ.get("PODS_EACH", "30"))
IN_FLIGHT = 5
CONNECTING = 200
PAUSE_FIRST_S = 0.05
PAUSE_MAX_S = 1.0
POOL = PoolSpec("pool", 0, "10.0.0.0/8", ips=("10.0.0.1-10.255.0.0",), default=True)


@dataclass
class Storm:
    """What all agents share."""

    since: float
    waits_s: list[float] = field(default_factory=list[float])
    try_again: int = 0


@dataclass
class Agent:
    """One node: its pods, each asked for until it has its address."""

    storm: Storm
    pods: deque[int]
    choose: random.Random
    again: deque[tuple[int, float]] = field(default_factory=deque[tuple[int, float]])
    pauses: dict[int, float] = field(default_factory=dict[int, float])

    def next(self) -> Ask | None:
        """Whoever was told to try again comes first."""
        if self.again:
            number, pause = self.again.popleft()
            return Ask("allocate", allocate(number), pause)
        return Ask("allocate", allocate(self.pods.popleft())) if self.pods else None

    def answered(self, asked: Ask, body: bytes, seconds: float) -> None:
        """Count an address, or ask again later."""
        number = int(asked.body[asked.body.index(b'"sandbox":"') + 11 :][:64], 16)
        if b'"type":"Allocated"' in body:
            self.storm.waits_s.append(time.perf_counter() - self.storm.since)
            return
        assert b'"type":"TryAgain"' in body, body
        self.storm.try_again += 1
        pause = min(self.pauses.get(number, PAUSE_FIRST_S) * 2, PAUSE_MAX_S)
        self.pauses[number] = pause
        self.again.append((number, pause * self.choose.random()))


class Gate:
    """Holds an agent's questions back until all are connected."""

    def __init__(self, agent: Agent, opened: float) -> None:
        self._agent = agent
        self._opened = opened

    def next(self) -> Ask | None:
        """What the agent asks, not before the gate opens."""
        ask = self._agent.next()
        wait = self._opened - time.perf_counter()
        return ask._replace(delay_s=wait) if ask is not None and wait > 0 else ask

    def answered(self, asked: Ask, body: bytes, seconds: float) -> None:
        """The agent's."""
        self._agent.answered(asked, body, seconds)


async def storm(url: str, opens_in_s: float) -> Storm:
    """Connect all agents, let them ask at once, and wait until all have what they asked for."""
    opened = time.perf_counter() + opens_in_s
    shared = Storm(opened)
    clients: list[Client] = []
    for first in range(0, NODES, CONNECTING):
        batch = (
            connect(
                url,
                Who(f"node-{at}"),
                "agent" + str(at),
                Gate(agent(shared, at), opened),
                IN_FLIGHT,
            )
            for at in range(first, min(first + CONNECTING, NODES))
        )
        clients += await asyncio.gather(*batch)
    assert time.perf_counter() < opened, "the agents took too long to connect"
    await asyncio.gather(*(client.done for client in clients))
    return shared


def agent(shared: Storm, at: int) -> Agent:
    """The node of that number."""
    numbers = range(at * PODS_EACH, (at + 1) * PODS_EACH)
    return Agent(shared, deque(numbers), random.Random(at))


def measure(realm: OpenRealm) -> list[list[str]]:
    """The rows of the table."""
    pids = {"engine": realm.pid, "nats-server": realm.server_pid()}
    realm.apply(POOL)
    before = {name: cpu_seconds(pid) for name, pid in pids.items()}
    done = uvloop.run(storm(realm.nats_url, 5 + NODES / 1000))
    count, took = len(done.waits_s), max(done.waits_s)
    assert count == NODES * PODS_EACH == realm.pools()["pool"].allocated, "lost or doubled"
    rows = [
        ["pods", f"{count:,} on {NODES:,} nodes, {IN_FLIGHT} at a time each"],
        ["all have their address after", f"{took:.1f} s"],
        ["durable allocations a second", f"{count / took:,.0f}"],
        ["wait of a pod from the reboot, p50", f"{percentile(done.waits_s, 0.5):.1f} s"],
        ["told to try again", f"{done.try_again:,} times"],
    ]
    for name, pid in pids.items():
        spent = (cpu_seconds(pid) - before[name]) / count * 1e6
        memory = resident_mib(pid, "VmHWM")
        rows.append([name, f"{spent:.0f} µs of CPU a pod, {memory:.0f} MiB at its peak"])
    return rows


def main() -> int:
    """Measure and print."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with engine_up() as realm:
        rows = measure(realm)
    report("storm", "Every node of a cluster reboots at once", ("what", "figure"), rows)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
