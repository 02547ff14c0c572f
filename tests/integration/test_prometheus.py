"""Debian's Prometheus scrapes every role of a realm that works, and answers what dashboards ask.

One realm for all: two engines, an agent, the controller on an API server double, the webhook and
the auditor, each a process of its own. Spiderpool's case K00001.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import sqlite3
import ssl
import subprocess
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import nats
import pytest
import yaml
from nats.aio.client import Client as NatsClient
from prometheus_client.parser import text_string_to_metric_families
from support.apiserver import ApiServer, Fault
from support.apiserver.errors import StatusError
from support.certificates import Authority
from support.dashboard import ROWS
from support.kube import POOLS, RESERVATIONS, ServerThread, make, server_thread, workload
from support.moved import moved, seen_moving, series
from support.node import IPLEDGER
from support.program import Program, until
from support.proxy import proxy_to
from support.replicas import AgentProgram, Replicas, replicas

from ipledger.engine.client import EngineClient, EngineUnavailableError, RefusedError
from ipledger.engine.commands import Allocate, ApplyPool, ApplySubnet, Release
from ipledger.engine.metrics import table
from ipledger.engine.metrics.exposition import Exposition
from ipledger.engine.metrics.table import TABLE
from ipledger.engine.waiting import NODE_MAX
from ipledger.events.commit import decode
from ipledger.events.embedded import EmbeddedServer
from ipledger.events.facts import Pod, PoolSpec, SubnetSpec
from ipledger.events.jetstream import JetStreamLog, stream_config

REALM = "metrics"
WAIT_S = 30.0
RULES = Path(__file__).parents[2] / "deploy/chart/ipledger/monitoring/rules.yaml"
PODS, RELEASED, MORE = 300, 40, 20
ZOMBIE = "3f1c8f52-9f3b-4a5f-9f11-000000000001"
LAB = SubnetSpec("lab", 0, "10.8.0.0/16", ips=("10.8.0.1-10.8.99.0",))
LARGE = PoolSpec("large", 0, "10.8.0.0/16", ips=("10.8.0.1-10.8.10.0",), default=True)
SMALL = PoolSpec("small", 0, "10.9.0.0/24", ips=("10.9.0.1-10.9.0.2",))


@dataclass
class Monitored:
    """A realm, its processes' URLs by role, and a Prometheus that scrapes them."""

    realm: Replicas
    api: ServerThread
    urls: dict[str, str]
    url: str
    history: Path
    insecure: ssl.SSLContext

    def text(self, role: str) -> str:
        """What a role answers at /metrics."""
        url = f"{self.urls[role]}/metrics"
        context = self.insecure if url.startswith("https") else None
        with urllib.request.urlopen(url, timeout=10, context=context) as answer:
            text: str = answer.read().decode()
        return text

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The result of an instant query."""
        with urllib.request.urlopen(
            f"{self.url}/api/v1/query?{urllib.parse.urlencode({'query': expression})}", timeout=10
        ) as answer:
            found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        return found

    def value(self, expression: str) -> float:
        """The one value of a query; NaN while there is none."""
        found = self.query(expression)
        return float(found[0]["value"][1]) if len(found) == 1 else math.nan


def cluster(server: ApiServer) -> None:
    """A node with a pod, a pool, and an application that wants one of its own."""
    server.create("v1", "nodes", {"metadata": {"name": "node-1"}})
    pod = {"metadata": {"name": "other"}, "spec": {"nodeName": "node-1"}}
    server.create("v1", "pods", pod, "shop")
    make(server, POOLS, "more", subnet="10.8.0.0/16", ips=["10.8.20.1-10.8.20.9"])
    make(server, RESERVATIONS, "router", ips=["10.8.0.1"])
    workload(server, "deployments", "web", 2, subnet='{"ipv4":["lab"]}')


async def allocate(client: EngineClient, number: int, *pools: str, uid: str = "") -> bool:
    """Whether a pod gets an address."""
    pod = Pod("shop", f"web-{number}", uid or f"uid-{number}")
    command = Allocate(
        pod=pod, sandbox=f"s{number}", interface="eth0", node="node-1", default_ipv4_pools=pools
    )
    try:
        await client.allocate(command)
    except RefusedError:
        return False
    return True


async def load_more(client: EngineClient) -> None:
    """More pods come, now that everybody looks."""
    await asyncio.gather(*(allocate(client, 3000 + n) for n in range(MORE)))


async def load(client: EngineClient) -> None:
    """Pods come, some go, some get nothing; one is a zombie."""
    await client.apply(ApplySubnet(subnet=LAB))
    for pool in (LARGE, SMALL):
        await client.apply(ApplyPool(pool=pool))

    for start in range(0, PODS, 50):
        await asyncio.gather(*(allocate(client, n) for n in range(start, start + 50)))
    await asyncio.gather(
        *(
            client.release(Release(sandbox=f"s{n}", interface="eth0", node="node-1"))
            for n in range(RELEASED)
        )
    )
    answers = [await allocate(client, 1000 + n, "small") for n in range(4)]
    assert answers == [True, True, False, False]
    assert await allocate(client, 2000, uid=ZOMBIE)


def review(url: str, insecure: ssl.SSLContext, name: str, ips: str) -> None:
    """Ask the webhook about a pool that is to be created."""
    request = {
        "uid": "1",
        "kind": {"group": "spiderpool.spidernet.io", "version": "v2beta1", "kind": "SpiderIPPool"},
        "operation": "CREATE",
        "name": name,
        "object": {
            "apiVersion": "spiderpool.spidernet.io/v2beta1",
            "kind": "SpiderIPPool",
            "metadata": {"name": name, "uid": "1"},
            "spec": {"subnet": "10.7.0.0/24", "ips": [ips]},
        },
    }
    body = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}
    asked = urllib.request.Request(f"{url}/validate", json.dumps(body).encode())
    urllib.request.urlopen(asked, timeout=10, context=insecure).close()


def configuration(urls: dict[str, str], rules: Path) -> str:
    """Prometheus' own configuration."""
    jobs = [
        {
            "job_name": f"ipledger-{role}",
            "scheme": url.partition(":")[0],
            "tls_config": {"insecure_skip_verify": True},
            "static_configs": [{"targets": [url.partition("://")[2]]}],
        }
        for role, url in urls.items()
    ]
    timing = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    return yaml.safe_dump({"global": timing, "rule_files": [str(rules)], "scrape_configs": jobs})


