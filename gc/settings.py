"""The collector's settings: the reference's, with its meanings and defaults, and a few of ours."""

from __future__ import annotations

import msgspec


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """How the collector judges and how carefully it frees. Times are in seconds.

    The reference's, each under its name there:

    `additional_grace_s`: waited beyond a pod's own grace (GC_ADDITIONAL_GRACE_DELAY).
    `terminating_on_ready_node`, `terminating_on_not_ready_node`: whether pods that are terminating
    beyond their grace are zombies (GC_STATELESS_TERMINATING_POD_ON_READY_NODE_ENABLED and …ON_NOT_
    READY_NODE_ENABLED). A node that is gone is not ready.
    `running_without_ips`: whether a running pod without any address in its status is a zombie
    (GC_STATELESS_RUNNING_POD_ON_EMPTY_POD_STATUS_IPS_ENABLED).
    `interval_s`: from one full comparison to the next (GC_DEFAULT_INTERVAL_DURATION).

    Ours:

    `min_age_s`: an allocation is not judged a zombie for this long after its last ADD.
    `share_max`, `count_max`: more frees than both within `second_look_s` wait for a second look,
    at least that long after the first one.
    """

    additional_grace_s: float = 0.0
    terminating_on_ready_node: bool = True
    terminating_on_not_ready_node: bool = True
    running_without_ips: bool = False
    interval_s: float = 600.0
    min_age_s: float = 30.0
    share_max: float = 0.2
    count_max: int = 10
    second_look_s: float = 600.0


DEFAULT = Settings()
