"""One CNI call as the shim hands it over: environment in headers, network configuration as body."""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from ipledger.cni.body import decode_body
from ipledger.cni.errors import CniError, Code
from ipledger.cni.inputs import PodInputs, read_inputs
from ipledger.events.facts import Pod

VERSIONS = ("0.3.0", "0.3.1", "0.4.0", "1.0.0")
"""The versions of the CNI specification that are spoken."""

_CHECK_SINCE = VERSIONS.index("0.4.0")
_NEEDED = {
    "ADD": ("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"),
    "CHECK": ("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"),
    "DEL": ("CNI_CONTAINERID", "CNI_IFNAME"),
}
_FORMS = {
    "CNI_CONTAINERID": re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.\-]{0,127}"),
    "CNI_IFNAME": re.compile(r"(?!\.{1,2}$)[^/:\s\x00-\x1f\x7f]{1,15}"),
}
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


class IpamConfig(msgspec.Struct, frozen=True):
    """The `ipam` section. Keys that belong to others are let pass."""

    default_ipv4_ippool: tuple[str, ...] = ()
    default_ipv6_ippool: tuple[str, ...] = ()
    clean_gateway: bool = False
    auto_pools: bool = True


class _PrevAddress(msgspec.Struct, frozen=True):
    address: str


class PrevResult(msgspec.Struct, frozen=True):
    """What CHECK needs of the result of the ADD before it."""

    ips: tuple[_PrevAddress, ...] = ()


class NetworkConfig(msgspec.Struct, frozen=True):
    """The network configuration, as far as IPAM reads it."""

    name: str = ""
    cni_version: str = msgspec.field(default="0.1.0", name="cniVersion")
    ipam: IpamConfig = IpamConfig()
    prev_result: PrevResult | None = msgspec.field(default=None, name="prevResult")


class CniRequest(msgspec.Struct, frozen=True):
    """A CNI call that is well formed. `inputs` is read for ADD only; the others need none."""

    command: str
    sandbox: str
    interface: str
    pod: Pod
    config: NetworkConfig
    inputs: PodInputs
    traceparent: str

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
        return VERSIONS[-1]
    return version if version in VERSIONS else VERSIONS[-1]


def parse(headers: Mapping[str, str], body: bytes) -> CniRequest:
    """Read a call. Raises `CniError` that names the variable or field at fault, and its value."""
    command = headers.get("Cni-Command", "")
    if command not in _NEEDED:
        raise CniError(Code.INVALID_ENVIRONMENT, f"CNI_COMMAND: {command!r} is not known")
    config = decode_body(_decoder, body)
    if config.cni_version not in VERSIONS:
        raise CniError(
            Code.INCOMPATIBLE_VERSION,
            f"cniVersion: {config.cni_version!r} is not supported",
            f"supported versions: {', '.join(VERSIONS)}",
        )
    if command == "CHECK" and VERSIONS.index(config.cni_version) < _CHECK_SINCE:
        message = f"CNI_COMMAND: CHECK does not exist in cniVersion {config.cni_version!r}"
        raise CniError(Code.INCOMPATIBLE_VERSION, message)
    for variable in _NEEDED[command]:
        _check_variable(variable, headers)
    sandbox, interface = headers["Cni-Containerid"], headers["Cni-Ifname"]
    pod = _pod(headers.get("Cni-Args", ""), sandbox)
    return CniRequest(
        command=command,
        sandbox=sandbox,
        interface=interface,
        pod=pod,
        config=config,
        inputs=read_inputs(body, interface, pod.namespace) if command == "ADD" else PodInputs(),
        traceparent=_traceparent(headers.get("Traceparent", "")),
    )


def _check_variable(variable: str, headers: Mapping[str, str]) -> None:
    value = headers.get(variable.replace("_", "-"), "")
    if not value:
        raise CniError(Code.INVALID_ENVIRONMENT, f"{variable}: required, but missing or empty")
    form = _FORMS.get(variable)
    if form is not None and not form.fullmatch(value):
        raise CniError(Code.INVALID_ENVIRONMENT, f"{variable}: {value!r} is not valid")


def _traceparent(text: str) -> str:
    """A trace context that cannot be read is left out: it must not cost a pod its address."""
    return text if _TRACEPARENT.fullmatch(text) else ""


def _pod(cni_args: str, sandbox: str) -> Pod:
    """The pod that CNI_ARGS names; the container id stands for what it does not."""
    args: dict[str, str] = {}
    for pair in cni_args.split(";"):
        key, equals, value = pair.partition("=")
        if pair and not equals:
            raise CniError(Code.INVALID_ENVIRONMENT, f"CNI_ARGS: {pair!r} is not KEY=VALUE")
        args[key] = value
    return Pod(
        namespace=args.get("K8S_POD_NAMESPACE", ""),
        name=args.get("K8S_POD_NAME") or sandbox,
        uid=args.get("K8S_POD_UID") or sandbox,
    )
