"""Errors as an API server tells them: a `Status` object."""

from __future__ import annotations

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
    """A call that is answered with an error."""

    def __init__(self, reason: str, message: str, **extra: Any) -> None:
        super().__init__(message)
        self.code = CODES[reason]
        self.reason = reason
        self.extra = extra

    def status(self) -> dict[str, Any]:
        """The answer's body."""
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": self.extra,
            "status": "Failure",
            "message": str(self),
            "reason": self.reason,
            "code": self.code,
        }
