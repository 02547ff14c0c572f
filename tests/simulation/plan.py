"""What a seed draws before its run begins: the size of the realm, who lives in it, what goes wrong.

A run has some kinds of faults and not others (swarm testing): what one kind hides, a run without it
shows.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from ipledger.events.facts import PoolSpec
from simulation.faults import KINDS

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


@dataclass(frozen=True, slots=True)
class Plan:
    """The outline of a run. Times are in seconds."""

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


def plan(random: Random) -> Plan:
    """Draw a run."""
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
