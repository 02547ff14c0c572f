"""A small API server for tests: HTTP, and Kubernetes' semantics for what is used.

`tests/contract/test_kube_api.py` holds it to what a real kube-apiserver does.
"""

from support.apiserver.faults import Call, Fault
from support.apiserver.server import ApiServer

__all__ = ["ApiServer", "Call", "Fault"]
