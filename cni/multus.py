"""Multus: which NetworkAttachmentDefinition an interface of a pod belongs to.

Written as Multus reads it: the Network Plumbing Working Group's "Kubernetes Network Custom
Resource Definition De-facto Standard" 1.3, section 4.1, and the Multus source where it is silent.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

DEFAULT_NETWORK = "v1.multus-cni.io/default-network"
"""The annotation that names the network of a pod's first interface."""

NETWORKS = "k8s.v1.cni.cncf.io/networks"
"""The annotation that names the networks of a pod's other interfaces, in their order."""

_FIRST_INTERFACE = "eth0"
_MULTUS_NAMESPACE = "kube-system"  # `multusNamespace` of Multus, unless it is configured

_NAME = r"[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?"
_FULL_NAME = re.compile(rf"{_NAME}/{_NAME}")
_ITEM = re.compile(rf"(?:({_NAME})/)?({_NAME})(?:@(\S+))?")


class _Selection(msgspec.Struct, frozen=True):
    name: str
    namespace: str | None = None
    interface: str | None = None


_decode = msgspec.json.Decoder(tuple[_Selection, ...]).decode


def is_network_name(text: str) -> bool:
    """Whether `text` is `namespace/name`, both as Kubernetes allows them."""
    return _FULL_NAME.fullmatch(text) is not None


def network_of(interface: str, annotations: Mapping[str, str], namespace: str) -> str:
    """The `namespace/name` that a pod's annotations give for `interface`, else ''.

    An annotation that cannot be read gives '' too: it must not cost a pod its address in pools
    that do not ask for a network. `namespace` is the pod's.
    """
    if interface == _FIRST_INTERFACE:
        networks = _parse(annotations.get(DEFAULT_NETWORK, ""))
        return _full_name(networks[0], _MULTUS_NAMESPACE) if len(networks) == 1 else ""
    for index, network in enumerate(_parse(annotations.get(NETWORKS, "")), start=1):
        if (network.interface or f"net{index}") == interface:
            return _full_name(network, namespace)
    return ""


def _parse(text: str) -> tuple[_Selection, ...]:
    """The networks of an annotation in either form; none if any of them cannot be read."""
    if any(mark in text for mark in '[{"'):
        try:
            return _decode(text)
        except (msgspec.DecodeError, RecursionError):
            return ()
    items = [_ITEM.fullmatch(item.strip()) for item in text.split(",")]
    found = tuple(_Selection(item[2], item[1], item[3]) for item in items if item)
    return found if len(found) == len(items) else ()


def _full_name(network: _Selection, namespace: str) -> str:
    name = f"{network.namespace or namespace}/{network.name}"
    return name if is_network_name(name) else ""
