"""One CNI call as the shim hands it over: environment in headers, network configuration as body."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeAlias

import msgspec
from msgspec import UNSET, UnsetType

from ipledger.cni.body import decode_body
from ipledger.cni.errors import CniError, Code
from ipledger.cni.inputs import PodInputs, read_inputs
from ipledger.events import traceparent
from ipledger.events.facts import Pod
from ipledger.events.quoting import quote

VERSIONS = ("0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")
"""The versions of the CNI specification that are spoken."""

ERROR_VERSION = "1.0.0"
"""The version of an error where the caller's cannot be read: every runtime of today knows it."""

_SINCE = {"CHECK": VERSIONS.index("0.4.0"), "GC": VERSIONS.index("1.1.0")}
_SINCE["STATUS"] = _SINCE["GC"]
_NEEDED: dict[str, tuple[str, ...]] = {
    "ADD": ("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"),
    "CHECK": ("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"),
    "DEL": ("CNI_CONTAINERID", "CNI_IFNAME"),
    "GC": (),
    "STATUS": (),
}
COMMANDS = tuple(_NEEDED)
"""The commands of the specification that reach the agent; VERSION is answered by the shim."""
_FORMS = {
    "CNI_CONTAINERID": re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.\-]{0,127}"),
    "CNI_IFNAME": re.compile(r"(?!\.{1,2}$)[^/:\s\x00-\x1f\x7f]{1,15}"),
}


class IpamConfig(msgspec.Struct, frozen=True):
    """The `ipam` section. Keys that belong to others are let pass."""

    default_ipv4_ippool: tuple[str, ...] = ()
    default_ipv6_ippool: tuple[str, ...] = ()
    clean_gateway: bool = False
    auto_pools: bool = True
    probe_interface: str = ""


class _PrevAddress(msgspec.Struct, frozen=True):
    address: str


class PrevResult(msgspec.Struct, frozen=True):
    """What CHECK needs of the result of the ADD before it."""

    ips: tuple[_PrevAddress, ...] = ()


class ValidAttachment(msgspec.Struct, frozen=True):
    """An attachment that the runtime still has."""

    container_id: str = msgspec.field(name="containerID")
    interface: str = msgspec.field(name="ifname")


_Attachments: TypeAlias = tuple[ValidAttachment, ...] | None


class NetworkConfig(msgspec.Struct, frozen=True):
    """The network configuration, as far as IPAM reads it."""

    name: str = ""
    cni_version: str = msgspec.field(default="0.1.0", name="cniVersion")
    ipam: IpamConfig = IpamConfig()
    prev_result: PrevResult | None = msgspec.field(default=None, name="prevResult")
    valid_attachments: _Attachments | UnsetType = msgspec.field(
        default=UNSET, name="cni.dev/valid-attachments"
    )
    attachments: _Attachments | UnsetType = msgspec.field(default=UNSET, name="cni.dev/attachments")


class CniRequest(msgspec.Struct, frozen=True):
    """A CNI call that is well formed.

    `sandbox` and `interface` are '' for GC and STATUS, which are about a network. `inputs` is read
    for ADD only, `valid` for GC only; the others need none.
    """

    command: str
    sandbox: str
    interface: str
    pod: Pod
    config: NetworkConfig
    inputs: PodInputs
    traceparent: str
    valid: tuple[ValidAttachment, ...] = ()

    @property
    def has_uid(self) -> bool:
        """Whether the runtime told the pod's UID, or the container id stands for it."""
        return self.pod.uid != self.sandbox


_decoder = msgspec.json.Decoder(NetworkConfig)


def cni_version_of(body: bytes) -> str:
    """The version to answer an erroneous call in: the caller's if it can be read."""
    try:
        version = _decoder.decode(body).cni_version
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ERROR_VERSION
    return version if version in VERSIONS else ERROR_VERSION


def parse(headers: Mapping[str, str], body: bytes) -> CniRequest:
    """Read a call. Raises `CniError` that names the variable or field at fault, and its value."""
    command = headers.get("Cni-Command", "")
    if command not in _NEEDED:
        raise CniError(Code.INVALID_ENVIRONMENT, f"CNI_COMMAND: {quote(command)} is not known")
    config = decode_body(_decoder, body)
    if config.cni_version not in VERSIONS:
        raise CniError(
            Code.INCOMPATIBLE_VERSION,
            f"cniVersion: {quote(config.cni_version)} is not supported",
            f"supported versions: {', '.join(VERSIONS)}",
        )
    if VERSIONS.index(config.cni_version) < _SINCE.get(command, 0):
        message = f"CNI_COMMAND: {command} does not exist in cniVersion {config.cni_version!r}"
        raise CniError(Code.INCOMPATIBLE_VERSION, message)
    for variable in _NEEDED[command]:
        _check_variable(variable, headers)
    named = bool(_NEEDED[command])
    sandbox = headers["Cni-Containerid"] if named else ""
    interface = headers["Cni-Ifname"] if named else ""
    pod = _pod(headers.get("Cni-Args", ""), sandbox)
    return CniRequest(
        command=command,
        sandbox=sandbox,
        interface=interface,
        pod=pod,
        config=config,
        inputs=read_inputs(body, interface, pod.namespace) if command == "ADD" else PodInputs(),
        # One that cannot be read is left out: it must not cost a pod its address.
        traceparent=traceparent.valid(headers.get("Traceparent", "")),
        valid=_valid(config) if command == "GC" else (),
    )


def _valid(config: NetworkConfig) -> tuple[ValidAttachment, ...]:
    """The attachments that a GC lists; a runtime in Go writes none as null.

    The specification's name for the key was wrong at first, and libcni sends both
    (containernetworking/cni 1101).
    """
    given = config.valid_attachments
    found = config.attachments if given is UNSET else given
    if found is UNSET:
        message = "cni.dev/valid-attachments: required for GC, but missing"
        raise CniError(Code.INVALID_NETWORK_CONFIG, message)
    return found or ()


def _check_variable(variable: str, headers: Mapping[str, str]) -> None:
    value = headers.get(variable.replace("_", "-"), "")
    if not value:
        raise CniError(Code.INVALID_ENVIRONMENT, f"{variable}: required, but missing or empty")
    form = _FORMS.get(variable)
    if form is not None and not form.fullmatch(value):
        raise CniError(Code.INVALID_ENVIRONMENT, f"{variable}: {quote(value)} is not valid")


def _pod(cni_args: str, sandbox: str) -> Pod:
    """The pod that CNI_ARGS names; the container id stands for what it does not."""
    args: dict[str, str] = {}
    for pair in cni_args.split(";"):
        key, equals, value = pair.partition("=")
        if pair and not equals:
            raise CniError(Code.INVALID_ENVIRONMENT, f"CNI_ARGS: {quote(pair)} is not KEY=VALUE")
        args[key] = value
    return Pod(
        namespace=args.get("K8S_POD_NAMESPACE", ""),
        name=args.get("K8S_POD_NAME") or sandbox,
        uid=args.get("K8S_POD_UID") or sandbox,
    )
