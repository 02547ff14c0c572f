"""Names of streams and subjects of a realm (DESIGN sections 5 and 6)."""

from __future__ import annotations

import re

REALM_DEFAULT = "default"
INBOXES = "_INBOX."
"""What every subject begins with on which a client of NATS receives answers."""
ANSWERS_ACROSS_ACCOUNTS = "_R_."
"""What a subject begins with on which nats-server takes an answer for another account."""

_REALM = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,62}")
_LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?"
_NODE = re.compile(rf"(?=.{{1,253}}$){_LABEL}(\.{_LABEL})*")


def check_realm(realm: str) -> str:
    """Return `realm`, or raise `ValueError` if it cannot stand in a subject."""
    if not _REALM.fullmatch(realm):
        raise ValueError(f"realm {realm!r}: write letters, digits and '-', 63 at most")
    return realm


def check_node(node: str) -> str:
    """Return `node`, or raise `ValueError` if it is no Kubernetes node name."""
    if not _NODE.fullmatch(node):
        raise ValueError(f"node {node!r}: write letters, digits, '-' and '.', 253 at most")
    return node


def stream(realm: str) -> str:
    """The JetStream stream that is the realm's log."""
    return f"IPLEDGER_{realm}"


def snapshots(realm: str) -> str:
    """The JetStream object store that holds the realm's snapshots."""
    return f"IPLEDGER_SNAPSHOTS_{realm}"


def snapshots_stream(realm: str) -> str:
    """The JetStream stream that the snapshots' object store is kept in."""
    return f"OBJ_{snapshots(realm)}"


def log_subject(realm: str) -> str:
    """The one subject of the realm's log."""
    return f"ipledger.{realm}.log"


def restore_subject(realm: str) -> str:
    """The subject by which a stream takes commits while it is restored, and no engine's."""
    return f"ipledger.{realm}.restore"


def node_commands(realm: str) -> str:
    """What every subject begins with on which a node's agent sends commands."""
    return f"ipledger.{realm}.cmd.node."


def node_command(realm: str, node: str, verb: str) -> str:
    """The subject on which a node's agent sends a command.

    >>> node_command("default", "worker-1.example.com", "allocate")
    'ipledger.default.cmd.node.worker-1_example_com.allocate'
    """
    return f"{node_commands(realm)}{node.replace('.', '_')}.{verb}"


def admin_command(realm: str, verb: str) -> str:
    """The subject on which an operator sends a command."""
    return f"ipledger.{realm}.cmd.admin.{verb}"


def query(realm: str, verb: str) -> str:
    """The subject on which a query is asked."""
    return f"ipledger.{realm}.query.{verb}"


def leader(realm: str) -> str:
    """The subject on which the leading engine tells that it is there."""
    return f"ipledger.{realm}.leader"


def inbox(public_key: str) -> str:
    """The prefix of the subjects on which the holder of a key receives answers, and nobody else."""
    return f"{INBOXES}{public_key}"


def direct_get(stream_name: str) -> str:
    """The subject on which a stream's messages are read without leave to anything else."""
    return f"$JS.API.DIRECT.GET.{stream_name}"


def node_of(subject_token: str) -> str:
    """The node's name from its token in a subject; the inverse of `node_command`."""
    return subject_token.replace("_", ".")
