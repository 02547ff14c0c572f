"""An engine's metrics: what its log tells, read between two commits, and what it did itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from math import inf

from prometheus_client.core import Metric

from ipledger.engine.engine import Engine, Role
from ipledger.engine.metrics import table
from ipledger.engine.metrics.tally import Tally
from ipledger.engine.queries import Subnets
from ipledger.engine.reading import subnets
from ipledger.engine.waiting import QUEUE_MAX
from ipledger.events.types import Event
from ipledger.projections.fold import Fold
from ipledger.projections.row_makers import pool_row
from ipledger.projections.rows import PoolRow

_STATES = ("free", "allocated", "held", "reserved", "quarantined")


@dataclass(slots=True)
class EngineMetrics:
    """The metrics of an engine. `refresh` first, then `collect`.

    What the log tells is as it was at a durable position: a counter that told of a commit that is
    then refused would go back, and look like a restart (ADR 87).
    """

    engine: Engine
    _told: list[Metric] = field(default_factory=list[Metric], init=False)

    async def refresh(self) -> None:
        """Look at the log's state. Where a commit takes long, what was seen last is kept."""
        if self.engine.role not in (Role.STANDBY, Role.LEADER):
            self._told = []
            return
        told = await self.engine.at_rest(self._of_log)
        self._told = self._told if told is None else told

    def _of_log(self, fold: Fold) -> list[Metric]:
        state = fold.state
        pools = [pool_row(pool, state.quarantined_in(pool)) for pool in state.pools.values()]
        return [*_of_pools(pools), *_of_exhaustion(self.engine, pools), *_of_state(fold)]

    def collect(self) -> Iterable[Metric]:
        """The metrics as they are."""
        yield from self._told
        yield from _of_engine(self.engine)
        yield from _of_tally(self.engine.tally)


def _of_state(fold: Fold) -> Iterator[Metric]:
    state = fold.state
    live = len(state.allocations)
    yield from _of_subnets(fold)
    yield table.RESERVATIONS.value(len(state.reservations))
    yield table.APPLICATIONS.value(len(state.applications))
    yield table.LIVE_ALLOCATIONS.value(live)
    yield table.ALLOCATIONS.value(state.allocated_ever)
    yield table.RELEASES.value(state.allocated_ever - live)
    yield table.EVENTS.value(state.events_ever)
    yield table.COMMITS.value(fold.sequence)
    yield table.EPOCH.value(state.epoch)
    yield table.LAST_COMMIT.value(fold.time / 1e6)
    yield table.CHECKPOINT.value(state.checkpoint.sequence if state.checkpoint else 0)


def _of_pools(pools: Sequence[PoolRow]) -> Iterator[Metric]:
    counted = Counter({4: 0, 6: 0})
    counted.update(row.ip_version for row in pools)
    yield table.POOLS.family([((str(version),), n) for version, n in counted.items()])
    yield table.POOL_ADDRESSES.family(
        ((row.name, str(row.ip_version), state), getattr(row, state))
        for row in pools
        for state in _STATES
    )


def _of_exhaustion(engine: Engine, pools: Sequence[PoolRow]) -> Iterator[Metric]:
    versions = {row.name: str(row.ip_version) for row in pools}
    found = [((one.pool, versions[one.pool]), one) for one in engine.exhaustion(pools)]
    yield table.POOL_GROWTH.family((labels, one.growth_per_second) for labels, one in found)
    yield table.POOL_EXHAUSTION.family(
        (labels, inf if one.full_in_seconds is None else one.full_in_seconds)
        for labels, one in found
    )


def _of_subnets(fold: Fold) -> Iterator[Metric]:
    rows = subnets(fold.state, Subnets())
    counted = Counter({4: 0, 6: 0})
    counted.update(row.ip_version for row in rows)
    yield table.SUBNETS.family([((str(version),), n) for version, n in counted.items()])
    yield table.SUBNET_POOLS.family(
        ((row.name, str(row.ip_version)), len(row.pools)) for row in rows
    )
    yield table.SUBNET_ADDRESSES.family(
        ((row.name, str(row.ip_version), state), count)
        for row in rows
        for state, count in (("free", row.free), ("in_pools", row.allocated))
    )


def _of_engine(engine: Engine) -> Iterator[Metric]:
    yield table.ENGINE_ROLE.family([((role,), role is engine.role) for role in Role])
    yield table.QUEUE.value(engine.queue)
    yield table.QUEUE_LIMIT.value(QUEUE_MAX)
    yield table.PROJECTION_LAG.value(engine.lag)
    if engine.second_copy is not None:
        kept = engine.second_copy.ledger.head.sequence
        yield table.SECOND_COPY.value(kept)
        yield table.SECOND_COPY_LAG.value(max(0, engine.folded - kept))
    if engine.snapshots is not None:
        outcomes = engine.snapshots.outcomes
        found = [(("saved",), outcomes.saved), (("failed",), outcomes.failed)]
        yield table.SNAPSHOTS.family(found)
        yield table.SNAPSHOT_COMMITS.value(outcomes.newest)


def _of_tally(tally: Tally) -> Iterator[Metric]:
    yield table.STEP_DURATION.distributions(tally.steps.items())
    yield table.REQUESTS.family(tally.requests.items())
    yield table.REFUSALS.family(((reason,), n) for reason, n in tally.refusals.items())
    yield table.ENGINE_EVENTS.family(
        ((kind.__name__,), tally.events[kind]) for kind in Event.__subclasses__()
    )
    yield table.COMMIT_DURATION.distributions([((), tally.commit_duration)])
    yield table.COMMIT_EVENTS.distributions([((), tally.commit_events)])
    yield table.COMMIT_SIZE.distributions([((), tally.commit_size)])
    yield table.QUEUE_REJECTIONS.value(tally.rejected)
