"""`ipledger controller`: between the API server of a cluster and the log."""

from __future__ import annotations

from ipledger.cli.cluster import IN_CLUSTER, parse_cluster
from ipledger.cli.connection import DEFAULT_SERVER, Server


def controller(
    *,
    kubeconfig: str = IN_CLUSTER,
    http: int = 9476,
    timeout: float = 10.0,
    server: Server = DEFAULT_SERVER,
) -> None:
    """Carry pools, subnets, reservations and workloads between a cluster and the log.

    Prints one line `ready controller nats=… http=…` on stderr when everything was listed once.
    SIGTERM and Ctrl-C stop it cleanly. Several do no harm: the engine decides.

    Parameters
    ----------
    kubeconfig
        How to reach the API server: a file, or `in-cluster` for the service account of this pod.
    http
        The port of /healthz on loopback; 0 picks a free one.
    timeout
        Seconds for which a command is tried before its object is put back.
    """
    server.check()
    cluster = parse_cluster(kubeconfig or IN_CLUSTER)
    from ipledger.cli.role_controller import ControllerOptions, run_controller

    run_controller(ControllerOptions(server, cluster, http, timeout))