@pytest.fixture(scope="module")
def monitored(
    nats_server: EmbeddedServer, shim: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Monitored]:
    root = tmp_path_factory.mktemp("monitored")
    programs: list[Program] = []

    def start(name: str, ready: str, *words: str) -> str:
        connection = ["--nats", nats_server.url, "--realm", REALM]
        program = Program(name, [IPLEDGER, name, *words, *connection], root)
        programs.append(program)
        program.launch()
        return program.line(ready)[1]

    with server_thread() as api, replicas(root, nats_server.url, REALM, shim) as realm:
        kubeconfig = str(api.server.kubeconfig(root))
        api.do(cluster)
        try:
            for _ in range(2):
                engine = realm.add_engine()
                engine.command = [*engine.command, "--forecast-window", "60"]
                engine.command = [*engine.command, "--checkpoint-every", "5"]
                engine.launch()
            agent: AgentProgram = realm.add_agent()
            agent.program.command = [*agent.program.command, "--kubeconfig", kubeconfig]
            agent.program.launch()
            urls = {"engine": realm.leader().wait_ready()}
            (standby,) = [e for e in realm.engines if e.wait_ready() != urls["engine"]]
            urls["standby"] = standby.wait_ready()
            urls["agent"] = agent.program.line(r"^ready socket=\S+ nats=\S+ http=(\S+)$")[1]
            realm.ask(load)
            assert agent.cni("ADD", "by-shim").code == 0
            assert agent.cni("DEL", "by-shim").code == 0
            urls["controller"] = start(
                "controller", r"http=(\S+)$", "--http", "0", "--kubeconfig", kubeconfig,
                "--min-age", "0",
            )  # fmt: skip
            authority = Authority()
            authority.issue(root / "tls.crt", root / "tls.key")
            urls["webhook"] = start(
                "webhook", r"^ready webhook=(\S+)/validate", "--host", "127.0.0.1", "--port", "0",
                "--cert", str(root / "tls.crt"), "--key", str(root / "tls.key"),
            )  # fmt: skip
            history = root / "h.db"
            urls["auditor"] = start(
                "auditor", r"http=(\S+)$", "--http", "0", "--history", str(history)
            )
            insecure = authority.trusting()
            review(urls["webhook"], insecure, "fine", "10.7.0.1")
            review(urls["webhook"], insecure, "wrong", "10.6.0.1")
            (root / "prometheus.yaml").write_text(configuration(urls, RULES))
            prometheus = Program(
                "prometheus",
                [
                    "/usr/bin/prometheus",
                    f"--config.file={root / 'prometheus.yaml'}",
                    f"--storage.tsdb.path={root / 'tsdb'}",
                    "--web.listen-address=127.0.0.1:0",
                    "--log.level=info",
                ],
                root,
            )
            programs.append(prometheus)
            prometheus.launch()
            url = "http://" + prometheus.line(r"msg=\"Listening on\" address=(\S+)")[1]
            prometheus.line("Server is ready to receive web requests")
            realm.ask(load_more)
            made = Monitored(realm, api, urls, url, history, insecure)
            yield made
        finally:
            for program in programs:
                if program.runs:
                    program.kill()


