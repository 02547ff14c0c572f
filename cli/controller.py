"""`ipledger controller`: between the API server of a cluster and the log."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from ipledger.cli import gc_settings
from ipledger.cli.cluster import IN_CLUSTER, parse_cluster
from ipledger.cli.connection import DEFAULT_SERVER, Server
from ipledger.cli.gc_settings import GcFlags
from ipledger.cli.listen import parse_http


def controller(
    *,
    kubeconfig: str = IN_CLUSTER,
    http: str = "9476",
    timeout: float = 10.0,
    gc: Annotated[bool, Parameter(env_var="IPLEDGER_GC_ENABLED", negative="--no-gc")] = True,
    endpoints: Annotated[
        bool, Parameter(env_var="IPLEDGER_ENDPOINTS", negative="--no-endpoints")
    ] = False,
    flags: GcFlags = gc_settings.DEFAULT,
    server: Server = DEFAULT_SERVER,
) -> None:
    """Carry pools, subnets, reservations and workloads between a cluster and the log.

    Frees what no pod of the cluster uses any more, too.
    Prints one line `ready controller nats=… http=…` on stderr when everything was listed once.
    SIGTERM and Ctrl-C stop it cleanly. Several do no harm: the engine decides.

    Parameters
    ----------
    kubeconfig
        How to reach the API server: a file, or `in-cluster` for the service account of this pod.
    http
        Where /healthz and /metrics are: a port on loopback, or HOST:PORT; port 0 picks a free one.
    timeout
        Seconds for which a command is tried before its object is put back.
    gc
        Collect zombies: free the allocations that no pod uses any more.
    endpoints
        Show what each pod has as a SpiderEndpoint, for whoever reads those.
    """
    server.check()
    cluster = parse_cluster(kubeconfig or IN_CLUSTER)
    from ipledger.cli.role_controller import ControllerOptions, run_controller

    listen = parse_http(http)
    collecting = flags.settings() if gc else None
    run_controller(ControllerOptions(server, cluster, listen, timeout, collecting, endpoints))
