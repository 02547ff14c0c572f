"""What goes wrong with a cluster: its API server is behind or lies, its nodes and state are lost.

Lists and watches may be behind by any time. Direct reads are consistent, or behind by less than an
allocation must be old before it is judged (ADR 53); which of both, the plan says.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Generator
from random import Random

from simulation.apiserver import Mood
from simulation.cluster import Cluster
from simulation.faults import Fault, Faults

HALF_BLANK_S = 4.0


def _cluster(faults: Faults) -> Cluster:
    assert faults.cluster is not None, "the run has no cluster"
    return faults.cluster


@contextlib.contextmanager
def _mood(faults: Faults, **fields: float | bool) -> Generator[None]:
    """The API server is in a mood, and then in its usual one."""
    mood, usual = _cluster(faults).server.mood, Mood()
    for name, value in fields.items():
        setattr(mood, name, value)
    try:
        yield
    finally:
        for name in fields:
            setattr(mood, name, getattr(usual, name))


async def _stale(faults: Faults, random: Random) -> None:
    """Lists and watches are behind, and direct reads as far as they may be."""
    lag_s = random.choice((0.2, 2.0, 8.0))
    read_lag_s = random.random() * _cluster(faults).read_lag_s
    faults.world.note(f"the API server is {lag_s} s behind, reads {read_lag_s:.1f} s")
    with _mood(faults, lag_s=lag_s, read_lag_s=read_lag_s):
        await faults.hold(random, 15.0)


async def _slow(faults: Faults, random: Random) -> None:
    """The API server takes its time, sometimes more than it is given."""
    slow_s = random.choice((0.5, 5.0, 30.0))
    faults.world.note(f"the API server takes up to {slow_s} s")
    with _mood(faults, slow_s=slow_s):
        await faults.hold(random, 10.0)


async def _away(faults: Faults, random: Random) -> None:
    """The API server cannot be reached."""
    faults.world.note("the API server is away")
    with _mood(faults, is_away=True):
        _cluster(faults).server.break_watches()
        await faults.hold(random, 8.0)


async def _failing(faults: Faults, random: Random) -> None:
    """Some calls fail."""
    failing = random.choice((0.2, 0.8))
    faults.world.note(f"{failing:.0%} of the calls to the API server fail")
    with _mood(faults, failing=failing):
        await faults.hold(random, 8.0)


async def _break_watches(faults: Faults, random: Random) -> None:
    """All watches break; sometimes they cannot go on from where they were."""
    cluster = _cluster(faults)
    cluster.server.break_watches()
    if random.random() < 0.5:
        cluster.etcd.compacted = cluster.etcd.revision
    await asyncio.sleep(0)


async def _mute(faults: Faults, random: Random) -> None:
    """Open watches say nothing, and nobody notices."""
    faults.world.note("watches are mute")
    try:
        with _mood(faults, is_mute=True):
            await faults.hold(random, 15.0)
    finally:
        _cluster(faults).server.break_watches()


async def _proxy(faults: Faults, random: Random) -> None:
    """A proxy answers now and then in the place of the API server: 404."""
    proxied = random.choice((0.3, 0.7))
    faults.world.note(f"a proxy answers {proxied:.0%} of the calls to the API server")
    with _mood(faults, proxied=proxied):
        await faults.hold(random, 5.0)


async def _blank_lists(faults: Faults, random: Random) -> None:
    """Lists are empty: a cache that is not filled yet."""
    await _blank(faults, random, "are_lists_blank")


async def _amnesia(faults: Faults, random: Random) -> None:
    """The API server was started with an empty state, and then with its own again."""
    await _blank(faults, random, "is_blank")


async def _forget_most(faults: Faults, random: Random) -> None:
    """Once, for less than a second look, the API server knows only of what Kubernetes runs."""
    cluster = _cluster(faults)
    if not cluster.has_forgotten:
        cluster.has_forgotten = True
        await _blank(faults, random, "is_half_blank", HALF_BLANK_S)


async def _blank(faults: Faults, random: Random, how: str, longest_s: float = 15.0) -> None:
    cluster = _cluster(faults)
    faults.world.note(f"the API server knows nothing: {how}")
    try:
        with _mood(faults, is_mute=True, **{how: True}):
            cluster.forget_versions()
            await faults.hold(random, longest_s)
    finally:
        faults.world.note("the API server knows everything again")
        cluster.forget_versions()


async def _restore(faults: Faults, random: Random) -> None:
    """etcd is put back to what it was, for good."""
    seconds, bumped = random.random() * 6, random.random() < 0.5
    faults.world.note(f"etcd is put back by {seconds:.1f} s{', bumped' if bumped else ''}")
    _cluster(faults).restore(seconds, bumped=bumped)
    await asyncio.sleep(0)


async def _lose_node(faults: Faults, random: Random) -> None:
    """A node is not heard of. Its pods run on, may be deleted, and its object may go."""
    cluster = _cluster(faults)
    node = random.choice(faults.nodes).name
    faults.world.note(f"{node} is lost")
    cluster.lose(node)
    try:
        await faults.hold(random, 3.0)
        for pod in list(cluster.lives.values()):
            if pod.node == node and random.random() < 0.8:
                cluster.delete(pod)
        await faults.hold(random, 8.0)
        if random.random() < 0.3:
            faults.world.note(f"{node} is removed")
            cluster.drop_node(node)
        await faults.hold(random, 8.0)
    finally:
        faults.world.note(f"{node} is heard of again")
        cluster.hear(node)


async def _drop_namespace(faults: Faults, random: Random) -> None:
    """A namespace is deleted, at once, with everything in it."""
    faults.world.note("the namespace goes")
    _cluster(faults).drop_namespace()
    await asyncio.sleep(0)


async def _kill_collector(faults: Faults, random: Random) -> None:
    """SIGKILL of the collector."""
    collector = faults.others[-1]
    collector.kill()
    await faults.hold(random, 4.0)
    collector.start()


async def _stop_collector(faults: Faults, random: Random) -> None:
    """SIGSTOP: what the collector saw is old when it goes on, between any two of its steps."""
    collector = faults.others[-1]
    process = collector.running
    if process is None:
        return
    faults.world.note("the collector is stopped")
    process.stop()
    try:
        await faults.hold(random, 10.0)
    finally:
        faults.world.note("the collector goes on")
        process.go_on(lost_time=False)


CLUSTER_KINDS: dict[str, Fault] = {
    "api-stale": _stale,
    "api-slow": _slow,
    "api-away": _away,
    "api-failing": _failing,
    "api-breaks": _break_watches,
    "api-mute": _mute,
    "api-proxy": _proxy,
    "api-blank-lists": _blank_lists,
    "api-amnesia": _amnesia,
    "api-half-blank": _forget_most,
    "api-restore": _restore,
    "lose-node": _lose_node,
    "drop-namespace": _drop_namespace,
    "kill-collector": _kill_collector,
    "stop-collector": _stop_collector,
}
"""The kinds of faults of runs that have a cluster, by name."""
