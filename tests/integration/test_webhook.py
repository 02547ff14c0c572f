"""The webhook as an API server uses it: reviews over real TLS, answered by a real engine."""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from nats.aio.client import Client as NatsClient
from support.certificates import Authority
from support.engine import running_engine
from support.program import Program
from support.text import command

from ipledger.engine.client import EngineClient
from ipledger.engine.commands import Allocate
from ipledger.engine.metrics.exposition import Exposition
from ipledger.events.embedded import EmbeddedServer
from ipledger.kube.certificates import Certificates
from ipledger.kube.webhook import Webhook

API_VERSION = "spiderpool.spidernet.io/v2beta1"
GROUP, VERSION = API_VERSION.split("/")
A = {"subnet": "10.1.0.0/24", "ips": ["10.1.0.10-10.1.0.19"]}


def resource(kind: str, name: str, spec: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": API_VERSION,
        "kind": kind,
        "metadata": {"name": name, "uid": "1", "resourceVersion": "7", **metadata},
        "spec": spec,
    }


def pool(spec: dict[str, Any], name: str = "a", **metadata: Any) -> dict[str, Any]:
    return resource("SpiderIPPool", name, spec, **metadata)


class Asking:
    """An API server's side of a webhook."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self.session = session
        self.url = url

    async def post(self, body: bytes) -> tuple[int, bytes]:
        async with self.session.post(f"{self.url}/validate", data=body) as response:
            return response.status, await response.read()

    async def __call__(
        self,
        operation: str,
        new: dict[str, Any] | None = None,
        old: dict[str, Any] | None = None,
        **more: Any,
    ) -> dict[str, Any]:
        about = new or old or {}
        request = {
            "uid": "review-1",
            "kind": {"group": GROUP, "version": VERSION, "kind": about["kind"]},
            "operation": operation,
            "name": about["metadata"]["name"],
            "object": new,
            "oldObject": old,
            **more,
        }
        head = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"}
        status, body = await self.post(json.dumps({**head, "request": request}).encode())
        answer = json.loads(body)
        assert status == 200
        assert {key: answer[key] for key in head} == head
        assert answer["response"].pop("uid") == "review-1"
        response: dict[str, Any] = answer["response"]
        return response


@pytest.fixture
def authority() -> Authority:
    return Authority()


@pytest.fixture
def files(authority: Authority, tmp_path: Path) -> tuple[Path, Path]:
    paths = tmp_path / "tls.crt", tmp_path / "tls.key"
    authority.issue(*paths)
    return paths


@pytest_asyncio.fixture
async def asking(
    nc: NatsClient, realm: str, authority: Authority, files: tuple[Path, Path]
) -> AsyncIterator[Asking]:
    """A webhook of the realm, whether or not an engine runs."""
    client = EngineClient(nc, realm, timeout_s=0.5)
    webhook = Webhook(
        client, Certificates(*files), "127.0.0.1", 0, Exposition(realm), body_timeout_s=0.2
    )
    connector = aiohttp.TCPConnector(ssl=authority.trusting(), force_close=True)
    async with webhook.serving(), aiohttp.ClientSession(connector=connector) as session:
        yield Asking(session, f"https://127.0.0.1:{webhook.port}")


@pytest_asyncio.fixture
async def engine(nc: NatsClient, realm: str) -> AsyncIterator[EngineClient]:
    """A running engine with the pool `a`."""
    async with running_engine(nc, realm) as client:
        await client.apply(command("pool a 10.1.0.0/24 ips=10.1.0.10-10.1.0.19"))  # type: ignore[arg-type]
        yield client


async def allocate(engine: EngineClient) -> None:
    asked = command("ADD web-0 v4=a")
    assert isinstance(asked, Allocate)
    await engine.allocate(asked)


async def test_what_the_engine_would_take_is_allowed(asking: Asking, engine: EngineClient) -> None:
    spec = {"subnet": "10.2.0.0/24", "ips": ["10.2.0.10"]}
    assert await asking("CREATE", pool(spec, "b")) == {"allowed": True}
    assert [row.name for row in (await engine.pools()).pools] == ["a"], "a review changed something"


async def test_what_the_engine_would_refuse_is_denied_with_field_and_value(
    asking: Asking, engine: EngineClient
) -> None:
    answer = await asking("CREATE", pool({"subnet": "10.1.0.0/24", "ips": ["10.1.0.12"]}, "b"))
    assert not answer["allowed"]
    assert (answer["status"]["code"], answer["status"]["reason"]) == (409, "PoolOverlap")
    assert answer["status"]["message"].startswith("spec.ips: '10.1.0.12' belongs to pool 'a'")


async def test_an_object_that_cannot_be_read_is_denied_without_an_engine(asking: Asking) -> None:
    answer = await asking("CREATE", pool({"subnet": "10.2.0.0/24", "ips": [7]}))
    assert answer["status"]["code"] == 422
    assert answer["status"]["message"] == "spec.ips[0]: 7 is wrong: expected `str`, got `int`"
    answer = await asking("CREATE", pool({"subnet": "10.2.0.0/24", "gatewy": "10.2.0.1"}))
    assert answer["status"]["message"] == "field spec.gatewy: unknown"


async def test_an_update_that_takes_a_held_address_is_denied(
    asking: Asking, engine: EngineClient
) -> None:
    await allocate(engine)
    changed = pool({**A, "excludeIPs": ["10.1.0.10"]})
    answer = await asking("UPDATE", changed, pool(A))
    assert answer["status"]["reason"] == "AddressInUse"
    assert "pod ns/web-0" in answer["status"]["message"]


async def test_what_a_controller_changes_is_allowed_though_nobody_can_be_asked(
    asking: Asking,
) -> None:
    status = {**pool(A), "status": {"totalIPCount": 10}}
    assert await asking("UPDATE", status, pool(A), subResource="status") == {"allowed": True}
    finalized = pool(A, finalizers=["spiderpool.spidernet.io"], annotations={"mine": "1"})
    assert await asking("UPDATE", finalized, pool(A)) == {"allowed": True}


async def test_an_annotation_that_the_engine_reads_is_a_change(asking: Asking) -> None:
    changed = pool(A, annotations={"ipledger.io/reuse-hold": "soon"})
    answer = await asking("UPDATE", changed, pool(A))
    assert answer["status"]["code"] == 422
    assert "'soon'" in answer["status"]["message"]


async def test_a_change_that_nobody_can_check_is_allowed_with_a_warning(asking: Asking) -> None:
    answer = await asking("CREATE", pool(A))
    assert answer["allowed"]
    assert "stored without being checked: no engine serves realm" in answer["warnings"][0]


async def test_the_deletion_of_a_pool_in_use_is_denied(
    asking: Asking, engine: EngineClient
) -> None:
    await allocate(engine)
    answer = await asking("DELETE", old=pool(A))
    assert (answer["status"]["code"], answer["status"]["reason"]) == (409, "PoolInUse")
    assert "1 addresses in use" in answer["status"]["message"]


async def test_the_deletion_of_a_pool_that_is_free_or_unknown_is_allowed(
    asking: Asking, engine: EngineClient
) -> None:
    assert await asking("DELETE", old=pool(A)) == {"allowed": True}
    assert await asking("DELETE", old=pool(A, "never-heard-of")) == {"allowed": True}


async def test_the_deletion_of_a_subnet_with_pools_is_denied(
    asking: Asking, engine: EngineClient
) -> None:
    await engine.apply(command("subnet s 10.1.0.0/24 ips=10.1.0.1-10.1.0.99"))  # type: ignore[arg-type]
    subnet = resource("SpiderSubnet", "s", {"subnet": "10.1.0.0/24", "ips": []})
    answer = await asking("DELETE", old=subnet)
    assert answer["status"]["reason"] == "SubnetInUse"


@pytest.mark.parametrize("kind", ["SpiderIPPool", "SpiderSubnet"])
async def test_a_deletion_that_nobody_can_check_is_denied(asking: Asking, kind: str) -> None:
    answer = await asking("DELETE", old=resource(kind, "a", A))
    assert not answer["allowed"]
    assert answer["status"]["code"] == 503
    assert f"{kind} 'a' may be in use: no engine" in answer["status"]["message"]


async def test_the_deletion_of_a_reservation_is_allowed_by_anybody(asking: Asking) -> None:
    gone = resource("SpiderReservedIP", "r", {"ips": ["10.1.0.3"]})
    assert await asking("DELETE", old=gone) == {"allowed": True}


async def test_another_kind_is_let_pass_with_a_warning(asking: Asking) -> None:
    answer = await asking("CREATE", {**resource("ConfigMap", "x", {})})
    assert answer["allowed"]
    assert "'ConfigMap'" in answer["warnings"][0]


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"\xff\xfe", b'{"apiVersion":"v1","kind":"Pod","request":{}}', b"[" * 99999],
)
async def test_garbage_gets_a_400(asking: Asking, body: bytes) -> None:
    assert (await asking.post(body))[0] == 400


async def test_a_review_of_another_version_gets_a_400_that_names_it(asking: Asking) -> None:
    request = {"uid": "1", "kind": {"kind": "SpiderIPPool"}, "operation": "CREATE"}
    review = {"apiVersion": "admission.k8s.io/v1beta1", "kind": "AdmissionReview"}
    status, text = await asking.post(json.dumps({**review, "request": request}).encode())
    assert status == 400
    assert b"admission.k8s.io/v1beta1" in text


async def test_a_body_that_is_too_large_is_not_taken(asking: Asking) -> None:
    async def much() -> AsyncIterator[bytes]:
        for _ in range(9):
            yield b" " * (1024 * 1024)

    async with asking.session.post(f"{asking.url}/validate", data=much()) as response:
        assert response.status == 413


async def test_a_body_that_does_not_come_is_not_waited_for(asking: Asking) -> None:
    never = asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        yield b"{"
        await never.wait()

    async with asking.session.post(f"{asking.url}/validate", data=slowly()) as response:
        assert response.status == 408


async def serial_of(asking: Asking, authority: Authority) -> int:
    port = int(asking.url.rpartition(":")[2])
    context = authority.trusting()
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    seen = writer.get_extra_info("peercert")
    writer.close()
    await writer.wait_closed()
    return int(seen["serialNumber"], 16)


async def test_a_renewed_certificate_is_used_at_once(
    asking: Asking, authority: Authority, files: tuple[Path, Path]
) -> None:
    before = await serial_of(asking, authority)
    renewed = authority.issue(*files)
    assert renewed != before
    assert await serial_of(asking, authority) == renewed


async def test_a_certificate_without_its_key_is_not_used(
    asking: Asking, authority: Authority, files: tuple[Path, Path], tmp_path: Path
) -> None:
    before = await serial_of(asking, authority)
    other_key = tmp_path / "other.key"
    renewed = authority.issue(files[0], other_key)
    assert await serial_of(asking, authority) == before
    other_key.replace(files[1])
    assert await serial_of(asking, authority) == renewed
    files[0].unlink()
    assert await serial_of(asking, authority) == renewed


async def test_a_client_of_tls_1_1_is_turned_away(asking: Asking, authority: Authority) -> None:
    context = authority.trusting()
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        context.minimum_version = ssl.TLSVersion.TLSv1
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    port = int(asking.url.rpartition(":")[2])
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await asyncio.open_connection("127.0.0.1", port, ssl=context)


async def test_the_program_says_that_it_is_ready_and_stops_cleanly(
    nats_server: EmbeddedServer,
    realm: str,
    authority: Authority,
    files: tuple[Path, Path],
    tmp_path: Path,
) -> None:
    words = ["webhook", "--cert", str(files[0]), "--key", str(files[1]), "--port", "0"]
    words += ["--host", "127.0.0.1", "--nats", nats_server.url, "--realm", realm]
    program = Program("webhook", [sys.executable, "-m", "ipledger.cli", *words], tmp_path)
    program.launch()
    ready = await asyncio.to_thread(program.line, r"^ready webhook=(\S+)/validate nats=(\S+)$")
    connector = aiohttp.TCPConnector(ssl=authority.trusting())
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.get(f"{ready[1]}/healthz") as response,
    ):
        assert (response.status, await response.text()) == (200, "ok\n")
    assert await asyncio.to_thread(program.stop) == 0
