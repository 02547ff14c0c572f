"""Spans, as a real receiver of OTLP gets them from real processes."""

from __future__ import annotations

import json
import os
import signal
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from support.certificates import Authority
from support.kube import POOLS, ServerThread, make, server_thread
from support.node import IPLEDGER, Node
from support.otlp import Received, Receiver, receiving, receiving_grpc
from support.program import Program, until
from support.replicas import Replicas, replicas

from ipledger.events.embedded import EmbeddedServer
from ipledger.events.facts import PoolSpec
from ipledger.events.traceparent import is_sampled

POOL = PoolSpec("pool", 0, "10.6.0.0/16", ips=("10.6.0.1-10.6.250.250",), default=True)
POD = "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-1;K8S_POD_UID=u1"
RUNTIME = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def export_to(monkeypatch: pytest.MonkeyPatch, receiver: Receiver) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    """A receiver that every process started in the test exports to."""
    with receiving() as receiver:
        export_to(monkeypatch, receiver)
        yield receiver


@pytest.fixture
def traced(receiver: Receiver, node: Node) -> Node:
    """A node whose spans come to the receiver."""
    node.apply(POOL)
    return node


def test_an_add_is_one_trace_from_shim_to_commit(traced: Node, receiver: Receiver) -> None:
    assert traced.cni("ADD", "s1", CNI_ARGS=POD).code == 0

    cni = receiver.one("cni.add")
    shim = receiver.one("cni.shim")
    allocate = receiver.linked("ipledger.allocate")
    sent = receiver.by_id(allocate.parent)
    commit = receiver.by_id(allocate.links[0])
    stored = receiver.child(commit)

    assert cni.parent == ""
    assert (shim.parent, sent.parent, allocate.parent) == (cni.id, cni.id, sent.id)
    assert {span.trace for span in (cni, shim, sent, allocate)} == {cni.trace}
    assert (commit.name, commit.parent, commit.links) == ("commit", "", (allocate.id,))
    assert commit.trace == stored.trace != cni.trace
    assert stored.name == "send IPLEDGER_default"
    assert [span.kind for span in (cni, sent, allocate, commit, stored)] == [
        *("server", "client", "server", "internal", "producer")
    ]
    assert not any(span.failed for span in (cni, shim, allocate, commit, stored))
    assert cni.started == shim.started <= shim.ended <= sent.started <= allocate.started
    assert allocate.started <= commit.started <= stored.started <= stored.ended <= commit.ended
    assert commit.ended <= allocate.ended <= sent.ended <= cni.ended
    assert allocate.events == ("decided",)
    (row,) = traced.allocations()
    assert cni.attributes == {
        "k8s.namespace.name": "shop",
        "k8s.pod.name": "web-1",
        "k8s.pod.uid": "u1",
        "container.id": "s1",
        "ipledger.interface": "eth0",
        "ipledger.position": row.position,
        "ipledger.allocation": row.id,
        "ipledger.addresses": row.addresses[0].address,
    }
    assert commit.attributes["ipledger.sequence"] == int(row.position.partition(".")[0])
    assert cni.resource["service.name"] == "ipledger"
    assert cni.resource["service.instance.id"] == "node-1"


def test_the_context_is_in_the_event_and_trace_tells_its_id(
    traced: Node, receiver: Receiver
) -> None:
    assert traced.cni("ADD", "s1", CNI_ARGS=POD).code == 0
    cni = receiver.one("cni.add")
    shown = json.loads(traced.ipledger("trace", "shop/web-1", "-o", "json").stdout)
    (stored,) = (one["traceparent"] for one in shown)
    assert stored.startswith(f"00-{cni.trace}-{cni.id}-")
    assert is_sampled(stored)


def test_the_runtimes_context_is_the_parent_of_all(traced: Node, receiver: Receiver) -> None:
    assert traced.cni("ADD", "s1", TRACEPARENT=RUNTIME).code == 0
    cni, allocate = receiver.one("cni.add"), receiver.linked("ipledger.allocate")
    _, trace, span, _ = RUNTIME.split("-")
    assert (cni.trace, cni.parent) == (trace, span)
    assert allocate.trace == trace