def test_prometheus_scrapes_every_role(monitored: Monitored) -> None:
    roles = {f"ipledger-{role}" for role in monitored.urls}
    until(lambda: {r["metric"]["job"] for r in monitored.query("up == 1")} == roles, WAIT_S)


def test_promtool_has_nothing_to_say_against_any_text(monitored: Monitored) -> None:
    for role in monitored.urls:
        text = monitored.text(role)
        done = subprocess.run(
            ["promtool", "check", "metrics"],
            input=text,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stdout + done.stderr) == (0, ""), role


def families(text: str) -> set[str]:
    """The names of the metrics of which a text has samples."""
    found = [f for f in text_string_to_metric_families(text) if f.samples]
    names = {f"{f.name}_total" if f.type == "counter" else f.name for f in found}
    return {name for name in names if not name.startswith("process_")}


def _has(monitored: Monitored, role: str, expected: set[str]) -> bool:
    return families(monitored.text(role)) == expected


def test_each_role_has_the_metrics_that_the_table_says(monitored: Monitored) -> None:
    until(lambda: monitored.value("count(ipledger_gc_allocations)") > 0, WAIT_S)
    for role in monitored.urls:
        asked = "engine" if role == "standby" else role
        expected = {spec.name for spec in TABLE if asked in spec.roles}
        until(partial(_has, monitored, role, expected), WAIT_S)


def test_every_metric_moves(monitored: Monitored) -> None:
    """Here, or in a test that says so by `moved`: of which nobody says it, it moves here."""
    moving = [series(spec) for spec in TABLE if spec.name not in seen_moving()]

    def still() -> set[str]:
        return {name for name in moving if not monitored.value(f"max({name})") > 0}

    with contextlib.suppress(AssertionError):  # the next line says more
        until(lambda: not still(), WAIT_S)
    assert not still()


async def counted(client: EngineClient) -> Counter[str]:
    """The events of the log, by type."""
    assert isinstance(client.bus, NatsClient)
    log = JetStreamLog.of(client.bus, REALM)
    found: Counter[str] = Counter()
    async for entry in log.read(0):
        found.update(type(event).__name__ for event in decode(entry.payload).events)
    return found


def history(monitored: Monitored) -> dict[str, int]:
    """The events of the history by type, and how often it has an address with a holder."""
    held = "SELECT count(*), count(to_position) FROM intervals"
    with contextlib.closing(sqlite3.connect(f"file:{monitored.history}?mode=ro", uri=True)) as db:
        ((began, ended),) = db.execute(held)
        rows = dict(db.execute("SELECT type, count(*) FROM events GROUP BY type"))
        return {**rows, "holders": began, "holders that were": ended}


