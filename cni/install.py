"""Putting the plugin where the runtime looks: the shim, then the network configuration."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import msgspec

from ipledger.cni.build import SHIM_SOURCE, build_shim

PLUGIN = "ipledger"

MainPlugin: TypeAlias = Literal["bridge", "macvlan", "ipvlan"]


@dataclass(frozen=True, slots=True)
class Network:
    """A network of a main plugin whose addresses come from ipledger.

    `link` is the bridge of `bridge`, and the parent interface (`master`) of the others.
    """

    name: str
    plugin: MainPlugin
    link: str
    socket: Path
    cni_version: str = "1.0.0"

    def conflist(self) -> bytes:
        """The network configuration list.

        A bridge does not become the gateway (`isGateway`): where a pool has no gateway, the
        bridge plugin would take the subnet's first address, which ipledger may have given out.
        """
        plugin: dict[str, Any] = {"type": self.plugin}
        plugin["bridge" if self.plugin == "bridge" else "master"] = self.link
        plugin["capabilities"] = {"io.kubernetes.cri.pod-annotations": True}
        plugin["ipam"] = {"type": PLUGIN, "socket": str(self.socket)}
        conf = {"cniVersion": self.cni_version, "name": self.name, "plugins": [plugin]}
        return msgspec.json.format(msgspec.json.encode(conf), indent=2) + b"\n"


def install_shim(bin_dir: Path) -> Path:
    """Put the shim into `bin_dir`. Raises `ShimBuildError`, `OSError`."""
    bin_dir.mkdir(parents=True, exist_ok=True)
    target = bin_dir / PLUGIN
    prebuilt = SHIM_SOURCE.with_name(f"{PLUGIN}-{os.uname().machine}")
    if prebuilt.exists():
        _replace(target, prebuilt.read_bytes(), 0o755)
    else:
        build_shim(SHIM_SOURCE, target)
    return target


def install_conflist(conf_dir: Path, network: Network, *, force: bool) -> tuple[Path, bool]:
    """Write `10-<name>.conflist`, unless an operator's own is there and `force` is not given.

    Returns its path, and whether it now is as asked. Call it last: runtimes read it at once.
    """
    conf_dir.mkdir(parents=True, exist_ok=True)
    target = conf_dir / f"10-{network.name}.conflist"
    content = network.conflist()
    if target.exists() and not force:
        return target, target.read_bytes() == content
    _replace(target, content, 0o644)
    return target, True


def _replace(target: Path, content: bytes, mode: int) -> None:
    # By way of a file in the same directory: containerd does not notice one renamed in from
    # elsewhere, and must never read half of one.
    fresh = target.with_name(f".{target.name}.new")
    fresh.write_bytes(content)
    fresh.chmod(mode)
    fresh.replace(target)
