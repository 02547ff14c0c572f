"""How an agent probes addresses before it hands them over, as flags and environment variables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from cyclopts import Group, Parameter
from cyclopts.validators import Number

from ipledger.cni.probe import ProbeSettings


@Parameter(name="*", group=Group("Probe", sort_key=9))
@dataclass(frozen=True, slots=True)
class ProbeFlags:
    """Options of every command that runs an agent.

    Parameters
    ----------
    probe_interface
        Ask on this interface whether something answers to an address, before a pod gets it.
        A network may name another one (`ipam.probe_interface`). Not given: no address is probed.
    probe_requests
        How often an address is asked for.
    probe_wait
        Seconds for which answers to each request are waited for.
    """

    probe_interface: Annotated[str, Parameter(env_var="IPLEDGER_PROBE_INTERFACE")] = ""
    probe_requests: Annotated[
        int, Parameter(env_var="IPLEDGER_PROBE_REQUESTS", validator=Number(gte=1, lte=10))
    ] = 3
    probe_wait: Annotated[
        float, Parameter(env_var="IPLEDGER_PROBE_WAIT", validator=Number(gt=0, lte=2))
    ] = 0.1

    def settings(self) -> ProbeSettings:
        """The same for the agent."""
        return ProbeSettings(self.probe_interface, self.probe_requests, self.probe_wait)


DEFAULT = ProbeFlags()
