"""kubectl, as tests use it."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from support.program import until

TIMEOUT_S = 180


@dataclass(frozen=True, slots=True)
class Kubectl:
    """kubectl with a configuration. `user` is whom the administrator acts for, if anybody."""

    kubeconfig: Path
    user: str = ""

    def __call__(self, *arguments: str, stdin: str | None = None) -> str:
        """What a command prints. Fails with its errors."""
        done = self.run(*arguments, stdin=stdin)
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}\n{done.stdout}{done.stderr}"
        return done.stdout

    def run(self, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """How a command ends, and what it prints."""
        acting = (f"--as={self.user}",) if self.user else ()
        return subprocess.run(
            ["kubectl", f"--kubeconfig={self.kubeconfig}", *acting, *arguments],
            env={**os.environ, "HOME": str(self.kubeconfig.parent)},
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=TIMEOUT_S,
        )

    def succeeds(self, *arguments: str) -> bool:
        """Whether a command ends well."""
        return self.run(*arguments).returncode == 0

    def finds(self, kind: str, name: str) -> bool:
        """Whether an object is there."""
        return self.succeeds("get", kind, name)

    def apply(self, *objects: dict[str, Any] | str | Path) -> str:
        """Apply objects, texts or files."""
        if len(objects) == 1 and isinstance(objects[0], Path):
            return self("apply", "-f", str(objects[0]))
        texts = (one if isinstance(one, str) else yaml.safe_dump(one) for one in objects)
        return self("apply", "-f", "-", stdin="\n---\n".join(texts))

    def get(self, kind: str, *arguments: str) -> list[dict[str, Any]]:
        """The objects of a kind, by selector or whatever else `kubectl get` takes."""
        found: list[dict[str, Any]] = json.loads(self("get", kind, *arguments, "-o", "json"))[
            "items"
        ]
        return found

    def can(self, verb: str, resource: str, *arguments: str) -> bool:
        """Whether it may do that."""
        return self.succeeds("auth", "can-i", verb, resource, *arguments, "-q")


def create_namespace(kubectl: Kubectl, name: str) -> None:
    """Create a namespace, and wait until pods can be made in it."""
    kubectl("create", "namespace", name)
    until(lambda: kubectl.succeeds("get", "-n", name, "serviceaccount", "default"), TIMEOUT_S)
