"""`kubernetes-asyncio` without its models and calls, of which nothing here is used (ADR 101).

The package loads all of them with itself: 0.4 s and 36 MiB in every agent of a cluster. So three
packages are put in place without being run, and only the modules that are used are run. That
takes long even so, and is done when it is needed. The library is hardly typed.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from typing import Any

_PACKAGES = (
    "kubernetes_asyncio",
    "kubernetes_asyncio.client",
    "kubernetes_asyncio.client.models",
)


def client() -> Any:
    """The module `client`, with `Configuration` and `ApiClient` alone."""
    for package in _PACKAGES:
        if package not in sys.modules:
            _put_in_place(package)
    found: Any = sys.modules["kubernetes_asyncio.client"]
    for name, module in (("Configuration", "configuration"), ("ApiClient", "api_client")):
        setattr(found, name, getattr(importlib.import_module(f"{found.__name__}.{module}"), name))
    return found


def config() -> Any:
    """The module `config`, which reads kubeconfigs and service accounts."""
    client()
    return importlib.import_module("kubernetes_asyncio.config")


def _put_in_place(package: str) -> None:
    spec = importlib.util.find_spec(package)
    if spec is None:
        raise ModuleNotFoundError(package)
    sys.modules[package] = importlib.util.module_from_spec(spec)
