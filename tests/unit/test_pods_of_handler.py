"""An ADD goes by way of the view of its cluster before the engine hears of it."""

from __future__ import annotations

from typing import cast

import msgspec
import pytest
from multidict import CIMultiDict

from ipledger.cni.errors import CniError, Code
from ipledger.cni.handler import CniHandler
from ipledger.cni.inputs import PodInputs
from ipledger.cni.outbox import Outbox
from ipledger.cni.request import CniRequest, parse
from ipledger.engine.answers import Allocated, Released
from ipledger.engine.client import EngineClient, RefusedError
from ipledger.engine.commands import Allocate, Release, Steps
from ipledger.engine.refusals import Reason, Refusal

FULL = Refusal(Reason.POOL_EXHAUSTED, "no address left")


class Engine(EngineClient):
    """An engine that has no address, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Allocate] = []
        self.released: list[Release] = []

    async def allocate(self, command: Allocate, timeout_s: float | None = None) -> Allocated:
        self.asked.append(command)
        raise RefusedError(FULL)

    async def release(self, command: Release, timeout_s: float | None = None) -> Released:
        self.released.append(command)
        return Released("1.0")


class View:
    """A cluster that knows a label of every pod, or refuses all."""

    def __init__(self, error: CniError | None = None, *, ended: bool = False) -> None:
        self.error = error
        self.ended = ended

    async def has_ended(self, request: CniRequest) -> bool:
        return self.ended

    async def completed(self, request: CniRequest) -> CniRequest:
        if self.error is not None:
            raise self.error
        return msgspec.structs.replace(request, inputs=PodInputs(labels={"app": "web"}))


def call(command: str) -> CniRequest:
    headers = {
        "Cni-Command": command,
        "Cni-Containerid": "sandbox",
        "Cni-Netns": "/x",
        "Cni-Ifname": "eth0",
        "Cni-Args": "K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-0;K8S_POD_UID=u1",
    }
    return parse(CIMultiDict(headers), b'{"cniVersion":"1.0.0","name":"net"}')


def handler(engine: Engine, view: View | None) -> CniHandler:
    return CniHandler(engine, cast("Outbox", None), "n1", 1.0, view)


async def refused(handler: CniHandler) -> int:
    with pytest.raises(CniError) as caught:
        await handler.handle(call("ADD"), Steps())
    return caught.value.code


async def test_the_engine_is_told_what_the_cluster_knows() -> None:
    engine = Engine()
    await refused(handler(engine, View()))
    assert [command.labels for command in engine.asked] == [{"app": "web"}]


async def test_without_a_cluster_the_configuration_says_all() -> None:
    engine = Engine()
    await refused(handler(engine, None))
    assert [command.labels for command in engine.asked] == [{}]


async def test_the_engine_hears_nothing_of_what_the_cluster_refuses() -> None:
    engine = Engine()
    dead = handler(engine, View(CniError(Code.POD_NOT_ALIVE, "it was evicted")))
    assert await refused(dead) == Code.POD_NOT_ALIVE
    assert engine.asked == []
    await dead.handle(call("DEL"), Steps())
    assert [release.fence for release in engine.released] == [False]  # no ADD is on its way


@pytest.mark.parametrize(("ended", "named"), [(True, "u1"), (False, "")])
async def test_a_del_names_its_pod_only_where_the_cluster_says_that_it_is_over(
    ended: bool, named: str
) -> None:
    engine = Engine()
    await handler(engine, View(ended=ended)).handle(call("DEL"), Steps())
    assert [release.ended_pod for release in engine.released] == [named]


async def test_a_del_without_a_view_of_the_cluster_names_no_pod() -> None:
    engine = Engine()
    await handler(engine, None).handle(call("DEL"), Steps())
    assert [release.ended_pod for release in engine.released] == [""]
