"""ipledger as a cluster has it: engine, an agent for each machine, controller and webhook.

Each is a process of its own, and agent and controller have only the rights that `deploy/` gives
them. They run beside the machines instead of in pods, so that tests can kill and change each of
them at once; `support.cluster.installation` has them in pods.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path
from typing import Any

from ipledger.cni.install import Network, install_shim
from ipledger.projections.rows import AllocationRow
from support.certificates import Authority
from support.cluster.control_plane import ControlPlane
from support.cluster.kubectl import Kubectl
from support.cluster.machine import Machine
from support.cluster.pods import running
from support.cluster.shipped import rights, webhooks
from support.node import IPLEDGER, Operator
from support.program import Program
from support.replicas import AgentProgram, Replicas

MIN_AGE_S = 3.0
"""The collector leaves an allocation alone for so long."""

_REALM = "e2e"
_AGENT_TIMEOUT_S = 20.0


@dataclass
class Site(Operator):
    """All of ipledger in a cluster of these machines; not started yet."""

    root: Path
    nats_url: str
    realm: str
    cluster: ControlPlane
    machines: tuple[Machine, ...]
    replicas: Replicas = field(init=False)
    controller: Program = field(init=False)
    webhook: Program = field(init=False)

    def __post_init__(self) -> None:
        shim = install_shim(self.root)
        self.replicas = Replicas(self.root, self.nats_url, self.realm, shim)
        reached = ["--nats", self.nats_url, "--realm", self.realm]
        kubeconfig = str(self.cluster.write_kubeconfig("ipledger-controller"))
        command = [IPLEDGER, "controller", *reached, "--http", "0", "--kubeconfig", kubeconfig]
        # Tests free many of few: what they leave behind is not a half-asleep API server's doing.
        command += ["--min-age", str(MIN_AGE_S), "--count-max", "1000"]
        self.controller = Program("controller", command, self.root)
        self._authority = Authority()
        self._files = self.root / "webhook.crt", self.root / "webhook.key"
        cert, key = map(str, self._files)
        command = [IPLEDGER, "webhook", *reached, "--host", "127.0.0.1", "--cert", cert]
        self.webhook = Program("webhook", [*command, "--key", key, "--port", "0"], self.root)

    @property
    def agents(self) -> list[AgentProgram]:
        """The agents, one a machine."""
        return self.replicas.agents

    def start(self) -> None:
        """Give rights, start everything, and make it the network of all machines."""
        self.cluster.kubectl.apply(*rights())
        kubeconfig = self.cluster.write_kubeconfig("ipledger-agent")
        for machine in self.machines:
            install_shim(machine.bin_dir)
            self.replicas.add_agent(_AGENT_TIMEOUT_S, kubeconfig)
        self.replicas.start(engines=1, agents=0)
        for agent in self.agents:
            agent.start()
        self.start_controller()
        self.start_webhook()
        self.connect()

    def start_controller(self) -> None:
        """Start the controller, the first time or again, until it has listed everything."""
        self.controller.launch()
        self.controller.line(r"^ready controller ")

    def start_webhook(self) -> None:
        """Start the webhook, and have the API server ask it; none but this one."""
        self._authority.issue(*self._files)
        self.webhook.launch()
        self._register()

    @contextmanager
    def unguarded(self) -> Generator[None]:
        """Meanwhile the API server asks no webhook, as in a cluster that has none."""
        self.cluster.kubectl("delete", "validatingwebhookconfiguration", "ipledger")
        yield
        self._register()

    def _register(self) -> None:
        url = self.webhook.line(r"^ready webhook=(\S+) ").group(1)
        authority = base64.b64encode(self._authority.pem).decode()
        configuration = webhooks()
        for one in configuration["webhooks"]:
            one["clientConfig"] = {"url": url, "caBundle": authority}
        self.cluster.kubectl.apply(configuration)

    def connect(self, **ipam: Any) -> None:
        """Make this the network of all machines; `ipam` is more of the plugin's configuration."""
        for machine, agent in zip(self.machines, self.agents, strict=True):
            conf = json.loads(Network("pods", "bridge", "ipledger0", agent.socket).conflist())
            conf["plugins"][0]["ipam"] |= ipam
            machine.set_network(json.dumps(conf).encode())

    def collected(self, pod: str) -> list[str]:
        """Why the collector freed what this pod (NAMESPACE/NAME) had, as its log says it."""
        pattern = rf"allocation \S+ of {re.escape(pod)} freed: ([\w-]+): "
        logs = self.root.glob(f"{self.controller.name}.*.log")
        return [why for log in sorted(logs) for why in re.findall(pattern, log.read_text())]

    def gc(self, *flags: str) -> list[dict[str, Any]]:
        """What a look at everything by hand finds, by the pods' names."""
        reached = ("--kubeconfig", str(self.cluster.kubeconfig), "--min-age", "0", "-o", "json")
        done = self.ipledger("gc", *reached, *flags)
        assert done.returncode == 0, done.stderr
        found: list[dict[str, Any]] = json.loads(done.stdout)
        return sorted(found, key=itemgetter("pod"))

    def assert_agrees(self, kubectl: Kubectl) -> None:
        """Each pod that runs has the addresses that the log says it has, and has them alone."""
        given = {row.uid: sorted(bare(row)) for row in self.allocations()}
        for pod in running(kubectl):
            assert sorted(pod.addresses) == given.get(pod.uid), pod
        every = [address for addresses in given.values() for address in addresses]
        assert len(every) == len(set(every)), given

    def end(self) -> None:
        """End everything that still runs, and have the API server ask nobody."""
        self.cluster.kubectl.run("delete", "validatingwebhookconfiguration", "ipledger")
        for program in (self.controller, self.webhook):
            if program.runs:
                assert program.stop() == 0, program.log.read_text()
        self.replicas.end()


def bare(row: AllocationRow) -> list[str]:
    """The addresses of an allocation, without their prefixes' lengths."""
    return [one.address.partition("/")[0] for one in row.addresses]


@contextmanager
def site(
    root: Path, nats_url: str, cluster: ControlPlane, machines: tuple[Machine, ...]
) -> Generator[Site]:
    """A site that runs, and is ended behind the tests."""
    root.mkdir(parents=True, exist_ok=True)
    made = Site(root, nats_url, _REALM, cluster, machines)
    try:
        made.start()
        yield made
    finally:
        made.end()
