"""CNI errors: the codes of the specification, and ours from 100 up, one per refusal."""

from __future__ import annotations

from enum import IntEnum

import msgspec

from ipledger.engine.refusals import Reason, Refusal, describe
from ipledger.events.quoting import cut


class Code(IntEnum):
    """Error codes of the CNI specification (section "Error"), and those of this plugin."""

    INCOMPATIBLE_VERSION = 1
    INVALID_ENVIRONMENT = 4
    IO_FAILURE = 5
    DECODING_FAILURE = 6
    INVALID_NETWORK_CONFIG = 7
    TRY_AGAIN_LATER = 11
    NOT_AVAILABLE = 50
    NOT_AS_IN_PREV_RESULT = 120
    POD_NOT_ALIVE = 121
    POD_UNKNOWN = 122
    ADDRESS_CONFLICT = 123


CODE_OF: dict[Reason, int] = {
    Reason.POOL_EXHAUSTED: 100,
    Reason.NO_POOL_FITS: 101,
    Reason.NO_POOL_SELECTED: 102,
    Reason.POOL_UNKNOWN: 103,
    Reason.ATTACHMENT_ENDED: 104,
    Reason.SANDBOX_TAKEN: 105,
    Reason.OTHER_NODE: 106,
    Reason.BAD_REQUEST: 107,
    Reason.ADDRESS_IN_USE: 108,
    Reason.SUBNET_UNKNOWN: 109,
    Reason.SUBNET_EXHAUSTED: 110,
    Reason.AUTO_POOLS_DISABLED: 111,
    Reason.NO_CONTROLLER: 112,
    Reason.REPLICAS_UNKNOWN: 113,
}
"""The refusals that an ADD can meet."""


_DETAILS_MAX = 65_536
"""Characters of details, which name every pool with its verdict."""


class CniError(Exception):
    """What a runtime is told when a command fails; texts are cut to a bounded length."""

    def __init__(self, code: int, message: str, details: str = "", reason: str = "") -> None:
        super().__init__(cut(message))
        self.code = int(code)
        self.details = cut(details, _DETAILS_MAX)
        self.reason = reason

    @classmethod
    def of_refusal(cls, refusal: Refusal) -> CniError:
        """The engine's refusal, with every pool's verdict in the details."""
        verdicts = "; ".join(f"IPv{c.ip_version}: {describe(c)}" for c in refusal.decision)
        return cls(
            CODE_OF[refusal.reason], refusal.message, verdicts or refusal.reason, refusal.reason
        )

    def encode(self, cni_version: str) -> bytes:
        """The error as JSON, in the form that all versions of the specification share."""
        error = {"cniVersion": cni_version, "code": self.code, "msg": str(self)}
        if self.details:
            error["details"] = self.details
        return msgspec.json.encode(error)
