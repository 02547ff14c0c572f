"""What is loaded of kubernetes-asyncio: its transport, and none of its 700 models."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import sys
{before}
from ipledger.projections.cluster.live import library
assert library.client().ApiClient and library.client().Configuration
assert library.config().load_kube_config
models = [name for name in sys.modules if name.startswith("kubernetes_asyncio.client.models.")]
print(len(models))
"""


@pytest.mark.parametrize(
    ("before", "has_models"), [("", False), ("import kubernetes_asyncio", True)]
)
def test_the_models_are_loaded_only_by_who_wants_them(before: str, has_models: bool) -> None:
    program = PROGRAM.format(before=before)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert bool(int(done.stdout)) == has_models
