"""`ipledger up` on a nats-server that asks for no key.

The load is of many nodes, by clients that speak the NATS protocol by hand, and the floors have
streams of their own on the same server. What keys and accounts cost is in ADR 90.
"""

from __future__ import annotations

import sys
from unittest import mock

from ipledger.cli.app import run
from ipledger.cli.own_access import OwnAccess


def _no_accounts(own: OwnAccess, node: str | None) -> str:
    _accounts(own, node)
    return ""


_accounts = OwnAccess.accounts

if __name__ == "__main__":
    with mock.patch.object(OwnAccess, "accounts", _no_accounts):
        sys.exit(run(sys.argv[1:]))