def test_a_runtime_that_keeps_no_spans_is_followed(traced: Node, receiver: Receiver) -> None:
    assert traced.cni("ADD", "s1", TRACEPARENT=RUNTIME[:-1] + "0").code == 0
    assert traced.cni("ADD", "s2").code == 0
    assert receiver.one("cni.add").attributes["container.id"] == "s2"
    allocate = receiver.linked("ipledger.allocate")
    assert receiver.by_id(allocate.links[0]).links == (allocate.id,)


def test_a_del_is_a_trace_of_its_own(traced: Node, receiver: Receiver) -> None:
    assert traced.cni("ADD", "s1").code == 0
    added = receiver.linked("ipledger.allocate")
    assert traced.cni("DEL", "s1").code == 0

    cni, release = receiver.one("cni.del"), receiver.linked("ipledger.release")
    assert receiver.by_id(release.parent).parent == cni.id
    commit = receiver.by_id(release.links[0])
    assert commit.links == (release.id,)
    assert cni.trace != added.trace
    assert cni.attributes["ipledger.allocation"] == "a1"


def test_a_refused_add_says_why(traced: Node, receiver: Receiver) -> None:
    config = traced.config(default_ipv4_ippool=["nowhere"])
    assert traced.cni("ADD", "s1", config).code == 1
    cni = receiver.one("cni.add")
    assert cni.failed == "default_ipv4_ippool names pool 'nowhere', which does not exist"
    assert cni.attributes["ipledger.reason"] == "PoolUnknown"
    assert receiver.linked("ipledger.allocate").attributes["ipledger.reason"] == "PoolUnknown"


def test_a_commit_of_many_requests_is_linked_with_each(traced: Node, receiver: Receiver) -> None:
    with ThreadPoolExecutor(16) as pool:
        asked = [pool.submit(traced.cni, "ADD", f"s{n}") for n in range(64)]
        outcomes = [one.result() for one in asked]
    assert [outcome.code for outcome in outcomes] == [0] * 64

    def linked() -> dict[str, Received]:
        return {span.id: span for span in receiver.named("ipledger.allocate") if span.links}

    until(lambda: len(linked()) == 64, 30)
    allocates = linked()
    commits = {receiver.by_id(span.links[0]).id for span in allocates.values()}
    found = [receiver.by_id(commit) for commit in commits]
    assert sorted(link for commit in found for link in commit.links) == sorted(allocates)
    assert all(allocates[link].links == (c.id,) for c in found for link in c.links)
    assert max(len(commit.links) for commit in found) > 1, "16 at once share commits"


def test_an_auditors_spans_are_linked_with_the_commits(
    traced: Node, receiver: Receiver, tmp_path: Path
) -> None:
    env = {**os.environ, **traced.identity()}
    auditor = Program("auditor", _auditor(traced, tmp_path), tmp_path, env)
    auditor.launch()
    try:
        auditor.line("^ready history")
        assert traced.cni("ADD", "s1").code == 0
        written = receiver.one("history.write")
    finally:
        auditor.stop()
    assert written.kind == "consumer"
    assert written.resource["service.name"] == "ipledger-auditor"
    stored = receiver.by_id(written.links[0])
    assert stored.name == "send IPLEDGER_default"
    assert receiver.by_id(stored.parent).name == "commit"


def _auditor(node: Node, folder: Path) -> list[str]:
    history = str(folder / "history.db")
    return [IPLEDGER, "auditor", "--nats", node.nats_url, "--history", history, "--http", "0"]


@pytest.fixture
def realm_of_two(
    receiver: Receiver, nats_server: EmbeddedServer, tmp_path: Path, shim: Path, realm: str
) -> Iterator[Replicas]:
    """Two engines and an agent, with a pool, that export their spans."""
    with replicas(tmp_path, nats_server.url, realm, shim) as made:
        made.start(engines=2, agents=1)
        made.apply(POOL)
        yield made


