"""Admission: whether a change of a pool, subnet or reservation may go on to be stored (ADR 64).

Every rule is the engine's, asked by the `check` query; here is only what of a request is a change
at all, and what is said when the engine cannot be asked. Shapes are those of AdmissionReview
`admission.k8s.io/v1`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import msgspec

from ipledger.engine.client import EngineClient, EngineUnavailableError, RefusedError
from ipledger.engine.commands import AnyChange, DeletePool, DeleteSubnet
from ipledger.engine.refusals import Reason, Refusal
from ipledger.events.quoting import QUOTE_MAX, cut, quote
from ipledger.kube.metrics import REVIEWS
from ipledger.kube.reading import read_resource
from ipledger.kube.resources import (
    API_VERSION,
    POOL_KIND,
    RECLAIM,
    RESERVATION_KIND,
    REUSE_HOLD,
    SUBNET_KIND,
    FieldError,
)

_log = logging.getLogger(__name__)

_REVIEW = ("admission.k8s.io/v1", "AdmissionReview")
_KINDS = (POOL_KIND, SUBNET_KIND, RESERVATION_KIND)
_READ_METADATA = (RECLAIM, REUSE_HOLD)
_DELETES: dict[str, Callable[[str], AnyChange]] = {
    POOL_KIND: lambda name: DeletePool(name=name),
    SUBNET_KIND: lambda name: DeleteSubnet(name=name),
}
_UNKNOWN = (Reason.POOL_UNKNOWN, Reason.SUBNET_UNKNOWN)
_CODES = {
    Reason.BAD_REQUEST: 400,
    Reason.INVALID_FIELD: 422,
    Reason.FIELD_IMMUTABLE: 422,
}
_CONFLICT = 409
_INVALID = 422
_UNAVAILABLE = 503


class BadReviewError(Exception):
    """What came is no review that can be answered; the text says why."""

    def __init__(self, what: str) -> None:
        super().__init__(cut(what))


class _GroupVersionKind(msgspec.Struct):
    group: str = ""
    version: str = ""
    kind: str = ""


class _Request(msgspec.Struct, rename="camel"):
    uid: str
    kind: _GroupVersionKind
    operation: str
    name: str = ""
    sub_resource: str = ""
    object: dict[str, Any] | None = None
    old_object: dict[str, Any] | None = None


class _Review(msgspec.Struct, rename="camel"):
    api_version: str
    kind: str
    request: _Request


class _Status(msgspec.Struct, omit_defaults=True):
    code: int
    message: str
    reason: str = ""


class _Response(msgspec.Struct, omit_defaults=True):
    uid: str
    allowed: bool
    status: _Status | None = None
    warnings: tuple[str, ...] = ()


class _Answer(msgspec.Struct, rename="camel"):
    api_version: str
    kind: str
    response: _Response


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a change may go on. A denial has an HTTP code, and a message for a person."""

    denial: str = ""
    code: int = 0
    reason: str = ""
    warning: str = ""

    @property
    def allowed(self) -> bool:
        """Whether it may."""
        return not self.denial

    @property
    def kind(self) -> str:
        """What it is counted as, one of `kube.metrics.VERDICTS`."""
        if self.warning or self.code == _UNAVAILABLE:
            return "unchecked"
        return "denied" if self.denial else "allowed"


_decode = msgspec.json.Decoder(_Review).decode
_encode = msgspec.json.Encoder().encode

ALLOWED = Verdict()


async def review(client: EngineClient, body: bytes) -> bytes:
    """Answer a review. Raises `BadReviewError`."""
    try:
        asked = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadReviewError(f"not an AdmissionReview: {error}") from error
    if (asked.api_version, asked.kind) != _REVIEW:
        what = f"{quote(asked.kind)} of apiVersion {quote(asked.api_version)}"
        raise BadReviewError(f"kind: {what} is not AdmissionReview of {_REVIEW[0]}")
    verdict = await _judge(client, asked.request)
    REVIEWS.labels(verdict.kind).inc()
    if not verdict.allowed:
        _log.info(
            "%s of %s %s denied: %s",
            asked.request.operation,
            asked.request.kind.kind,
            asked.request.name,
            verdict.denial,
        )
    return _encode(_Answer(*_REVIEW, _response(asked.request.uid, verdict)))


