"""A machine of the cluster: containerd and a kubelet in namespaces of their own."""

from __future__ import annotations

import os
import signal
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from support.cluster import image
from support.cluster.control_plane import ADDRESS, BRIDGE, FEATURES, ControlPlane
from support.cluster.process import Daemon, run

PLUGINS = Path("/usr/lib/cni")

_PROXY_HEALTH_PORT = 10256

_CONTAINERD = """\
version = 2
root = "{folder}/root"
state = "{folder}/state"
[grpc]
address = "{folder}/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{image}"
disable_apparmor = true
# Without CAP_SYS_RESOURCE runc cannot lower a score.
restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "overlayfs"
default_runtime_name = "runc"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
SystemdCgroup = false
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{folder}/bin"
conf_dir = "{folder}/net.d"
"""

# The machine's own /run, /etc, logs and data, with plugins and networks where everybody looks for
# them; and the settings of the kernel that a kubelet insists on, shown to it instead of being made.
_NAMESPACES = """\
set -e
for folder in /run /var/log /var/lib /opt "$0/etc"; do mount -t tmpfs tmpfs "$folder"; done
mkdir "$0/etc/upper" "$0/etc/work"
mount -t overlay -o "lowerdir=/etc,upperdir=$0/etc/upper,workdir=$0/etc/work" overlay /etc
mkdir -p /opt/cni/bin /etc/cni/net.d
mount --bind "$0/bin" /opt/cni/bin
mount --bind "$0/net.d" /etc/cni/net.d
while read -r setting value; do
    echo "$value" > "$0/settings/$(basename "$setting")"
    mount --bind "$0/settings/$(basename "$setting")" "/proc/sys/$setting"
done <<'SETTINGS'
vm/overcommit_memory 1
vm/panic_on_oom 0
kernel/panic 10
kernel/panic_on_oops 1
kernel/keys/root_maxkeys 1000000
kernel/keys/root_maxbytes 25000000
SETTINGS
echo > "$0/joined"
exec sleep infinity
"""