def differences(monitored: Monitored) -> dict[str, tuple[float, float]]:
    """What log, history, engines and Prometheus do not agree on."""
    events = monitored.realm.ask(counted)
    live = len(monitored.realm.allocations())
    expected: dict[str, float] = {
        **{f'sum(ipledger_engine_events_total{{type="{k}"}})': n for k, n in events.items()},
        "min(ipledger_allocations_total)": events["AddressesAllocated"],
        "max(ipledger_allocations_total)": events["AddressesAllocated"],
        "min(ipledger_releases_total)": events["AddressesReleased"],
        "min(ipledger_events_total)": events.total(),
        "sum(ipledger_engine_commit_events_sum)": events.total(),
        "min(ipledger_live_allocations)": live,
        'sum(max by (pool) (ipledger_pool_addresses{state="allocated"}))': live,
        'sum(ipledger_engine_requests_total{command="allocate",outcome="done"})': events[
            "AddressesAllocated"
        ],
        'sum(ipledger_engine_refusals_total{reason="PoolExhausted"})': 2,
    }
    found = {name: (monitored.value(name), n) for name, n in expected.items()}
    rows = history(monitored)
    found |= {f"rows of {k}": (rows.get(k, 0), n) for k, n in events.items()}
    found["rows of holders"] = rows["holders"], events["AddressesAllocated"]  # of one address each
    found["ended"] = rows["holders that were"], events["AddressesReleased"]
    return {name: both for name, both in found.items() if both[0] != both[1]}


def test_metrics_log_and_history_agree(monitored: Monitored) -> None:
    until(lambda: monitored.value('max(ipledger_gc_freed_total{reason="gone"})') == 1, WAIT_S)
    with contextlib.suppress(AssertionError):  # the next line says more
        until(lambda: not differences(monitored), WAIT_S)
    assert differences(monitored) == {}
    assert monitored.value("max(ipledger_allocations_total)") == PODS + MORE + 4
    assert monitored.value("max(ipledger_releases_total)") == RELEASED + 2


SELDOM = {"Time of a probe", "Full comparisons"}
"""Panels of quantiles of what does not happen within this minute: a series of no number."""


def live(monitored: Monitored) -> None:
    """A little of everything, so that there is a rate of it."""
    assert monitored.realm.agents[0].cni("ADD", "by-shim-later").code == 0
    assert monitored.realm.agents[0].cni("DEL", "by-shim-later").code == 0
    monitored.api.do(lambda s: make(s, POOLS, "later", subnet="10.11.0.0/24", ips=["10.11.0.1"]))
    review(monitored.urls["webhook"], monitored.insecure, "later", "10.7.0.1")


def numbers(monitored: Monitored, expression: str) -> list[float]:
    """What a query gives, without what is no number: a quantile of nothing."""
    values = [float(one["value"][1]) for one in monitored.query(expression)]
    return [value for value in values if not math.isnan(value)]


def test_every_query_of_the_dashboard_has_data(monitored: Monitored) -> None:
    live(monitored)
    for row in ROWS.values():
        for panel in row:
            found = monitored.query if panel.title in SELDOM else partial(numbers, monitored)
            for query, _ in panel.queries:
                asked = query.replace("$realm", REALM).replace("$pool", ".*")
                asked = asked.replace("$__rate_interval", "1m")
                until(partial(found, asked), WAIT_S)


def test_alerts_are_evaluated_and_a_full_pool_is_told(monitored: Monitored) -> None:
    pending = 'ALERTS{alertname="IpledgerPoolExhausted"}'
    (found,) = until(lambda: monitored.query(pending), WAIT_S)
    assert found["metric"]["pool"] == "small"
    with urllib.request.urlopen(f"{monitored.url}/api/v1/rules", timeout=10) as answer:
        rules = json.load(answer)["data"]["groups"][0]["rules"]
    assert {rule["health"] for rule in rules} == {"ok"}


# What moves only when something is wrong; these tests come last.


@contextlib.contextmanager
def no_commits(realm: Replicas) -> Generator[None]:
    """JetStream takes no message for the log: none is as small as it wants them."""

    def takes(bytes_max: int) -> None:
        async def update() -> None:
            nc = await realm.as_user()
            config = stream_config(realm.realm)
            config.max_msg_size = bytes_max
            await nc.jetstream().update_stream(config)
            await nc.close()

        asyncio.run(update())

    takes(1)
    try:
        yield
    finally:
        takes(-1)


