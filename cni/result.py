"""The result of an IPAM ADD, exact for each version of the CNI specification.

A delegated IPAM plugin returns no `interfaces` and no `ips[].interface`. Below 1.0.0 each entry
of `ips` says its version.
"""

from __future__ import annotations

from typing import Any

import msgspec

from ipledger.projections.rows import AllocationRow

_IPS_WITHOUT_VERSION = ("1.0.0", "1.1.0")


def encode_result(cni_version: str, allocation: AllocationRow) -> bytes:
    """The JSON that an ADD prints."""
    ips: list[dict[str, str]] = []
    for held in allocation.addresses:
        entry: dict[str, str] = {}
        if cni_version not in _IPS_WITHOUT_VERSION:
            entry["version"] = "6" if ":" in held.address else "4"
        entry["address"] = held.address
        if held.gateway:
            entry["gateway"] = held.gateway
        ips.append(entry)
    result: dict[str, Any] = {
        "cniVersion": cni_version,
        "ips": ips,
        "routes": allocation.routes,
        "dns": {},
    }
    return msgspec.json.encode(result)