def _response(uid: str, verdict: Verdict) -> _Response:
    status = None if verdict.allowed else _Status(verdict.code, verdict.denial, verdict.reason)
    warnings = (verdict.warning,) if verdict.warning else ()
    return _Response(uid, verdict.allowed, status, warnings)


async def _judge(client: EngineClient, asked: _Request) -> Verdict:
    kind = asked.kind
    if kind.kind not in _KINDS or f"{kind.group}/{kind.version}" != API_VERSION:
        known = f"{', '.join(_KINDS)} of {API_VERSION}"
        group = cut(f"{kind.group}/{kind.version}", QUOTE_MAX)
        what = f"kind {quote(kind.kind)} of {group} is not checked, only {known}"
        return Verdict(warning=f"ipledger: {what}")
    match asked.operation:
        case "CREATE" | "UPDATE" if not asked.sub_resource:
            return await _judge_change(client, asked)
        case "DELETE" if kind.kind in _DELETES:
            return await _judge_delete(client, asked)
        case _:  # a status, which is the controller's; a reservation's end; CONNECT
            return ALLOWED


async def _judge_change(client: EngineClient, asked: _Request) -> Verdict:
    """Deny what cannot be read, or what the engine would refuse.

    If the engine cannot be asked, the object is stored with a warning: it changes nothing until
    the engine has taken it, and the controller says in its status if the engine does not.
    """
    if asked.object is None:
        raise BadReviewError(f"request.object: missing in a review of {asked.operation}")
    if asked.old_object is not None and _essence(asked.old_object) == _essence(asked.object):
        return ALLOWED
    try:
        change = read_resource({**asked.object, "kind": asked.kind.kind})
    except FieldError as error:
        return Verdict(str(error), _INVALID, "Invalid")
    try:
        refusal = await _refusal(client, change)
    except EngineUnavailableError as error:
        return Verdict(warning=f"ipledger: stored without being checked: {error}")
    return ALLOWED if refusal is None else _denied(refusal)


async def _judge_delete(client: EngineClient, asked: _Request) -> Verdict:
    """Deny the end of a pool or subnet that is in use, or of which nobody can tell.

    An object that the engine does not know stands for nothing.
    """
    try:
        refusal = await _refusal(client, _DELETES[asked.kind.kind](_name(asked)))
    except EngineUnavailableError as error:
        what = f"{asked.kind.kind} {quote(asked.name)} may be in use: {error}"
        return Verdict(what, _UNAVAILABLE, "ServiceUnavailable")
    return ALLOWED if refusal is None or refusal.reason in _UNKNOWN else _denied(refusal)


def _name(asked: _Request) -> str:
    if not asked.name:
        raise BadReviewError(f"request.name: '' in a review of {asked.operation}")
    return asked.name


async def _refusal(client: EngineClient, change: AnyChange) -> Refusal | None:
    try:
        (forecast,) = await client.check((change,))
    except RefusedError as error:  # it is too large, or a field of it out of bounds
        return error.refusal
    return forecast.refusal


def _denied(refusal: Refusal) -> Verdict:
    return Verdict(refusal.message, _CODES.get(refusal.reason, _CONFLICT), refusal.reason)


def _essence(resource: dict[str, Any]) -> object:
    """What of an object the engine is told. The rest is the API server's and controllers'."""
    metadata = _mapping(resource.get("metadata"))
    read = [
        _mapping(metadata.get(field)).get(key)
        for field in ("annotations", "labels")
        for key in _READ_METADATA
    ]
    return resource.get("spec"), read


def _mapping(value: object) -> dict[str, Any]:
    return cast(dict[str, Any], value) if isinstance(value, dict) else {}
