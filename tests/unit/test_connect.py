"""Reaching an API server: kubeconfig files, and what is wrong with them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.apiserver import ApiServer
from support.apiserver.server import TOKEN

from ipledger.projections.cluster.kinds import NAMESPACES
from ipledger.projections.cluster.live.api import ApiError, ApiUnreachableError
from ipledger.projections.cluster.live.connect import KubeconfigError, connected

WRONG = {
    "empty": "",
    "no YAML": "{",
    "a list": "[1]",
    "no context": '{"clusters":[],"users":[]}',
    "a context that is not there": '{"current-context":"x","contexts":[],"clusters":[],"users":[]}',
}


@pytest.mark.parametrize("text", WRONG.values(), ids=WRONG)
async def test_a_kubeconfig_that_cannot_be_used_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(text)
    with pytest.raises(KubeconfigError, match=str(path)):
        async with connected(path):
            pass


async def test_a_kubeconfig_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(KubeconfigError, match=r"none: .*No such file"):
        async with connected(tmp_path / "none"):
            pass


async def test_a_certificate_that_is_missing_is_named(tmp_path: Path) -> None:
    server = {"server": "https://127.0.0.1:1", "certificate-authority": str(tmp_path / "ca.crt")}
    config = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": server}],
        "users": [{"name": "u", "user": {"token": "t"}}],
    }
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps(config))
    with pytest.raises(KubeconfigError, match=r"ca\.crt"):
        async with connected(path):
            pass


async def test_outside_a_cluster_there_is_no_service_account(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(KubeconfigError, match="in-cluster configuration"):
        async with connected(None):
            pass


async def test_a_wrong_token_is_told_as_the_server_tells_it(tmp_path: Path) -> None:
    server = ApiServer()
    await server.start()
    async with connected(server.kubeconfig(tmp_path, token="another")) as api:
        with pytest.raises(ApiError, match="401 Unauthorized"):
            await api.get(NAMESPACES, "default")
    await server.stop()


async def test_a_server_that_is_not_there_is_unreachable(tmp_path: Path) -> None:
    server = ApiServer()
    await server.start()
    await server.stop()
    async with connected(server.kubeconfig(tmp_path)) as api:
        with pytest.raises(ApiUnreachableError, match="GET /api/v1/namespaces/default"):
            await api.get(NAMESPACES, "default")


async def test_a_token_from_a_program_is_used(tmp_path: Path) -> None:
    server = ApiServer()
    await server.start()
    credential = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "kind": "ExecCredential",
        "status": {"token": TOKEN},
    }
    program = tmp_path / "credential"
    program.write_text(f"#!/bin/sh\necho '{json.dumps(credential)}'\n")
    program.chmod(0o755)
    path = server.kubeconfig(tmp_path)
    config = json.loads(path.read_text())
    version = "client.authentication.k8s.io/v1"
    config["users"][0]["user"] = {"exec": {"apiVersion": version, "command": str(program)}}
    path.write_text(json.dumps(config))
    async with connected(path) as api:
        assert (await api.get(NAMESPACES, "default")).metadata.name == "default"
    await server.stop()