async def ask_in_vain(client: EngineClient) -> None:
    """More than one node may have waiting, sent again while it waits."""
    command = partial(Allocate, interface="eth0", node="node-9", default_ipv4_pools=("large",))
    asked = (
        client.allocate(command(pod=Pod("shop", f"v{n}", f"v{n}"), sandbox=f"v{n}"), 1.0)
        for n in range(NODE_MAX + 50)
    )
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert all(isinstance(answer, EngineUnavailableError) for answer in answers), answers


def make_pools(server: ApiServer) -> None:
    """More than the controller works on at once."""
    for number in range(20):
        make(server, POOLS, f"p{number}", subnet=f"10.20.{number}.0/24", ips=[f"10.20.{number}.1"])


def test_what_waits_while_nothing_can_be_committed(monitored: Monitored) -> None:
    agent, text = monitored.realm.agents[0], monitored.text
    before = {role: text(role) for role in ("engine", "agent", "controller")}
    with no_commits(monitored.realm):
        monitored.api.do(make_pools)
        until(
            lambda: moved(before["controller"], text("controller"), table.CONTROLLER_QUEUE), WAIT_S
        )
        monitored.realm.ask(ask_in_vain)
        assert moved(before["engine"], text("engine"), table.QUEUE, table.QUEUE_REJECTIONS)
        assert agent.cni("DEL", "never-seen").code == 0
        assert moved(before["agent"], text("agent"), table.OUTBOX, table.CLIENT_RETRIES)
    until(lambda: moved(before["agent"], text("agent"), table.OUTBOX_SENT), WAIT_S)


@contextlib.contextmanager
def locked(path: Path) -> Generator[None]:
    """Somebody else writes the database, and takes long."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")
        yield
        db.execute("ROLLBACK")


async def apply_pools(client: EngineClient) -> None:
    """Three commits."""
    for number in range(3):
        pool = PoolSpec(f"late-{number}", 0, f"10.30.{number}.0/24", ips=(f"10.30.{number}.1",))
        await client.apply(ApplyPool(pool=pool))


async def delete_pools(client: EngineClient) -> None:
    """Three more."""
    for number in range(3):
        await client.delete_pool(f"late-{number}")


def test_copy_and_history_lag_while_they_cannot_be_written(monitored: Monitored) -> None:
    leader, text = monitored.realm.leader(), monitored.text
    before = {role: text(role) for role in ("engine", "auditor")}
    with locked(monitored.realm.root / leader.name / "ledger.db"):
        monitored.realm.ask(apply_pools)
        assert moved(before["engine"], text("engine"), table.SECOND_COPY_LAG)
    with locked(monitored.history):
        monitored.realm.ask(delete_pools)
        until(lambda: moved(before["auditor"], text("auditor"), table.HISTORY_LAG), WAIT_S)


def test_a_watch_that_fails_is_counted(monitored: Monitored) -> None:
    before = monitored.text("agent")
    error = StatusError("InternalError", "not now")

    def fail(server: ApiServer) -> None:
        server.faults.append(Fault("watch", "pods", times=3, error=error))
        server.drop_watches()

    monitored.api.do(fail)
    until(lambda: moved(before, monitored.text("agent"), table.WATCH_FAILURES), WAIT_S)


async def test_a_connection_that_was_lost_is_counted_when_it_is_made_again(
    nats_server: EmbeddedServer,
) -> None:
    again = asyncio.Event()

    async def reconnected() -> None:
        again.set()

    async def ignore(error: Exception) -> None:
        pass

    async with proxy_to(nats_server.url) as proxy:
        nc = await nats.connect(
            proxy.url, reconnect_time_wait=0.01, reconnected_cb=reconnected, error_cb=ignore
        )
        exposition = Exposition(REALM)
        exposition.add_role("agent", nc)
        before = (await exposition.text()).decode()
        await nc.subscribe(REALM)
        proxy.lose_answer(b"with its answer", cut=True)
        await nc.publish(REALM, b"with its answer")
        await asyncio.wait_for(again.wait(), WAIT_S)
        assert moved(before, (await exposition.text()).decode(), table.NATS_RECONNECTS)
        await nc.close()
