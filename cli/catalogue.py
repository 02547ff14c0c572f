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
        (
            "ipledger agent --nats nats://10.0.0.5:4222 --node worker-1",
            "ipledger agent --nats nats://ipledger-nats:4222 --kubeconfig in-cluster",
        ),
    ),
    Entry(
        "controller",
        "ipledger.cli.controller:controller",
        RUN,
        "Carry pools and workloads between a Kubernetes cluster and the log.",
        (
            "ipledger controller --nats nats://ipledger-nats:4222",
            "ipledger controller --nats nats://10.0.0.5:4222 --kubeconfig ~/.kube/config",
        ),
    ),
    Entry(
        "webhook",
        "ipledger.cli.webhook:webhook",
        RUN,
        "Run the admission webhook of a Kubernetes cluster.",
        ("ipledger webhook --nats nats://10.0.0.5:4222 --cert tls.crt --key tls.key",),
    ),
    Entry(
        "nats-config",
        "ipledger.cli.nats_config:nats_config",
        RUN,
        "Write the configuration of NATS servers, with a key for each user.",
        (
            "ipledger nats-config ./nats --node worker-1 --node worker-2",
            "ipledger nats-config ./nats --node worker-3",
            "ipledger nats-config ./nats --agents",
            "ipledger nats-config ./nats --server a=10.0.0.5 --server b=10.0.0.6 "
            "--server c=10.0.0.7",
            "ipledger nats-config ./nats --tls-cert a.crt --tls-key a.key --tls-ca ca.crt --mutual",
            "ipledger nats-config ./nats --rotate node-worker-1",
            "ipledger nats-config ./nats --retire node-worker-1",
        ),
    ),
    Entry(
        "demo",
        "ipledger.cli.demo:demo",
        RUN,
        "A two-minute tour in a temporary directory.",
        ("ipledger demo",),
    ),
    Entry(
        "auditor",
        "ipledger.cli.auditor:auditor",
        RUN,
        "Follow the log and keep its history up to date.",
        ("ipledger auditor", "ipledger auditor --history /var/lib/ipledger/history.db --http 0"),
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
        "Show pools, subnets, reservations, quarantines, allocations or applications.",
        (
            "ipledger get pools",
            "ipledger get pool a -o yaml",
            "ipledger get allocations --namespace shop --node worker-1",
            "ipledger get allocations -o jsonl | jq .addresses",
            "ipledger get pools --at '2h ago'",
            "ipledger get allocations --at 812.3 --from export.jsonl",
            "ipledger get applications --namespace shop",
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
            "ipledger describe pool a --at 2026-11-22T21:00:00Z",
        ),
    ),
    Entry(
        "who",
        "ipledger.cli.who:who",
        STATE,
        "Show who holds an address, or held it then. Exit code 1 if nobody does.",
        (
            "ipledger who 10.6.1.7",
            "ipledger who fd00:6::7 -o json",
            "ipledger who 10.6.1.7 --at 2026-11-22T03:12:00Z",
        ),
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
        "quarantine",
        "ipledger.cli.quarantine:quarantine",
        STATE,
        "Give an address to nobody until it is restored.",
        (
            "ipledger quarantine 10.6.1.7",
            "ipledger quarantine 10.6.1.7 --mac 02:42:0a:06:01:07 --reason 'a printer has it'",
        ),
    ),
    Entry(
        "restore-address",
        "ipledger.cli.quarantine:restore_address",
        STATE,
        "Let a quarantined address be given out again.",
        ("ipledger restore-address 10.6.1.7 --reason 'the printer is gone'",),
    ),
    Entry(
        "gc",
        "ipledger.cli.collect:gc",
        STATE,
        "Free the allocations that no pod uses any more.",
        (
            "ipledger gc --dry-run",
            "ipledger gc --kubeconfig ~/.kube/config -o json",
            "ipledger gc --yes",
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
        "history",
        "ipledger.cli.history:history",
        LOG,
        "Print every event that touched an address, pod, pool, node or identity.",
        (
            "ipledger history ip 10.6.1.7",
            "ipledger history pod shop/web-1 --since '1d ago'",
            "ipledger history node worker-1 --until 2026-11-22T21:00:00Z -o jsonl",
        ),
    ),
    Entry(
        "why",
        "ipledger.cli.why:why",
        LOG,
        "Show each pool's verdict for a pod, decided again and compared with what was recorded.",
        ("ipledger why shop/web-1", "ipledger why shop/web-1 --at '2h ago' -o json"),
    ),
    Entry(
        "trace",
        "ipledger.cli.trace:trace",
        LOG,
        "Show the steps of a pod's ADD and DEL with their times and trace id.",
        (
            "ipledger trace shop/web-1",
            "ipledger trace shop/web-1 --interface net1 --at '2h ago'",
            "ipledger trace shop/web-1 --from export.jsonl -o json",
        ),
    ),
    Entry(
        "diff",
        "ipledger.cli.diff:diff",
        LOG,
        "Show what differs between two moments. Exit code 3 if anything does.",
        ("ipledger diff '2h ago'", "ipledger diff 812.3 2026-11-22T21:00:00Z -o json"),
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
            "ipledger log --type AllocationRefused --pool a",
            "ipledger log --from ledger.db",
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
    Entry(
        "export",
        "ipledger.cli.export:export",
        LOG,
        "Write a copy of the log to a file, which every read takes with --from.",
        ("ipledger export log.jsonl", "ipledger export --format sqlite ledger.db"),
    ),
    Entry(
        "annotate",
        "ipledger.cli.annotate:annotate",
        LOG,
        "Add to flow records the pod that held the address at that time.",
        (
            "ipledger annotate --ip-field src --time-field ts < flows.jsonl",
            "ipledger annotate flows.csv --format csv --ip-field src --ip-field dst "
            "--time-field start",
        ),
    ),
    Entry(
        "simulate",
        "ipledger.cli.simulate:simulate",
        LOG,
        "Replay the recorded demand against changed pools.",
        ("ipledger simulate --with pools.yaml", "ipledger simulate --with p.yaml --since '7d ago'"),
    ),
)
