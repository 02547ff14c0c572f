"""Every command: where it is, what `ipledger --help` says of it, and its examples.

Commands are named by import path, so that one command's modules are not loaded for another.
"""

from __future__ import annotations

from typing import NamedTuple


class Entry(NamedTuple):
    """A command. `name` has a space when it is below another one."""

    name: str
    path: str
    group: str
    summary: str
    examples: tuple[str, ...]


RUN = "Run"
STATE = "Pools and addresses"
LOG = "The log"
GROUPS = (RUN, STATE, LOG)

COMMANDS = (
    Entry(
        "up",
        "ipledger.cli.up:up",
        RUN,
        "Run everything on this machine: nats-server, engine and agent.",
        (
            "ipledger up --data /var/lib/ipledger --socket /run/ipledger/agent.sock",
            "ipledger up --data ./data --socket ./agent.sock --nats-port 0",
        ),
    ),
    Entry(
        "engine",
        "ipledger.cli.engine:engine",
        RUN,
        "Run one engine; of several, one leads and the others stand by.",
        (
            "ipledger engine --nats nats://10.0.0.5:4222 --name engine-1",
            "ipledger engine --nats nats://10.0.0.5,nats://10.0.0.6,nats://10.0.0.7 --replicas 3",
        ),
    ),
    Entry(
        "agent",
        "ipledger.cli.agent:agent",
        RUN,
        "Run the agent of this node, which the CNI plugin asks.",
        ("ipledger agent --nats nats://10.0.0.5:4222 --node worker-1",),
    ),
    Entry(
        "webhook",
        "ipledger.cli.webhook:webhook",
        RUN,
        "Run the admission webhook of a Kubernetes cluster.",
        ("ipledger webhook --nats nats://10.0.0.5:4222 --cert tls.crt --key tls.key",),
    ),
    Entry(
        "demo",
        "ipledger.cli.demo:demo",
        RUN,
        "A two-minute tour in a temporary directory.",
        ("ipledger demo",),
    ),
    Entry(
        "cni install",
        "ipledger.cli.cni:install",
        RUN,
        "Install the CNI plugin on this node.",
        ("ipledger cni install --bin-dir /opt/cni/bin --conf-dir /etc/cni/net.d",),
    ),
    Entry(
        "apply",
        "ipledger.cli.apply:apply",
        STATE,
        "Create or change pools, subnets and reservations from manifests.",
        (
            "ipledger apply -f pools.yaml",
            "ipledger apply -f a.yaml -f b.json -o json",
            "ipledger apply -f pools.yaml --dry-run",
            "kubectl get spiderippools -o yaml | ipledger apply -f -",
        ),
    ),
    Entry(
        "import spiderpool",
        "ipledger.cli.import_spiderpool:import_spiderpool",
        STATE,
        "Take over what a cluster's Spiderpool has given out.",
        (
            "ipledger import spiderpool --kubeconfig ~/.kube/config --dry-run",
            "ipledger import spiderpool --kubeconfig ~/.kube/config",
        ),
    ),
    Entry(
        "delete",
        "ipledger.cli.delete:delete",
        STATE,
        "Delete a pool, subnet, reservation or application.",
        ("ipledger delete pool a", "ipledger delete reservation printers"),
    ),
    Entry(
        "get",
        "ipledger.cli.get:get",
        STATE,
        "Show pools, subnets, reservations or allocations.",
        (
            "ipledger get pools",
            "ipledger get pool a -o yaml",
            "ipledger get allocations --namespace shop --node worker-1",
            "ipledger get allocations -o jsonl | jq .addresses",
        ),
    ),
    Entry(
        "describe",
        "ipledger.cli.describe:describe",
        STATE,
        "Show one resource on a page, with who holds its addresses.",
        (
            "ipledger describe pool a",
            "ipledger describe reservation printers -o yaml",
            "ipledger describe allocation a17",
        ),
    ),
    Entry(
        "who",
        "ipledger.cli.who:who",
        STATE,
        "Show who holds an address. Exit code 1 if nobody does.",
        ("ipledger who 10.6.1.7", "ipledger who fd00:6::7 -o json"),
    ),
    Entry(
        "release",
        "ipledger.cli.release:release",
        STATE,
        "Free an allocation by hand.",
        (
            "ipledger release a17",
            "ipledger release a17 --sandbox 0123abcd --reason 'node worker-1 is lost'",
        ),
    ),
    Entry(
        "status",
        "ipledger.cli.status:status",
        STATE,
        "Show how the engine is.",
        ("ipledger status", "ipledger status --nats nats://10.0.0.5:4222 -o json"),
    ),
    Entry(
        "log",
        "ipledger.cli.log:log",
        LOG,
        "Print the events as they are stored.",
        (
            "ipledger log",
            "ipledger log --since '2h ago' -o jsonl",
            "ipledger log --since 2026-11-22T21:00:00Z --follow",
            "ipledger log --ledger ledger.db",
        ),
    ),
    Entry(
        "verify",
        "ipledger.cli.verify:verify",
        LOG,
        "Check the hash chain, the order and every invariant. Exit code 3 if one is broken.",
        (
            "ipledger verify",
            "ipledger verify --ledger /var/lib/ipledger/ledger.db",
            "ipledger verify --ledger copy.db --offline -o json",
            "ipledger verify --checkpoint monday.note --key UDXU4RCS…",
        ),
    ),
    Entry(
        "checkpoint",
        "ipledger.cli.checkpoint:checkpoint",
        LOG,
        "Print a signed checkpoint of the log, to be kept elsewhere.",
        (
            "ipledger checkpoint --fresh > monday.note",
            "ipledger checkpoint -o json",
        ),
    ),
    Entry(
        "restore",
        "ipledger.cli.restore:restore",
        LOG,
        "Restore a lost or damaged stream from a ledger.",
        (
            "ipledger restore --from ledger.db --dry-run",
            "ipledger restore --from ledger.db",
            "ipledger restore --from ./data/ledger.db --data ./data --replace",
        ),
    ),
)
