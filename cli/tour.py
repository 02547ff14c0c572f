"""The tour that `ipledger demo` takes: each step says what it does, does it, and shows it."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ipledger.cli.errors import CliError
from ipledger.cli.output import emit
from ipledger.cni.install import install_shim

_BRIDGE = "/usr/lib/cni/bridge"
_READY_TIMEOUT_S = 30.0
_BOLD, _DIM, _PLAIN = "\033[1m", "\033[2m", "\033[0m"

_POOLS = """\
apiVersion: spiderpool.spidernet.io/v2beta1
kind: SpiderIPPool
metadata:
  name: shop-v4
spec:
  subnet: 10.6.0.0/16
  ips: [10.6.1.10-10.6.1.12]
  gateway: 10.6.0.1
  default: true
---
apiVersion: spiderpool.spidernet.io/v2beta1
kind: SpiderIPPool
metadata:
  name: shop-v6
spec:
  subnet: fd00:6::/64
  ips: [fd00:6::10-fd00:6::1f]
  default: true
"""


@dataclass
class Tour:
    """A running demonstration in `root`."""

    root: Path
    cleanup: ExitStack
    namespaces: dict[str, str] = field(default_factory=dict[str, str])
    nats: str = ""
    _up: subprocess.Popen[bytes] | None = None

    @classmethod
    def take(cls) -> int:
        """Take the tour from beginning to end. Raises `CliError` where a step fails."""
        with ExitStack() as cleanup:
            root = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="ipledger-demo-")))
            tour = cls(root, cleanup)
            cleanup.callback(tour.stop)
            tour.begin()
            tour.pods()
            tour.questions()
            tour.crash()
            tour.zombie()
            tour.proof()
        return 0

    def begin(self) -> None:
        """Start everything and make two pools."""
        self._say("1. Start: a real nats-server (every commit fsynced), the engine, the agent")
        install_shim(self.root / "bin")
        self.start()
        self._say("2. Two pools, as Spiderpool manifests")
        (self.root / "pools.yaml").write_text(_POOLS)
        self._run("ipledger", "apply", "-f", "pools.yaml")

    def pods(self) -> None:
        """Three pods get addresses; on a bridge, the first two reach each other."""
        on_bridge = os.geteuid() == 0 and all(shutil.which(p) for p in ("ip", "nsenter", _BRIDGE))
        if on_bridge:
            self._say("3. Three pods on the real bridge plugin, each in a network namespace")
            self._make_namespaces("host", "cart", "pay", "web")
        else:
            self._say("3. Three pods (calling the plugin alone: no root, ip or bridge plugin here)")
        results = {pod: self._cni("ADD", pod) for pod in ("cart", "pay", "web")}
        if on_bridge and shutil.which("ping"):
            address = results["pay"]["ips"][0]["address"].partition("/")[0]
            ping = ("ping", "-c", "1", "-W", "2", address)
            inside = ("ip", "netns", "exec", self.namespaces["cart"])
            self._run(*inside, *ping, shown=shlex.join(("ip", "netns", "exec", "cart", *ping)))
        self._run("ipledger", "get", "allocations")

    def questions(self) -> None:
        """Who has an address, and a pool that is full."""
        self._say("4. Who has 10.6.1.11?")
        self._run("ipledger", "who", "10.6.1.11")
        self._say("5. A fourth pod: the IPv4 pool has three addresses, so it gets none, and why")
        self._cni("ADD", "late", expect=1)
        self._cni("DEL", "late")

    def crash(self) -> None:
        """Kill everything; nothing answered is lost."""
        self._say("6. kill -9 of everything, start again on the same data: nothing is lost")
        assert self._up is not None
        self._up.kill()
        self._up.wait()
        self.start()
        self._run("ipledger", "get", "pools")

    def zombie(self) -> None:
        """Pods end; one of them without a DEL."""
        self._say("7. Pods cart and pay end. web's runtime died and never sent DEL: a zombie")
        for pod in ("cart", "pay"):
            self._cni("DEL", pod)
        self._run("ipledger", "get", "allocations")
        self._run("ipledger", "release", "a3", "--reason", "web is gone from the node")

    def proof(self) -> None:
        """The history, and that it is whole."""
        self._say("8. Everything that happened, and the proof that the record is whole")
        self._run("ipledger", "log")
        self._run("ipledger", "verify")

    def start(self) -> None:
        """Run `ipledger up` until it is ready."""
        log = self.root / "up.log"
        options = ["--data", "data", "--socket", "agent.sock", "--nats-port", "0", "--http", "0"]
        command = ["ipledger", "up", *options, "--node", "demo-node"]
        self._show(shlex.join(command) + " &")
        with log.open("wb") as stderr:
            self._up = subprocess.Popen(self._program(command), stderr=stderr, cwd=self.root)
        deadline = time.monotonic() + _READY_TIMEOUT_S
        while not (ready := re.search(r"^ready .*?nats=(\S+).*$", log.read_text(), re.MULTILINE)):
            if self._up.poll() is not None or time.monotonic() > deadline:
                raise CliError(f"ipledger up did not become ready\n{log.read_text()}")
            time.sleep(0.02)
        self.nats = ready.group(1)
        emit(ready.group(0))

    def stop(self) -> None:
        """End what runs and remove the namespaces."""
        if self._up is not None and self._up.poll() is None:
            self._up.send_signal(signal.SIGTERM)
            self._up.wait()
        for namespace in self.namespaces.values():
            subprocess.run(["ip", "netns", "delete", namespace], check=False)

    def _make_namespaces(self, *pods: str) -> None:
        for pod in pods:
            name = f"ipledger-demo-{os.getpid()}-{pod}"
            subprocess.run(["ip", "netns", "add", name], check=True)
            self.namespaces[pod] = name

    def _cni(self, command: str, pod: str, expect: int = 0) -> dict[str, Any]:
        """One CNI call as a runtime makes it. Shows its answer and returns it decoded."""
        config = {
            "cniVersion": "1.0.0",
            "name": "demo",
            "type": "bridge",
            "bridge": "br0",
            "ipam": {"type": "ipledger", "socket": str(self.root / "agent.sock")},
        }
        plugin = [str(self.root / "bin" / "ipledger")]
        netns = "/var/run/netns/none"
        if pod in self.namespaces:
            plugin = ["nsenter", f"--net=/run/netns/{self.namespaces['host']}", _BRIDGE]
            netns = f"/run/netns/{self.namespaces[pod]}"
        args = f"IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME={pod};K8S_POD_UID=uid-{pod}"
        environment = {
            **os.environ,
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": f"sandbox-{pod}",
            "CNI_NETNS": netns,
            "CNI_IFNAME": "eth0",
            "CNI_PATH": f"{self.root / 'bin'}:/usr/lib/cni",
            "CNI_ARGS": args,
        }
        done = subprocess.run(
            plugin, input=json.dumps(config), env=environment, stdout=subprocess.PIPE, text=True
        )
        answer: dict[str, Any] = json.loads(done.stdout or "{}")
        addresses: list[str] = [ip["address"] for ip in answer.get("ips", [])]
        told = answer.get("msg") or ", ".join(addresses) or "ok"
        self._show(f"CNI {command} shop/{pod}")
        emit(told)
        if done.returncode != expect:
            raise CliError(f"CNI {command} for {pod} ended with {done.returncode}: {told}")
        return answer

    def _program(self, command: list[str]) -> list[str]:
        """The command, with our own program in the place of its name."""
        if command[0] == "ipledger":
            return [sys.executable, "-m", "ipledger.cli", *command[1:]]
        return command

    def _run(self, *command: str, shown: str = "") -> None:
        self._show(shown or shlex.join(command))
        environment = {**os.environ, "IPLEDGER_NATS": self.nats}
        done = subprocess.run(self._program(list(command)), env=environment, cwd=self.root)
        if done.returncode != 0:
            raise CliError(f"{shlex.join(command)} ended with {done.returncode}")

    def _say(self, text: str) -> None:
        emit("\n" + self._styled(_BOLD, text))

    def _show(self, command: str) -> None:
        emit(self._styled(_DIM, f"$ {command}"))
        sys.stdout.flush()

    def _styled(self, style: str, text: str) -> str:
        coloured = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        return f"{style}{text}{_PLAIN}" if coloured else text
