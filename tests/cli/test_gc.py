"""`ipledger gc` against a real engine and the API server double, as a transcript."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from support.apiserver import ApiServer
from support.desk import SECOND
from support.terminal import MANIFESTS, Cli, Clock
from support.transcripts import check

from ipledger.engine.client import EngineClient
from ipledger.engine.commands import Allocate
from ipledger.events.clock import parse_time
from ipledger.events.facts import Pod
from ipledger.events.wall_clock import wall_clock
from ipledger.kube.manifest import Manifest, parse


@pytest.fixture
def clock() -> Clock:
    """The collector's clock is the wall's, so that the engine's must be long ago."""
    return Clock(parse_time("2024-11-22T21:00:00Z"))


@pytest_asyncio.fixture
async def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ApiServer]:
    server = ApiServer()
    await server.start()
    monkeypatch.setenv("KUBECONFIG", str(server.kubeconfig(tmp_path)))
    yield server
    await server.stop()


def uid(number: int) -> str:
    return f"0b1c2d3e-0000-4000-8000-00000000000{number}"


async def test_gc_prints_what_was_recorded(
    cli: Cli, engine: EngineClient, server: ApiServer
) -> None:
    """One pod that is there, two that are gone, and a container of another runtime."""
    for manifest in parse((MANIFESTS / "pools.yaml").read_text(), "pools.yaml"):
        assert isinstance(manifest, Manifest)
        await engine.apply(manifest.command)
    live = server.create("v1", "pods", {"metadata": {"name": "live"}}, "default")
    pods = [
        Pod("default", "live", live["metadata"]["uid"]),
        Pod("shop", "web-1", uid(1)),
        Pod("shop", "web-2", uid(2)),
        Pod("", "container-3", "container-3"),
    ]
    for number, pod in enumerate(pods):
        command = Allocate(pod=pod, sandbox=f"s{number}", interface="eth0", node="worker-1")
        await engine.allocate(command)
    await check(cli, "gc")

    told = (await cli("describe", "allocation", "a2")).stdout
    [ended] = [line for line in told.splitlines() if line.startswith("Ended")]
    found = re.fullmatch(
        "Ended +freed by gc: gone: no pod shop/web-1, confirmed at (?P<time>[-0-9T:.]+Z)", ended
    )
    assert found, ended
    assert abs(parse_time(found["time"]) - wall_clock()) < 600 * SECOND