def test_an_add_that_lives_through_a_failover_is_one_trace(
    realm_of_two: Replicas, receiver: Receiver
) -> None:
    realm, agent = realm_of_two, realm_of_two.agents[0]
    leader = realm.leader()
    (other,) = [engine for engine in realm.engines if engine is not leader]
    leader.send(signal.SIGSTOP)  # what is sent now is on its way for good
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(agent.cni, "ADD", f"s{n}") for n in range(8)]
        until(lambda: [s for s in receiver.named("send allocate") if s.failed], 30)
        leader.kill()
        assert [one.result().code for one in asked] == [0] * 8
    assert realm.leader() is other

    until(lambda: len(receiver.named("cni.add")) == 8, 30)
    for cni in receiver.named("cni.add"):
        attempts = [span for span in receiver.named("send allocate") if span.parent == cni.id]
        attempts.sort(key=lambda span: span.started)
        assert len(attempts) > 1, "the first one met an engine that did not answer"
        assert [bool(span.failed) for span in attempts] == [True] * (len(attempts) - 1) + [False]
        allocate = receiver.child(attempts[-1])
        assert allocate.resource["service.instance.id"] == other.name
        assert {span.trace for span in (*attempts, allocate)} == {cni.trace}
        commit = receiver.by_id(allocate.links[0])
        assert allocate.id in commit.links
        assert commit.resource["service.instance.id"] == other.name
        assert commit.attributes["ipledger.epoch"] == 2


def _pod(api: ServerThread, name: str) -> dict[str, Any]:
    body = {"metadata": {"name": name}, "spec": {"nodeName": "node-1"}}
    return api.do(lambda server: server.create("v1", "pods", body, "shop"))


