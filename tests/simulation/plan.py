"""What a seed draws before its run begins: the size of the realm, who lives in it, what goes wrong.

A run has some kinds of faults and not others (swarm testing): what one kind hides, a run without it
shows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random

import msgspec

from ipledger.events.facts import PoolSpec
from ipledger.gc.settings import Settings
from simulation.cluster_faults import CLUSTER_KINDS
from simulation.faults import CLOCK_KINDS, KINDS

_SMALL4 = PoolSpec("a", 4, "10.0.0.0/27", ips=("10.0.0.2-10.0.0.5",), default=True)
_OTHER4 = PoolSpec("b", 4, "10.0.1.0/28", ips=("10.0.1.2", "10.0.1.4-10.0.1.6"), gateway="10.0.1.1")
_LARGE4 = PoolSpec("c", 4, "10.1.0.0/16", ips=("10.1.0.2-10.1.255.254",), exclude_ips=("10.1.0.3",))
_SMALL6 = PoolSpec("six", 6, "fd00::/120", ips=("fd00::2-fd00::6", "fd00::8"), default=True)
_LARGE6 = PoolSpec("big", 6, "fd01::/64", ips=("fd01::1-fd01::ffff:ffff:ffff:ffff",))
_SETS = (
    (_SMALL4,),
    (_SMALL4, _OTHER4),
    (_SMALL4, _SMALL6),
    (_SMALL4, _OTHER4, _LARGE4, _SMALL6, _LARGE6),
    (_LARGE4, _LARGE6),
)
_OTHER_LIES = ("api-blank-lists", "api-amnesia")


@dataclass(frozen=True, slots=True)
class ClusterPlan:
    """The cluster of a run. `read_lag_s` is how far direct reads may be behind."""

    settings: Settings
    read_lag_s: float


@dataclass(frozen=True, slots=True)
class Plan:
    """The outline of a run. Times are in seconds. `cluster` is None where there is none."""

    engines: int
    nodes: int
    are_alone: bool
    pools: tuple[PoolSpec, ...]
    named4: tuple[str, ...]
    named6: tuple[str, ...]
    deployments: int
    cart: int
    interfaces: tuple[str, ...]
    faults_s: float
    idle_s: float
    """How long faults go on when no more pods come."""
    fault_pause_s: float
    lifetime_s: float
    operator_pace_s: float
    add_timeout_s: float
    is_forgetful: bool
    has_collector: bool
    is_permuted: bool
    is_replicated: bool
    faults: tuple[str, ...]
    cluster: ClusterPlan | None = None


def plan(random: Random, faults: tuple[str, ...] = ()) -> Plan:
    """Draw a run, with these kinds of faults in place of what is drawn, if any are named."""
    drawn = _realm(random)
    if (random.random() < 0.25 and not faults) or set(faults) & set(CLUSTER_KINDS):
        drawn = _with_cluster(drawn, random)
    if faults:
        drawn = replace(drawn, faults=faults)
    return _with_shut_valve(drawn) if "api-half-blank" in drawn.faults else drawn


def _with_shut_valve(drawn: Plan) -> Plan:
    """Where most of the cluster seems to be gone for a while, nothing is freed at first sight.

    Other lies of that size would make the time longer until a second look tells the truth.
    """
    of = drawn.cluster
    assert of is not None
    settings = msgspec.structs.replace(of.settings, share_max=0.0, count_max=0)
    faults = tuple(kind for kind in drawn.faults if kind not in _OTHER_LIES)
    return replace(drawn, faults=faults, cluster=replace(of, settings=settings))


def _realm(random: Random) -> Plan:
    pools = random.choice(_SETS)
    named4 = [spec.name for spec in pools if spec.ip_version == 4]
    named6 = [spec.name for spec in pools if spec.ip_version == 6]
    named4 = random.sample(named4, random.randint(0, len(named4)))
    named6 = random.sample(named6, random.randint(0, len(named6)))
    if not (named4 or named6 or any(spec.default for spec in pools)):
        named4 = [pools[0].name]
    kinds = random.sample(sorted(KINDS), random.randint(1, 6))
    return Plan(
        engines=random.choice((1, 2, 2, 3, 3)),
        nodes=random.choice((1, 2, 3)),
        are_alone=random.random() < 0.2,
        pools=pools,
        named4=tuple(named4),
        named6=tuple(named6),
        deployments=random.randint(1, 4),
        cart=random.choice((0, 1, 2)),
        interfaces=random.choice((("eth0",), ("eth0",), ("eth0",), ("eth0", "net1"))),
        faults_s=random.choice((2.0, 3.0, 4.0, 12.0)),
        idle_s=random.choice((0.0, 0.0, 3.0, 6.0)),
        fault_pause_s=random.choice((0.3, 1.0, 2.0)),
        lifetime_s=random.choice((0.5, 2.0, 6.0)),
        operator_pace_s=random.choice((0.5, 2.0, 100.0)),
        add_timeout_s=random.choice((5.0, 10.0, 20.0)),
        is_forgetful=random.random() < 0.2,
        has_collector=random.random() < 0.4,
        is_permuted=random.random() < 0.5,
        is_replicated=random.random() < 0.4,
        faults=tuple(kinds) if random.random() < 0.95 else (),
    )


def _with_cluster(drawn: Plan, random: Random) -> Plan:
    """The same in a cluster. Where direct reads are behind, clocks go right (ADR 53, guard 3)."""
    read_lag_s = random.choice((0.0, 0.0, 1.5))
    settings = Settings(
        additional_grace_s=random.choice((0.0, 1.0)),
        terminating_on_ready_node=random.random() < 0.8,
        terminating_on_not_ready_node=random.random() < 0.8,
        interval_s=random.choice((1.0, 3.0)),
        min_age_s=3.0 if read_lag_s else random.choice((0.0, 3.0)),
        share_max=random.choice((0.2, 1.0)),
        count_max=random.choice((1, 3, 1000)),
        second_look_s=5.0,
    )
    others = [kind for kind in drawn.faults if not (read_lag_s and kind in CLOCK_KINDS)]
    kinds = random.sample(sorted(CLUSTER_KINDS), random.randint(1, 4))
    return replace(
        drawn,
        deployments=random.randint(2, 6),
        faults_s=random.choice((6.0, 10.0, 20.0)),
        has_collector=False,
        faults=(*others[:2], *kinds),
        cluster=ClusterPlan(settings, read_lag_s),
    )
