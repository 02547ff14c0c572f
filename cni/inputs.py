"""What a network configuration says about the pod, beyond its name: the inputs of a decision.

Two places hold it: `runtimeConfig["io.kubernetes.cri.pod-annotations"]`, which containerd fills
for a plugin that declares the capability, and `args.cni` (CNI conventions, "args in the network
configuration"), where `labels` is a list of key and value. Go writes an empty map as null, so
null is the same as nothing.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from ipledger.cni.body import decode_body, invalid
from ipledger.cni.multus import DEFAULT_NETWORK, NETWORKS, is_network_name, network_of
from ipledger.engine.commands import Replicas
from ipledger.events.facts import Owner
from ipledger.projections.cluster.metadata import ENGINE_ANNOTATIONS

_ANNOTATIONS_READ = (*ENGINE_ANNOTATIONS, NETWORKS, DEFAULT_NETWORK)
"""How the annotations begin that the engine may read. Others can be large, and stay here."""


class _Pair(msgspec.Struct, frozen=True):
    key: str
    value: str


_Strings: TypeAlias = dict[str, str] | tuple[_Pair, ...] | None


class _CniArgs(msgspec.Struct, frozen=True, rename="camel"):
    owner: Owner | None = None
    replicas: Replicas | None = None
    labels: _Strings = None
    annotations: _Strings = None
    namespace_labels: _Strings = None
    namespace_annotations: _Strings = None
    node_labels: _Strings = None
    network: str | None = None


class _Args(msgspec.Struct, frozen=True):
    cni: _CniArgs | None = None


class _RuntimeConfig(msgspec.Struct, frozen=True):
    annotations: dict[str, str] | None = msgspec.field(
        default=None, name="io.kubernetes.cri.pod-annotations"
    )


class _Body(msgspec.Struct, frozen=True):
    args: _Args | None = None
    runtime_config: _RuntimeConfig | None = msgspec.field(default=None, name="runtimeConfig")


class PodInputs(msgspec.Struct, frozen=True):
    """What is known about a pod, its namespace and its node, as `Allocate` takes it.

    Of the annotations only those are here that the engine may read. `network_name` is the
    `namespace/name` of the interface's NetworkAttachmentDefinition, or ''.
    """

    owner: Owner | None = None
    replicas: int | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    namespace_labels: dict[str, str] = {}
    namespace_annotations: dict[str, str] = {}
    node_labels: dict[str, str] = {}
    network_name: str = ""


_decoder = msgspec.json.Decoder(_Body)


def read_inputs(body: bytes, interface: str, namespace: str) -> PodInputs:
    """Read the inputs for a pod in `namespace`. Raises `CniError` that names field and value."""
    found = decode_body(_decoder, body)
    args = (found.args and found.args.cni) or _CniArgs()
    runtime = found.runtime_config or _RuntimeConfig()
    annotations = read_by_engine({**_strings(args.annotations), **(runtime.annotations or {})})
    return PodInputs(
        owner=args.owner,
        replicas=args.replicas,
        labels=_strings(args.labels),
        annotations=annotations,
        namespace_labels=_strings(args.namespace_labels),
        namespace_annotations=read_by_engine(_strings(args.namespace_annotations)),
        node_labels=_strings(args.node_labels),
        network_name=_stated(args.network) or network_of(interface, annotations, namespace),
    )


def _strings(value: _Strings) -> dict[str, str]:
    if isinstance(value, tuple):
        return {pair.key: pair.value for pair in value}
    return value or {}


def read_by_engine(annotations: dict[str, str]) -> dict[str, str]:
    """Those of a pod's annotations that the engine may read."""
    return {k: v for k, v in annotations.items() if k.startswith(_ANNOTATIONS_READ)}


def _stated(network: str | None) -> str:
    if network and not is_network_name(network):
        raise invalid("args.cni.network", network, "Expected `namespace/name`")
    return network or ""
