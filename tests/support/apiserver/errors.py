"""Errors as an API server tells them: a `Status` object."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

CODES = {
    "BadRequest": 400,
    "Unauthorized": 401,
    "Forbidden": 403,
    "NotFound": 404,
    "AlreadyExists": 409,
    "Conflict": 409,
    "Expired": 410,
    "UnsupportedMediaType": 415,
    "Invalid": 422,
    "TooManyRequests": 429,
    "InternalError": 500,
    "ServiceUnavailable": 503,
    "Timeout": 504,
}


class StatusError(Exception):
    """A call that is answered with an error, with `metadata` in the answer's.

    `name` is the object's that it is about.
    """

    def __init__(
        self,
        reason: str,
        message: str,
        *,
        retry_after_s: int = 0,
        name: str = "",
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        self.code = CODES[reason]
        self.reason = reason
        self.name = name
        self.metadata = dict(metadata or {})

    def status(self) -> dict[str, Any]:
        """The answer's body."""
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": self.metadata,
            "status": "Failure",
            "message": str(self),
            "reason": self.reason,
            "details": self._details(),
            "code": self.code,
        }

    def _details(self) -> dict[str, Any]:
        given = {"name": self.name, "retryAfterSeconds": self.retry_after_s}
        return {key: value for key, value in given.items() if value}


def no_object(resource: str, name: str) -> StatusError:
    """What is said of an object that is not there."""
    return StatusError("NotFound", f'{resource} "{name}" not found', name=name)
