"""The double of the API server in tests/ keeps the contract that the real one keeps here.

IPLEDGER_E2E_KUBECONFIG and IPLEDGER_E2E_ETCD tell the contract's tests of the real one.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CONTRACT = Path(__file__).parents[1] / "contract/test_kube_api.py"


@pytest.mark.usefixtures("cluster")
def test_the_real_api_server_keeps_the_contract_of_its_double() -> None:
    if not CONTRACT.exists():
        pytest.skip("there is no double of the API server yet")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", str(CONTRACT)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