@dataclass(slots=True)
class Machine:
    """One machine: `node-1` has the address 10.88.0.11, and so on.

    Pods get their network from the first file in `conf_dir`, and plugins from `bin_dir`.
    """

    number: int
    folder: Path
    control_plane: ControlPlane
    _holder: Daemon | None = field(default=None, init=False)
    _containerd: Daemon | None = field(default=None, init=False)
    _kubelet: Daemon | None = field(default=None, init=False)
    _proxy: Daemon | None = field(default=None, init=False)

    @property
    def name(self) -> str:
        """The node's name."""
        return f"node-{self.number}"

    @property
    def address(self) -> str:
        """The node's address."""
        return f"{ADDRESS.rpartition('.')[0]}.{10 + self.number}"

    @property
    def bin_dir(self) -> Path:
        """Where the plugins are: Debian's, and what tests put beside them."""
        return self.folder / "bin"

    @property
    def conf_dir(self) -> Path:
        """Where the network configurations are."""
        return self.folder / "net.d"

    @property
    def containerd(self) -> Daemon:
        """The container runtime."""
        assert self._containerd is not None
        return self._containerd

    @property
    def kubelet(self) -> Daemon:
        """The kubelet."""
        assert self._kubelet is not None
        return self._kubelet

    def start(self) -> None:
        """Make the namespaces, start both programs, and wait until the node is registered."""
        self.bin_dir.mkdir(parents=True)
        self.conf_dir.mkdir()
        for plugin in PLUGINS.iterdir():
            (self.bin_dir / plugin.name).symlink_to(plugin)
        self._make_namespaces()
        self._start_containerd()
        self.load(image.build(self.folder))
        self._start_kubelet()
        self.kubelet.wait_for(lambda: self.control_plane.kubectl.finds("node", self.name))

    def stop(self) -> None:
        """Stop both programs and what containers there are."""
        for daemon in (self._proxy, self._kubelet, self._containerd, self._holder):
            if daemon is not None:
                daemon.stop()

    def load(self, archive: Path) -> None:
        """Give the runtime an image."""
        self.ctr("images", "import", str(archive))

    def wait_ready(self) -> None:
        """Wait until pods can be placed here, which needs a network configuration."""
        condition = ("--for=condition=Ready", f"node/{self.name}", "--timeout=120s")
        self.control_plane.kubectl("wait", *condition)

    def set_network(self, conflist: bytes) -> None:
        """Make this the network of pods from now on, and wait until the runtime has noticed."""
        self.write_network(conflist)
        self.wait_ready()

    def write_network(self, conflist: bytes) -> None:
        """Write the network of pods, as containerd notices it: by rename."""
        fresh = self.conf_dir / ".10-pods.conflist.new"
        fresh.write_bytes(conflist)
        fresh.replace(self.conf_dir / "10-pods.conflist")

    def waiting_calls(self) -> int:
        """How many calls of the shim wait for an answer."""
        shim = self.bin_dir / "ipledger"
        return sum(_program(pid) == shim for pid in Path("/proc").glob("[0-9]*"))

    def remove_sandbox(self, pod_uid: str) -> None:
        """Take a pod's containers from the runtime, behind its back. It knows when it restarts."""
        found = self.ctr("containers", "list", "-q", f'labels."io.kubernetes.pod.uid"=={pod_uid}')
        for container in found.split():
            # Where the runtime hears of the end, it deletes the task itself.
            self.run(
                "sh", "-c", f"{self._ctr} tasks delete --force {container} 2>/dev/null || true"
            )
            self.ctr("containers", "delete", container)

    def end_containers(self) -> None:
        """End every process of a container, as the machine's end does."""
        for line in self.ctr("tasks", "list").splitlines()[1:]:
            pid, state = line.split()[1:3]
            if state == "RUNNING":
                os.kill(int(pid), signal.SIGKILL)

    def ctr(self, *arguments: str) -> str:
        """What containerd's own client prints."""
        return self.run(*self._ctr.split(), *arguments)

    @property
    def _ctr(self) -> str:
        return f"ctr --address {self.folder}/containerd.sock --namespace k8s.io"

    def run(self, *command: str) -> str:
        """Run a command in the machine's namespaces."""
        return run(*self._enter, *command)

    @property
    def _enter(self) -> tuple[str, ...]:
        assert self._holder is not None
        return ("nsenter", f"--target={self._holder.pid}", "--net", "--mount")

    def _make_namespaces(self) -> None:
        (self.folder / "settings").mkdir()
        (self.folder / "etc").mkdir()
        unshare = ("unshare", "--net", "--mount", "--propagation", "slave", "sh", "-c")
        command = (*unshare, _NAMESPACES, str(self.folder))
        self._holder = Daemon(f"{self.name} holder", command, self.folder / "holder.log")
        self._holder.start()
        self._holder.wait_for((self.folder / "joined").exists)
        link = f"kube{self.number}"
        peer = ("name", "eth0", "netns", str(self._holder.pid))
        run("ip", "link", "add", link, "master", BRIDGE, "type", "veth", "peer", *peer)
        run("ip", "link", "set", link, "up")
        self.run("ip", "link", "set", "lo", "up")
        self.run("ip", "address", "add", f"{self.address}/24", "dev", "eth0")
        self.run("ip", "link", "set", "eth0", "up")
        self.run("ip", "route", "add", "default", "via", ADDRESS)

    def _start_containerd(self) -> None:
        config = self.folder / "containerd.toml"
        config.write_text(_CONTAINERD.format(folder=self.folder, image=image.NAME))
        command = ["containerd", "--config", str(config)]
        log = self.folder / "containerd.log"
        self._containerd = Daemon(f"{self.name} containerd", command, log, self._enter)
        self.start_containerd()

    def start_containerd(self) -> None:
        """Start the container runtime, the first time or again."""
        self.containerd.start()
        self.containerd.wait_for(self._containerd_answers)

    def _containerd_answers(self) -> bool:
        socket = self.folder / "containerd.sock"
        command = [*self._enter, "ctr", "--address", str(socket), "version"]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def start_proxy(self) -> None:
        """Start kube-proxy, without which the addresses of services lead nowhere."""
        kubeconfig = self.control_plane.write_kubeconfig("proxy")
        command = [
            str(self.control_plane.programs / "kube-proxy"),
            f"--kubeconfig={kubeconfig}",
            f"--hostname-override={self.name}",
            "--proxy-mode=iptables",
            # Settings of the whole kernel stay as they are.
            "--conntrack-max-per-core=0",
            "--conntrack-tcp-timeout-established=0s",
            "--conntrack-tcp-timeout-close-wait=0s",
            f"--healthz-bind-address={self.address}:{_PROXY_HEALTH_PORT}",
            "--oom-score-adj=0",
        ]
        log = self.folder / "kube-proxy.log"
        self._proxy = Daemon(f"{self.name} kube-proxy", command, log, self._enter)
        self._proxy.start()
        self._proxy.wait_for(self._proxy_is_synced)

    def _proxy_is_synced(self) -> bool:
        return "KUBE-SERVICES" in self.run("iptables", "-t", "nat", "-S", "OUTPUT")

    def _start_kubelet(self) -> None:
        kubeconfig = self.control_plane.write_kubeconfig(self.name)
        command = [
            str(self.control_plane.programs / "kubelet"),
            f"--kubeconfig={kubeconfig}",
            f"--hostname-override={self.name}",
            f"--node-ip={self.address}",
            f"--address={self.address}",
            f"--root-dir={self.folder / 'kubelet'}",
            f"--cert-dir={self.folder / 'kubelet/pki'}",
            f"--volume-plugin-dir={self.folder / 'kubelet/volume-plugins'}",
            "--container-runtime=remote",
            f"--container-runtime-endpoint=unix://{self.folder}/containerd.sock",
            "--cgroup-driver=cgroupfs",
            "--cgroups-per-qos=false",
            "--enforce-node-allocatable=",
            "--eviction-hard=",
            "--fail-swap-on=false",
            FEATURES,
            "--kube-api-burst=200",
            "--kube-api-qps=100",
            "--make-iptables-util-chains=false",
            "--max-pods=250",
            "--oom-score-adj=0",
            "--read-only-port=0",
            "--healthz-port=0",
            "--resolv-conf=",
        ]
        log = self.folder / "kubelet.log"
        self._kubelet = Daemon(f"{self.name} kubelet", command, log, self._enter)
        self._kubelet.start()


def _program(process: Path) -> Path | None:
    try:
        return (process / "exe").readlink()
    except OSError:
        return None