def test_what_the_collector_frees_is_a_trace(
    receiver: Receiver, tmp_path: Path, shim: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IPLEDGER_GC_MIN_AGE", "0")
    with server_thread() as api:
        api.do(lambda server: server.create("v1", "nodes", {"metadata": {"name": "node-1"}}))
        made = _pod(api, "web-1")
        _pod(api, "web-2")
        node = Node(tmp_path, shim, kubeconfig=api.server.kubeconfig(tmp_path))
        node.start()
        node.apply(POOL)
        args = POD.replace("u1", made["metadata"]["uid"])
        assert node.cni("ADD", "s1", CNI_ARGS=args).code == 0
        api.do(lambda server: server.delete("pods", "web-1", "shop"))
        freed = receiver.one("gc.free")
        look = receiver.by_id(freed.parent)
        sent = receiver.child(freed)
        release = receiver.child(sent)
        commit = receiver.by_id(release.links[0])
        shown = json.loads(node.ipledger("trace", "shop/web-1", "-o", "json").stdout)
        assert node.stop() == 0
    assert look.name in ("gc.look", "gc.compare")
    assert (sent.name, release.name) == ("send release", "ipledger.release")
    assert {span.trace for span in (look, freed, sent, release)} == {look.trace}
    assert commit.links == (release.id,)
    assert freed.attributes["ipledger.allocation"] == "a1"
    assert [(one["reason"], one["traceId"]) for one in shown][1:] == [("gc", look.trace)]
    assert receiver.one("cni.pod").parent == receiver.one("cni.add").id


def test_what_the_controller_does_for_an_object_is_a_trace_to_the_commit_and_its_fold(
    receiver: Receiver, tmp_path: Path, shim: Path
) -> None:
    with server_thread() as api:
        node = Node(tmp_path, shim, kubeconfig=api.server.kubeconfig(tmp_path))
        node.start()
        spec = {"subnet": "10.6.0.0/24", "ips": ["10.6.0.7"]}
        api.do(lambda server: make(server, POOLS, "blue", **spec))
        applied = receiver.linked("ipledger.apply-pool")
        sent = receiver.by_id(applied.parent)
        work = receiver.by_id(sent.parent)
        stored = receiver.child(receiver.by_id(applied.links[0]))
        folded = until(lambda: [s for s in receiver.named("log.fold") if stored.id in s.links], 30)
        api.do(lambda server: server.delete(POOLS, "blue"))
        deleted = receiver.linked("ipledger.delete-pool")
        asked_by = receiver.by_id(receiver.by_id(deleted.parent).parent)
        assert node.stop() == 0
    assert (work.name, work.parent, sent.name) == ("controller.work", "", "send apply-pool")
    assert work.attributes == {"ipledger.kind": "SpiderIPPool", "ipledger.name": "blue"}
    assert {span.trace for span in (work, sent, applied)} == {work.trace}
    assert [span.kind for span in folded] == ["consumer"]
    assert folded[0].attributes["ipledger.sequence"] == int(
        str(applied.attributes["ipledger.position"]).partition(".")[0]
    )
    assert (asked_by.name, asked_by.attributes) == (work.name, work.attributes)


def test_a_review_is_a_part_of_the_api_servers_trace(
    receiver: Receiver, node: Node, tmp_path: Path
) -> None:
    authority = Authority()
    authority.issue(tmp_path / "tls.crt", tmp_path / "tls.key")
    command = [IPLEDGER, "webhook", "--nats", node.nats_url, "--host", "127.0.0.1", "--port", "0"]
    command += ["--cert", str(tmp_path / "tls.crt"), "--key", str(tmp_path / "tls.key")]
    webhook = Program("webhook", command, tmp_path, {**os.environ, **node.identity()})
    webhook.launch()
    try:
        url = webhook.line(r"^ready webhook=(\S+)")[1]
        asked = urllib.request.Request(url, b"no review", {"Traceparent": RUNTIME})
        with pytest.raises(urllib.error.HTTPError, match="400"):
            urllib.request.urlopen(asked, timeout=10, context=authority.trusting())
        review = receiver.one("webhook.review")
    finally:
        webhook.stop()
    _, trace, span, _ = RUNTIME.split("-")
    assert (review.trace, review.parent, review.kind) == (trace, span, "server")
    assert review.failed.startswith("BadReviewError: ")
    assert review.resource["service.name"] == "ipledger-webhook"


@pytest.mark.parametrize("status", [503, None], ids=["failing", "hanging"])
def test_a_receiver_that_is_of_no_use_harms_nothing(
    receiver: Receiver, node: Node, status: int | None
) -> None:
    receiver.answer = lambda: status
    node.apply(POOL)
    until(lambda: receiver.asked, 30)
    outcomes = [node.cni("ADD", f"s{n}") for n in range(20)]
    assert [outcome.code for outcome in outcomes] == [0] * 20
    assert node.stop() == 0, "its last spans are waited for no longer than is said"


def test_the_last_spans_are_sent_when_a_process_is_stopped(
    receiver: Receiver, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.stop()
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "600000")
    node.start()
    node.apply(POOL)
    assert node.cni("ADD", "s1").code == 0
    assert receiver.named("cni.add") == []
    assert node.stop() == 0
    assert len(receiver.named("cni.add")) == 1


def test_spans_go_by_grpc_too(tmp_path: Path, shim: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with receiving_grpc() as receiver:
        export_to(monkeypatch, receiver)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
        monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.name=told,deployment=lab")
        node = Node(tmp_path, shim)
        node.start()
        node.apply(POOL)
        assert node.cni("ADD", "s1").code == 0
        cni = receiver.one("cni.add")
        assert node.stop() == 0
    assert cni.resource["service.name"] == "told"
    assert cni.resource["deployment"] == "lab"


def test_commits_of_sampled_requests_are_kept(
    receiver: Receiver, tmp_path: Path, shim: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0")
    node = Node(tmp_path, shim)
    node.start()
    node.apply(POOL)
    assert node.cni("ADD", "s1").code == 0
    assert node.cni("ADD", "s2", TRACEPARENT=RUNTIME).code == 0
    commit = receiver.one("commit")
    assert node.stop() == 0
    assert [span.attributes["container.id"] for span in receiver.named("cni.add")] == ["s2"]
    assert receiver.linked("ipledger.allocate").links == (commit.id,)
