"""`ipledger cni install`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from ipledger.cli.errors import CliError
from ipledger.cli.output import emit, note


def install(
    *,
    bin_dir: Path = Path("/opt/cni/bin"),
    conf_dir: Path = Path("/etc/cni/net.d"),
    socket: Path = Path("/run/ipledger/agent.sock"),
    name: str = "ipledger",
    plugin: Literal["bridge", "macvlan", "ipvlan"] = "bridge",
    link: str = "ipledger0",
    force: bool = False,
) -> int:
    """Install the CNI plugin on this node: the shim, then a network configuration.

    Parameters
    ----------
    bin_dir
        Where the runtime looks for plugins.
    conf_dir
        Where the runtime looks for network configurations.
    socket
        The socket of the node's agent, written into the configuration.
    name
        The network's name; the file is 10-NAME.conflist.
    plugin
        The main plugin, which makes the interface.
    link
        The bridge (for bridge) or the parent interface (for macvlan and ipvlan).
    force
        Write over a network configuration that was changed by hand.
    """
    from ipledger.cni.build import ShimBuildError
    from ipledger.cni.install import Network, install_conflist, install_shim

    try:
        emit(str(install_shim(bin_dir)))
        network = Network(name, plugin, link, socket.absolute())
        conflist, as_asked = install_conflist(conf_dir, network, force=force)
    except ShimBuildError as error:
        raise CliError(str(error)) from error
    emit(str(conflist))
    if not as_asked:
        note(f"kept {conflist} as it is; --force writes over it")
    return 0
