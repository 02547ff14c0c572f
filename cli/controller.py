"""`ipledger controller`: between the API server of a cluster and the log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from ipledger.cli import gc_settings, log_flags
from ipledger.cli.cluster import IN_CLUSTER, parse_cluster
from ipledger.cli.connection import DEFAULT_SERVER, Server
from ipledger.cli.errors import UsageError
from ipledger.cli.gc_settings import CollectorFlags
from ipledger.cli.listen import parse_http
from ipledger.cli.log_flags import LogFlags

if TYPE_CHECKING:
    from ipledger.kube.lease import LeaseName


def controller(
    *,
    kubeconfig: str = IN_CLUSTER,
    http: str = "9476",
    timeout: float = 10.0,
    gc: Annotated[bool, Parameter(env_var="IPLEDGER_GC_ENABLED", negative="--no-gc")] = True,
    endpoints: Annotated[
        bool, Parameter(env_var="IPLEDGER_ENDPOINTS", negative="--no-endpoints")
    ] = False,
    lease: Annotated[str, Parameter(env_var="IPLEDGER_LEASE")] = "",
    flags: CollectorFlags = gc_settings.RUNNING,
    server: Server = DEFAULT_SERVER,
    logs: LogFlags = log_flags.DEFAULT,
) -> None:
    """Carry pools, subnets, reservations and workloads between a cluster and the log.

    Frees what no pod of the cluster uses any more, too.
    Prints one line `ready controller nats=… http=…` on stderr when everything was listed once.
    SIGTERM and Ctrl-C stop it cleanly. Several do no harm: the engine
    decides; with --lease one of them works at a time.

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
    lease
        NAMESPACE/NAME of a Lease: of several controllers, the one that holds it works. The others
        stand by. Without it, this one works whoever else does.
    """
    server.check()
    cluster = parse_cluster(kubeconfig or IN_CLUSTER)
    from ipledger.cli.role_controller import ControllerOptions, run_controller

    listen = parse_http(http)
    collecting = flags.settings() if gc else None
    held = _parse_lease(lease)
    run_controller(
        ControllerOptions(
            server, cluster, listen, timeout, collecting, endpoints, held, logs.settings()
        )
    )


def _parse_lease(text: str) -> LeaseName | None:
    from ipledger.kube.lease import LeaseName
    from ipledger.projections.cluster.metadata import is_name

    if not text:
        return None
    namespace, _, name = text.partition("/")
    if not (is_name(namespace) and is_name(name)):
        raise UsageError(f"--lease: '{text}' is not NAMESPACE/NAME")
    return LeaseName(namespace, name)
