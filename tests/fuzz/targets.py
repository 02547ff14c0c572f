"""Every target. Each has a folder of seeds of its name in `corpus/`."""

from __future__ import annotations

from fuzz import engine_targets, log_targets, node_targets, operator_targets
from fuzz.target import Target

_NAMES = (b"cniVersion", b"ipam", b"args", b"prevResult", b"runtimeConfig", b"pod-annotations")
_EVENTS = (
    *(b'"type":"', b"LeadershipTaken", b"PoolCreated", b"AddressesAllocated", b"AddressesHeld"),
    *(
        b"AllocationRebound",
        b'"a1"',
        b'"a99999999999999999999"',
        b'"10.6.1.1/16"',
        b"fd00:6::10/64",
    ),
)

TARGETS: tuple[Target, ...] = (
    Target("cni", node_targets.calls, _NAMES),
    Target(
        "socket",
        node_targets.connections,
        (
            *_NAMES,
            b"Content-Length: ",
            b"Transfer-Encoding: chunked\r\n",
            b"POST /cni HTTP/1.1\r\n",
        ),
    ),
    Target("annotations", engine_targets.annotated, (b"[{", b'"interface":"eth0"', b'"ipv4":[')),
    Target(
        "commands",
        engine_targets.commands,
        (
            b"\ncmd.admin.",
            b"\ncmd.node.n1.",
            b"\nquery.",
            b'"a1"',
            b'"steps":{"agent":',
            b'"replicas":',
        ),
    ),
    Target(
        "manifests",
        operator_targets.manifests,
        (
            b"\n---\n",
            b"&a ",
            b"*a",
            b"<<: ",
            b"!!timestamp ",
            b"!!binary ",
            b"!!int ",
            b"- ",
            b"? ",
        ),
    ),
    Target("reviews", operator_targets.reviews, (b'"object":{', b'"spec":{', b'"operation":"')),
    Target("commits", log_targets.commits, _EVENTS),
    Target("exports", log_targets.exports, _EVENTS),
    Target("ledgers", log_targets.ledgers),
    Target("snapshots", log_targets.snapshots, (b"\x00\x00\x00\x05B", b"\xcf\xff", b"S", b"H")),
    Target("flow-lines", operator_targets.flow_lines, (b'"ts":', b'"src":"10.0.0.10"', b"1e308")),
    Target("flow-tables", operator_targets.flow_tables, (b"ts,src,dst\n", b'"', b",")),
)
"""The edges where input comes in from somebody else."""
