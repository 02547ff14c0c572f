"""ipledger as docs/how-to/install.md installs it: in pods, from the images that images.sh built."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from ipledger.events.names import REALM_DEFAULT
from support.cluster import helm
from support.cluster.kubectl import Kubectl
from support.cluster.machine import Machine
from support.cluster.pods import POLL_S, TIMEOUT_S, running
from support.cluster.site import bare
from support.document import Shell, blocks
from support.node import Operator
from support.program import until

NAMESPACE = "ipledger"
ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs/how-to/install.md"
STEPS = {
    "build": ("Install on Kubernetes", 0),  # by tests/e2e/images.sh
    "namespace": ("Install on Kubernetes", 1),
    "keys": ("Keys", 0),
    "keys of nodes": ("Keys", 1),
    "reload": ("Keys", 2),
    "install": ("With Helm", 0),
    "single": ("With Helm", 1),
    "external": ("With Helm", 2),
    "upgrade": ("With Helm", 3),
    "base": ("With kustomize", 0),
    "forward": ("Then", 0),
    "look": ("Then", 1),
    "uninstall": ("Uninstall", 0),
    "clean": ("Uninstall", 1),
    "let go": ("Uninstall", 2),
}
"""What the page says to do, under which heading, and as which block there."""

_WORKLOADS = (
    "statefulset/ipledger-nats",
    "statefulset/ipledger-engine",
    "daemonset/ipledger-agent",
    "deployment/ipledger-controller",
)
IMAGES = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "ipledger-e2e/images"


POOL = blocks(PAGE, "yaml")["Then"][0]
"""The pool that the page has for an example."""

POOL_NAME: str = yaml.safe_load(POOL)["metadata"]["name"]


def step(name: str) -> str:
    """The commands of a step."""
    heading, number = STEPS[name]
    return blocks(PAGE)[heading][number]


@dataclass
class Installation(Operator):
    """An operator at a shell in `folder`, as the page sees one."""

    folder: Path
    kubectl: Kubectl
    machines: Sequence[Machine]
    shell: Shell = field(init=False)
    realm: str = field(default=REALM_DEFAULT, init=False)
    nats_url: str = field(default="", init=False)

    def __post_init__(self) -> None:
        programs = self.folder / "bin"
        programs.mkdir(parents=True)
        helm.link(programs)
        (self.folder / "deploy").symlink_to(ROOT / "deploy")
        (self.folder / "nodes.txt").write_text("".join(f"{m.name}\n" for m in self.machines))
        env = {
            "PATH": f"{programs}:{Path(sys.executable).parent}:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": str(self.folder),
            "KUBECONFIG": str(self.kubectl.kubeconfig),
        }
        # On the hosts' network, each server is at each machine's address.
        self.nats_url = ",".join(f"nats://{one.address}:4222" for one in self.machines)
        self.shell = Shell(self.folder, env)

    def do(self, *names: str, more: str = "") -> str:
        """Do steps of the page, with `more` arguments, and return what they print."""
        return "".join(self.shell(step(name).rstrip("\n") + f" {more}") for name in names)

    def key(self, user: str) -> Path:
        """See `Operator.key`."""
        return self.folder / "nats/keys" / f"{user}.nk"

    def pods(self, component: str) -> list[dict[str, Any]]:
        """The pods of one component."""
        label = f"app.kubernetes.io/component={component}"
        return self.kubectl.get("pods", "-n", NAMESPACE, "-l", label)

    def pool(self) -> None:
        """Make the page's pool, and wait until it is accepted."""
        self.kubectl.apply(self.folder / "pool.yaml")
        accepted = ("--for=condition=Accepted", f"spiderippool/{POOL_NAME}", "--timeout=30s")
        self.kubectl("wait", *accepted)

    def wait_no_pods(self) -> None:
        """Wait until there are no pods but those of ipledger."""

        def all_are_ours() -> bool:
            pods = self.kubectl.get("pods", "--all-namespaces")
            return {pod["metadata"]["namespace"] for pod in pods} <= {NAMESPACE}

        until(all_are_ours, TIMEOUT_S, POLL_S)

    def leader(self) -> str:
        """The pod of the engine that leads."""
        status = json.loads(self.ipledger("status", "-o", "json").stdout)
        return str(status["leader"])

    def logs(self, pod: str) -> str:
        """The last lines of a pod's containers, of this start or the one before."""
        about = ("logs", "-n", NAMESPACE, pod, "--all-containers", "--tail=15")
        done = [self.kubectl.run(*about), self.kubectl.run(*about, "--previous")]
        return "".join(one.stdout for one in done)

    def wait_brought(self, key: str) -> None:
        """Wait until every server of NATS has a configuration with this key, or could read it."""
        for machine in self.machines:
            volumes = f"{machine.folder}/kubelet/pods/*/volumes/kubernetes.io~projected"
            look = f"grep -rqs {key} {volumes} && echo yes || true"
            until(partial(machine.run, "sh", "-c", look), TIMEOUT_S, 1)

    def wait_ready(self, *workloads: str) -> None:
        """Wait until each pod is of the newest kind, and ready. Fails with what the pods say."""
        for workload in workloads or _WORKLOADS:
            timeout = f"--timeout={TIMEOUT_S:.0f}s"
            command = ("rollout", "status", "-n", NAMESPACE, workload, timeout)
            done = self.kubectl.run(*command)
            assert done.returncode == 0, f"{done.stdout}{done.stderr}{self.story()}"

    def story(self) -> str:
        """What there is to see of the pods, for a test that fails."""
        tales = [self.kubectl("get", "pods", "-n", NAMESPACE, "-o", "wide")]
        tales.append(self.kubectl("get", "events", "-n", NAMESPACE))
        for pod in self.kubectl.get("pods", "-n", NAMESPACE):
            name = pod["metadata"]["name"]
            tales.append(f"--- {name}\n{self.logs(name)}")
        return "\n".join(tales)

    def assert_agrees(self, namespace: str) -> None:
        """Each pod of a namespace has the addresses that the log says it has."""

        def agrees() -> bool:
            given = {
                row.uid: sorted(bare(row))
                for row in self.allocations()
                if row.namespace == namespace
            }
            return given == {p.uid: sorted(p.addresses) for p in running(self.kubectl, namespace)}

        until(agrees, TIMEOUT_S, POLL_S)
