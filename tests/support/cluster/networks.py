"""Networks of pods."""

from __future__ import annotations

import json


def host_local(subnet: str) -> bytes:
    """A bridge whose addresses come from host-local."""
    ipam = {"type": "host-local", "ranges": [[{"subnet": subnet}]]}
    plugin = {"type": "bridge", "bridge": "hostlocal0", "ipam": ipam}
    conf = {"cniVersion": "1.0.0", "name": "hostlocal", "plugins": [plugin]}
    return json.dumps(conf).encode()
