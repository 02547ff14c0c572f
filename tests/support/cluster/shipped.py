"""What `deploy/` ships, as objects."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import yaml

_ROOT = Path(__file__).parents[3]
_RIGHTS = ("Namespace", "ServiceAccount", "ClusterRole", "ClusterRoleBinding")
_WEBHOOK_PAGE = _ROOT / "docs/reference/admission-webhook.md"


def shipped() -> list[dict[str, Any]]:
    """The objects of the kustomize base."""
    command = ["kubectl", "kustomize", str(_ROOT / "deploy/kustomize/base")]
    built = subprocess.run(command, capture_output=True, check=True)
    return list(yaml.safe_load_all(built.stdout))


def rights() -> list[dict[str, Any]]:
    """Those of them that say who may do what."""
    return [one for one in shipped() if one["kind"] in _RIGHTS]


def webhooks() -> dict[str, Any]:
    """The configuration of the admission webhook, as its page has it."""
    text = _WEBHOOK_PAGE.read_text().partition("```yaml\n")[2].partition("```")[0]
    found: dict[str, Any] = yaml.safe_load(text)
    return found
