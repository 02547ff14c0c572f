"""The text in which the judge's table of cases is written: see tests/gc/judge.txt."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from ipledger.events.clock import format_time
from ipledger.events.facts import Application, Owner
from ipledger.events.facts import Pod as PodFact
from ipledger.gc.case import SECOND, Case
from ipledger.gc.claims import Claim
from ipledger.gc.settings import Settings
from ipledger.projections.cluster.nodes import Node
from ipledger.projections.cluster.pods import Pod
from support.desk import NOON
from support.text import fields

JUDGE_TABLE = Path(__file__).parents[1] / "gc" / "judge.txt"

UIDS = {
    "": "0b1c2d3e-0000-4000-8000-000000000001",
    "other": "0b1c2d3e-0000-4000-8000-000000000002",
    "container": "0123456789abcdef" * 4,
    "static": "0123456789abcdef0123456789abcdef",
}
_UNITS = {"s": 1, "m": 60, "h": 3600}
_SWITCHES: dict[str, dict[str, Any]] = {
    "ready-off": {"terminating_on_ready_node": False},
    "not-ready-off": {"terminating_on_not_ready_node": False},
    "empty-ips": {"running_without_ips": True},
}


class JudgeRow(NamedTuple):
    """A row: its line in the file, its title, the case, and the verdict that it must get."""

    line: int
    title: str
    case: Case
    verdict: str


def judge_rows() -> Iterator[JudgeRow]:
    """All rows of the table."""
    for number, raw in enumerate(JUDGE_TABLE.read_text().splitlines(), 1):
        if raw and not raw.startswith("#"):
            title, *cells, verdict = (cell.strip() for cell in raw.split(" | "))
            yield JudgeRow(number, title, _case(*cells), verdict)


def relative(text: str) -> int:
    """`+20s`, `-5m`, `1h` in microseconds."""
    match = re.fullmatch(r"([+-]?\d+)([smh])", text)
    assert match, f"{text!r} is no time"
    return int(match[1]) * _UNITS[match[2]] * SECOND


def _case(allocation: str, pod: str, node: str, application: str, settings: str) -> Case:
    given = fields(allocation.split())
    claim = _claim(given)
    seen = fields(pod.split())
    seen_at = NOON + relative(seen.pop("seen")) if "seen" in seen else 0
    return Case(
        claim,
        None if pod == "none" else _pod(claim, seen),
        _node(node),
        _application(claim, fields(application.split())),
        _settings(settings.split()),
        NOON,
        seen_at,
    )


def _claim(given: dict[str, str]) -> Claim:
    of = given.pop("of", "")
    owner = Owner(*of.rsplit("/", 2)) if of else None
    pod = given.pop("name", f"{owner.name}-0" if owner else "web-0")
    namespace, uid = given.pop("ns", "shop"), UIDS[given.pop("uid", "")]
    held = given.pop("held", None) is not None
    bound, interface = NOON - relative(given.pop("age")), given.pop("if", "eth0")
    assert not given, f"unknown words of an allocation: {given}"
    sandbox = "" if held else "sandbox-1"
    pod_fact = PodFact(namespace, pod, uid)
    return Claim("a1", pod_fact, "n1", sandbox, interface, owner, bound, ("10.1.0.10",))


def _pod(claim: Claim, given: dict[str, str]) -> Pod:
    """A pod as an API server's JSON has it."""
    phase = next(iter(given))
    del given[phase]
    metadata: dict[str, Any] = {
        "namespace": claim.pod.namespace,
        "name": claim.pod.name,
        "uid": UIDS[given.pop("uid", "")],
    }
    if given.pop("mirrors", None) is not None:
        metadata["annotations"] = {"kubernetes.io/config.mirror": claim.pod.uid}
    if given.pop("static", None) is not None:
        metadata["annotations"] = {"kubernetes.io/config.mirror": UIDS["static"]}
    if "deleted" in given:
        metadata["deletionTimestamp"] = _time(given.pop("deleted"))
    spec = {"terminationGracePeriodSeconds": int(given.pop("grace"))} if "grace" in given else {}
    status: dict[str, Any] = {"phase": "" if phase == "-" else phase}
    if given.pop("ip", None) is not None:
        status["podIPs"] = [{"ip": "10.1.0.10"}]
    status["reason"] = given.pop("reason", "")
    all_ended = given.pop("all-ended", None) is not None
    if "ended" in given:
        ended = {"state": {"terminated": {"finishedAt": _time(given.pop("ended"))}}}
        some = given.pop("some-ended", None) is not None and not all_ended
        status["containerStatuses"] = [ended, {"state": {"running": {}}}] if some else [ended]
    assert not given, f"unknown words of a pod: {given}"
    body = {"metadata": metadata, "spec": spec, "status": status}
    return msgspec.json.decode(msgspec.json.encode(body), type=Pod)


def _time(text: str) -> str:
    return format_time(NOON + relative(text))


def _node(text: str) -> Node | None:
    if text == "gone":
        return None
    ready = {"ready": "True", "not-ready": "Unknown"}[text]
    body = {
        "metadata": {"name": "n1"},
        "status": {"conditions": [{"type": "Ready", "status": ready}]},
    }
    return msgspec.json.decode(msgspec.json.encode(body), type=Node)


def _application(claim: Claim, given: dict[str, str]) -> Application | None:
    if "replicas" not in given or claim.owner is None:
        return None
    owner = claim.owner
    return Application(
        owner.api_version,
        owner.kind,
        claim.pod.namespace,
        owner.name,
        replicas=int(given["replicas"]),
        start=int(given.get("start", "0")),
    )


def _settings(words: list[str]) -> Settings:
    changes: dict[str, Any] = {}
    for word in words:
        key, _, value = word.partition("=")
        if key == "delay":
            changes["additional_grace_s"] = float(value)
        elif key == "min-age":
            changes["min_age_s"] = float(value)
        elif word != "-":
            changes |= _SWITCHES[word]
    return Settings(**changes)
