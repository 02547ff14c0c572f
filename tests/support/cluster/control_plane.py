"""etcd, kube-apiserver, kube-controller-manager and kube-scheduler, on the address of a bridge."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

from support.cluster.kubectl import Kubectl
from support.cluster.process import Daemon, run

ADDRESS = "10.88.0.1"
BRIDGE = "kube0"
PORT = 6443
ETCD = "http://127.0.0.1:2379"
FEATURES = "--feature-gates=IPv6DualStack=true"  # on by itself from 1.21 on
URL = f"https://{ADDRESS}:{PORT}"

_ADMIN = "admin"
_USERS = {
    _ADMIN: ("admin", "system:masters"),
    # Its controllers share its rights here; in a real cluster each has a service account.
    "manager": ("system:kube-controller-manager", "system:masters"),
    "scheduler": ("system:kube-scheduler", ""),
    "proxy": ("system:kube-proxy", ""),
}
# The service accounts that deploy/ gives rights to; their programs run outside of pods here.
_ACCOUNTS = ("ipledger-agent", "ipledger-controller")
_ACCOUNT_GROUPS = '"system:serviceaccounts,system:serviceaccounts:ipledger,system:authenticated"'


@dataclass(slots=True)
class ControlPlane:
    """The control plane, with its files below `folder` and programs from `programs`."""

    folder: Path
    programs: Path
    _daemons: list[Daemon] = field(default_factory=list[Daemon], init=False)

    @property
    def kubeconfig(self) -> Path:
        """The configuration of the cluster's administrator."""
        return self.folder / f"{_ADMIN}.kubeconfig"

    @property
    def kubectl(self) -> Kubectl:
        """kubectl as the administrator."""
        return Kubectl(self.kubeconfig)

    @property
    def apiserver(self) -> Daemon:
        """The API server."""
        return self._daemons[1]

    def start(self) -> None:
        """Start everything until the API server is ready and knows its default service account."""
        self.folder.mkdir(parents=True)
        run("ip", "link", "add", BRIDGE, "type", "bridge")
        run("ip", "address", "add", f"{ADDRESS}/24", "dev", BRIDGE)
        run("ip", "link", "set", BRIDGE, "up")
        self._write_keys()
        etcd = self._start("etcd", self._etcd())
        etcd.wait_for(lambda: _answers(f"{ETCD}/health"))
        apiserver = self._start("kube-apiserver", self._apiserver())
        apiserver.wait_for(self._ready, 120)
        for user in _USERS:
            self.write_kubeconfig(user)
        self._start("kube-controller-manager", self._manager())
        self._start("kube-scheduler", self._scheduler())
        manager = self._daemons[-2]
        manager.wait_for(lambda: self.kubectl.finds("serviceaccount", "default"))

    def stop(self) -> None:
        """Stop everything, last started first."""
        for daemon in reversed(self._daemons):
            daemon.stop()

    def write_kubeconfig(self, token: str) -> Path:
        """A configuration for whoever the token belongs to."""
        certificate = str(self.folder / "certs/apiserver.crt")
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {"name": "e2e", "cluster": {"server": URL, "certificate-authority": certificate}}
            ],
            "users": [{"name": token, "user": {"token": token}}],
            "contexts": [{"name": "e2e", "context": {"cluster": "e2e", "user": token}}],
            "current-context": "e2e",
        }
        path = self.folder / f"{token}.kubeconfig"
        path.write_text(json.dumps(config))
        return path

    def _start(self, name: str, flags: list[str]) -> Daemon:
        program = self.programs / name
        command = [str(program) if program.exists() else name, *flags]
        daemon = Daemon(name, command, self.folder / f"{name}.log")
        daemon.start()
        self._daemons.append(daemon)
        return daemon

    def _write_keys(self) -> None:
        key = str(self.folder / "service-accounts.key")
        run("openssl", "genrsa", "-out", key, "2048")
        lines = [
            f"{token},{user},{token}{f',{groups}' if groups else ''}\n"
            for token, (user, groups) in _USERS.items()
        ]
        lines += [f'node-{n},system:node:node-{n},node-{n},"system:nodes"\n' for n in range(1, 10)]
        lines += [
            f"{name},system:serviceaccount:ipledger:{name},{name},{_ACCOUNT_GROUPS}\n"
            for name in _ACCOUNTS
        ]
        (self.folder / "tokens.csv").write_text("".join(lines))

    def _etcd(self) -> list[str]:
        return [
            "--data-dir",
            str(self.folder / "etcd"),
            "--unsafe-no-fsync",
            "--listen-client-urls",
            ETCD,
            "--advertise-client-urls",
            ETCD,
        ]

    def _apiserver(self) -> list[str]:
        key = self.folder / "service-accounts.key"
        return [
            f"--etcd-servers={ETCD}",
            f"--secure-port={PORT}",
            "--insecure-port=0",
            f"--advertise-address={ADDRESS}",
            f"--cert-dir={self.folder / 'certs'}",
            f"--service-account-issuer={URL}",
            f"--service-account-signing-key-file={key}",
            f"--service-account-key-file={key}",
            f"--token-auth-file={self.folder / 'tokens.csv'}",
            "--authorization-mode=Node,RBAC",
            "--service-cluster-ip-range=10.96.0.0/16",
            # Their names are known to nobody.
            "--kubelet-preferred-address-types=InternalIP",
            # Nothing routes to services here, as kube-proxy does on machines.
            "--enable-aggregator-routing=true",
            FEATURES,
        ]

    def _manager(self) -> list[str]:
        return [
            f"--kubeconfig={self.folder / 'manager.kubeconfig'}",
            f"--service-account-private-key-file={self.folder / 'service-accounts.key'}",
            f"--root-ca-file={self.folder / 'certs/apiserver.crt'}",
            "--use-service-account-credentials=false",
            FEATURES,
            "--leader-elect=false",
            "--kube-api-qps=200",
            "--kube-api-burst=400",
        ]

    def _scheduler(self) -> list[str]:
        return [
            f"--kubeconfig={self.folder / 'scheduler.kubeconfig'}",
            FEATURES,
            "--leader-elect=false",
            "--kube-api-qps=200",
            "--kube-api-burst=400",
        ]

    def _ready(self) -> bool:
        self.write_kubeconfig(_ADMIN)
        return self.kubectl.succeeds("get", "--raw", "/readyz")


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1):
            return True
    except (urllib.error.URLError, OSError):
        return False
