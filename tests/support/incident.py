"""The incident of docs/how-to/investigate-an-incident.md: the log, and a firewall's flow log.

The address of a pod of `shop` that has ended goes to a job of `lab`, which talks to a host that it
should not.
"""

from __future__ import annotations

from pathlib import Path

from ipledger.engine.decide import decide
from ipledger.events import commit
from ipledger.events.clock import parse_time
from ipledger.events.types import AnyEvent, LeadershipTaken
from ipledger.projections.evolve import Moment, evolve
from ipledger.projections.state import State
from support.text import command

STORY: tuple[tuple[str, str], ...] = (
    ("00:00:00", "pool office 10.6.1.0/24 ips=10.6.1.5-10.6.1.8 gateway=10.6.1.1 default"),
    ("00:00:00", "pool spare 10.6.2.0/24 ips=10.6.2.5-10.6.2.6 disable"),
    ("01:14:03", "ADD web-1 ns=shop node=worker-1"),
    ("01:14:03", "ADD web-2 ns=shop node=worker-2"),
    ("01:20:41", "ADD cart-1 ns=shop node=worker-1"),
    ("02:05:10", "ADD pay-1 ns=bank node=worker-2"),
    ("03:00:07", "ADD web-3 ns=shop node=worker-1 v4=office,spare"),
    ("03:02:15", "DEL cart-1-sandbox node=worker-1"),
    ("03:02:16", "ADD scan-x7k2p ns=lab node=worker-1 v4=office,spare"),
    ("03:30:00", "DEL scan-x7k2p-sandbox node=worker-1"),
    ("03:40:12", "ADD web-3 ns=shop node=worker-1 v4=office,spare"),
    ("04:10:00", "release a4 evidence=worker-2-was-drained"),
)
DAY = "2026-11-17T"

FLOWS = """\
{"ts":"2026-11-17T03:02:14.900000Z","src":"10.6.1.7","dst":"203.0.113.9","dport":443,"bytes":1840}
{"ts":"2026-11-17T03:12:44.031Z","src":"10.6.1.7","dst":"203.0.113.9","dport":6667,"bytes":998244}
{"ts":"2026-11-17T03:12:45.518Z","src":"10.6.1.5","dst":"203.0.113.80","dport":443,"bytes":5120}
{"ts":"2026-11-17T03:35:00Z","src":"10.6.1.7","dst":"203.0.113.9","dport":6667,"bytes":60}
"""

POOLS = """\
apiVersion: spiderpool.spidernet.io/v2beta1
kind: SpiderIPPool
metadata: {name: office}
spec: {subnet: 10.6.1.0/24, ips: [10.6.1.5-10.6.1.12], gateway: 10.6.1.1, default: true}
"""


def payloads() -> list[bytes]:
    """The commits of the log."""
    state, stored = State(), list[bytes]()
    lead = LeadershipTaken(epoch=1, engine="engine-1", version="0.1.0")
    _store(state, stored, [lead], parse_time(f"{DAY}00:00:00Z"))
    for when, text in STORY:
        now = parse_time(f"{DAY}{when}Z")
        _store(state, stored, list(decide(state, command(text), now).events), now)
    return stored


def write(folder: Path) -> None:
    """Write what the auditor has: log.jsonl, flows.jsonl and pools.yaml."""
    (folder / "log.jsonl").write_bytes(b"".join(line + b"\n" for line in payloads()))
    (folder / "flows.jsonl").write_text(FLOWS)
    (folder / "pools.yaml").write_text(POOLS)


def _store(state: State, stored: list[bytes], events: list[AnyEvent], now: int) -> None:
    if not events:
        return
    for index, event in enumerate(events):
        evolve(state, event, Moment(len(stored) + 1, index, now))
    prev = commit.digest(stored[-1]) if stored else commit.GENESIS
    stored.append(commit.encode(1, now, prev, map(commit.encode_event, events)))
