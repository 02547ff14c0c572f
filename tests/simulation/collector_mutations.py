"""Deliberate mistakes of the collector, and of what it hears of a cluster by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from unittest import mock

from ipledger.engine import release
from ipledger.engine.commands import ReleaseAllocation
from ipledger.gc import applications, view
from ipledger.gc.case import Case
from ipledger.gc.claims import Claim
from ipledger.gc.judge import Judgement
from ipledger.gc.look import Looker
from ipledger.gc.report import Report
from ipledger.gc.valve import Admitted, Valve
from ipledger.projections.cluster.live.api import ApiError, ApiUnreachableError
from ipledger.projections.cluster.live.watch import Watch
from ipledger.projections.cluster.mirror import Change, Mirror
from simulation.mutations import ALL, Patch, mutation

__all__ = ["ALL"]


@mutation("ADR 53, the order of reads", "api-stale", first=22)
def what_a_watch_says_is_not_confirmed() -> Patch:
    """Nothing is read again before it is freed."""

    async def believe(
        self: Looker, claims: Sequence[Claim], judgements: Mapping[str, Judgement], report: Report
    ) -> list[tuple[Claim, Judgement]]:
        return [(claim, judgements[claim.allocation]) for claim in claims]

    return mock.patch.object(Looker, "_confirmed", believe)


@mutation("ADR 53, the order of reads", "api-failing", "api-stale", first=27)
def a_read_that_fails_is_a_pod_that_is_gone() -> Patch:
    """Whatever goes wrong, the pod is not there."""
    read = view.View.read_pod

    async def careless(self: view.View, claim: Claim) -> Any:
        try:
            return await read(self, claim)
        except (ApiError, ApiUnreachableError):
            return None

    return mock.patch.object(view.View, "read_pod", careless)


@mutation("ADR 53, the order of reads", "api-proxy", "api-stale", first=30)
def a_proxys_404_is_a_pod_that_is_gone() -> Patch:
    """The status of an answer is believed, whoever gave it."""
    read = view.View.read_pod

    async def careless(self: view.View, claim: Claim) -> Any:
        try:
            return await read(self, claim)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    return mock.patch.object(view.View, "read_pod", careless)


@mutation("ADR 53, the order of reads", "api-proxy", "api-stale")
def a_404_about_the_cluster_is_a_pod_that_is_gone() -> Patch:
    """Kubernetes' own word is believed, whatever it is about."""

    def says(self: ApiError, name: str) -> bool:
        return self.reason == "NotFound"

    return mock.patch.object(ApiError, "says_there_is_no", says)


@mutation("ADR 53, the condition", "stop-collector", first=105)
def a_release_has_no_condition() -> Patch:
    """The collector frees the allocation, whoever has it now."""
    changed = release._changed  # pyright: ignore[reportPrivateUsage]

    def unchanged(held: Any, command: ReleaseAllocation) -> Any:
        return None if command.reason == "gc" else changed(held, command)

    return mock.patch.object(release, "_changed", unchanged)


@mutation("ADR 53, the age", "api-stale")
def a_young_allocation_is_judged() -> Patch:
    """Direct reads may be behind, and nobody waits for them."""
    return mock.patch.object(Case, "old_at", 0)


@mutation("ADR 53, the valve", "api-half-blank")
def the_valve_is_always_open() -> Patch:
    """However many seem to be zombies, they are freed at once."""

    def admit(self: Valve, zombies: Sequence[Claim], *_: Any, **how: Any) -> Admitted:
        return Admitted(list(zombies), [])

    return mock.patch.object(Valve, "admit", admit)


@mutation("ADR 80", "api-amnesia")
def a_server_without_pods_is_believed() -> Patch:
    """Its direct reads are taken for the truth."""

    async def knows_pods(self: view.View) -> bool:
        return True

    return mock.patch.object(view.View, "knows_pods", knows_pods)


@mutation("ADR 80", "api-stale", first=106)
def an_application_is_gone_at_first_sight() -> Patch:
    """An application is thought to be gone as soon as it is not on a list."""

    def absent(self: applications.Absences, gone: list[Any], now: int, for_s: float) -> list[Any]:
        return gone

    return mock.patch.object(applications.Absences, "_absent", absent)


@mutation("ADR 52", "api-breaks")
def another_uid_is_the_same_pod() -> Patch:
    """A pod is known by its name."""
    return mock.patch.object(Case, "own", property(lambda case: case.pod))


@mutation("ADR 52", "api-breaks")
def a_kubelet_is_not_believed() -> Patch:
    """A pod past its grace is gone, though its kubelet says that it runs."""
    return mock.patch.object(Case, "is_reported_running", False)


@mutation("ADR 52", "lose-node")
def a_grace_is_not_waited_for() -> Patch:
    """A pod that is being deleted needs its addresses no more."""
    return mock.patch.object(Case, "is_within_grace", False)


@mutation("DESIGN section 9", "api-breaks")
def what_vanished_from_a_list_is_not_missed() -> Patch:
    """A list that is made again tells what is there, and nothing else."""

    def end_list(self: Mirror[Any]) -> list[Change[Any]]:
        return []

    return mock.patch.object(Mirror, "end_list", end_list)


@mutation("ADR 81", "api-restore", first=9)
def a_server_that_was_put_back_is_waited_for() -> Patch:
    """A watch goes on from the version that it knows, whatever the server counts.

    Lists that are made again would make good for it; one list is missed by later seeds only.
    """

    async def ask_version(self: Watch[Any]) -> None:
        pass

    return mock.patch.multiple(Watch, _ask_version=ask_version, _is_list_old=False)


@mutation("ADR 125", "api-restore", first=17)
def a_list_is_made_once() -> Patch:
    """What a watch has stays there until the watch says otherwise."""
    return mock.patch.object(Watch, "_is_list_old", False)
