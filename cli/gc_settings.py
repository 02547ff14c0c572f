"""The collector's settings as flags and environment variables."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from cyclopts import Group, Parameter

from ipledger.cli.errors import UsageError

if TYPE_CHECKING:
    from ipledger.gc.settings import Settings


def _env(name: str) -> Parameter:
    return Parameter(env_var=f"IPLEDGER_GC_{name}")


@Parameter(name="*", group=Group("Collector", sort_key=8))
@dataclass(frozen=True, slots=True)
class GcFlags:
    """What is a zombie, and how many are believed at once. Times are in seconds.

    Parameters
    ----------
    additional_grace
        Waited beyond a pod's own grace.
    terminating_on_ready_node
        Free what a pod has that is terminating beyond its grace on a node that is ready, and whose
        containers have ended.
    terminating_on_not_ready_node
        The same on a node that is not ready or gone, whatever its containers do.
    running_without_ips
        Free what a running pod has whose status shows no address.
    min_age
        Leave an allocation alone for so long after its last ADD.
    share_max
        Free at most this share of all allocations at one look, if that is more than --count-max.
    count_max
        Free at least so many at one look, however large a share that is.
    """

    additional_grace: Annotated[float, _env("ADDITIONAL_GRACE")] = 0.0
    terminating_on_ready_node: Annotated[
        bool,
        _env("TERMINATING_ON_READY_NODE"),
        Parameter(negative="--no-terminating-on-ready-node"),
    ] = True
    terminating_on_not_ready_node: Annotated[
        bool,
        _env("TERMINATING_ON_NOT_READY_NODE"),
        Parameter(negative="--no-terminating-on-not-ready-node"),
    ] = True
    running_without_ips: Annotated[bool, _env("RUNNING_WITHOUT_IPS")] = False
    min_age: Annotated[float, _env("MIN_AGE")] = 30.0
    share_max: Annotated[float, _env("SHARE_MAX")] = 0.2
    count_max: Annotated[int, _env("COUNT_MAX")] = 10

    def settings(self) -> Settings:
        """The settings. Raises `UsageError` for a value out of bounds."""
        from ipledger.gc.settings import Settings

        for name in ("additional_grace", "min_age", "count_max"):
            if not 0 <= getattr(self, name) < math.inf:
                message = f"{getattr(self, name)} is negative or no number"
                raise UsageError(f"--{name.replace('_', '-')}: {message}")
        if not 0 <= self.share_max <= 1:
            raise UsageError(f"--share-max: {self.share_max} is not between 0 and 1")
        return Settings(
            additional_grace_s=self.additional_grace,
            terminating_on_ready_node=self.terminating_on_ready_node,
            terminating_on_not_ready_node=self.terminating_on_not_ready_node,
            running_without_ips=self.running_without_ips,
            min_age_s=self.min_age,
            share_max=self.share_max,
            count_max=self.count_max,
        )


@Parameter(name="*", group=Group("Collector", sort_key=8))
@dataclass(frozen=True, slots=True)
class CollectorFlags(GcFlags):
    """The same for a collector that runs on.

    Parameters
    ----------
    interval
        From one full comparison to the next.
    """

    interval: Annotated[float, _env("INTERVAL")] = 600.0

    def settings(self) -> Settings:
        """The settings. Raises `UsageError` for a value out of bounds."""
        import msgspec

        if not 1 <= self.interval < math.inf:
            raise UsageError(f"--interval: {self.interval} is less than 1 or no number")
        return msgspec.structs.replace(GcFlags.settings(self), interval_s=self.interval)


RUNNING = CollectorFlags()
DEFAULT = GcFlags()
