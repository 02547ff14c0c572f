"""What fuzzing found: each input here once crashed its edge, hung it, or poisoned the state."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.desk import NOON
from support.histories import build, told
from support.memory import memory_log
from support.realm import Realm, realm
from support.text import command
from support.traffic import entries
from support.virtual_time import in_virtual_time

from ipledger.engine.answers import AnyAnswer, Page, Refused
from ipledger.engine.commands import Allocate, ApplyApplication, ApplyPool
from ipledger.engine.decide import decide
from ipledger.engine.queries import AllocationsWhere
from ipledger.engine.reading import halves
from ipledger.engine.refusals import Reason, invalid
from ipledger.events import names
from ipledger.events.bus import Message
from ipledger.events.clock import format_time, parse_time
from ipledger.events.commit import GENESIS, UnreadableCommitError, decode, digest
from ipledger.events.facts import Application, Route
from ipledger.events.ledger import Ledger, LedgerError
from ipledger.events.log import Entry
from ipledger.kube.manifest import Manifest, ManifestError, parse
from ipledger.projections.state import State
from ipledger.replay.annotate import Tracks
from ipledger.replay.export import ExportError, export
from ipledger.replay.flows import Fields, Flaws, annotate_csv, annotate_jsonl
from ipledger.replay.verify import verify

DEEP = b"[" * 100_000
POOL = "apiVersion: spiderpool.spidernet.io/v2beta1\nkind: SpiderIPPool\nmetadata: {name: a}\n"
TEXT_MAX = 4100


def problem(text: str) -> str:
    """The error of the last document, which is short."""
    found = parse(text, "f.yaml")[-1]
    assert isinstance(found, ManifestError)
    assert len(str(found)) <= TEXT_MAX
    return str(found)


def test_a_manifest_whose_aliases_stand_for_billions_of_nodes_is_refused() -> None:
    bomb = "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
    for name, before in zip("bcdefghi", "abcdefgh", strict=True):
        bomb += f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n"
    assert "stand for more than 100000 nodes" in problem(f"{POOL}---\n{bomb}")


def test_a_manifest_that_contains_itself_is_refused() -> None:
    assert "*s stands in what it names" in problem(f"{POOL}status: &s [*s]\n")


def test_a_manifest_that_is_made_deep_by_aliases_is_refused() -> None:
    chain = "".join(f"  - &a{n} [*a{n - 1}]\n" for n in range(1, 100))
    assert "nested too deeply" in problem(f"{POOL}status:\n  - &a0 x\n{chain}")


def test_a_few_aliases_are_read() -> None:
    (found,) = parse(f"{POOL}spec: {{subnet: 10.0.0.0/24, ips: &i [10.0.0.1]}}\nstatus: *i\n", "f")
    assert isinstance(found, Manifest)


@pytest.mark.parametrize("tagged", ["!!timestamp x", "!!binary x", "!!set {a}", "!!omap [a: 1]"])
def test_a_type_that_is_not_of_json_is_refused(tagged: str) -> None:
    assert "could not determine a constructor" in problem(f"{POOL}spec: {tagged}\n")


@pytest.mark.parametrize("tagged", ["!!int x", "!!int ''", "!!bool x", "!!float x"])
def test_a_scalar_that_is_not_what_its_tag_says_is_refused(tagged: str) -> None:
    assert "a scalar that is not what its tag says" in problem(f"{POOL}status: {tagged}\n")


def test_a_list_with_its_items_twice_is_refused() -> None:
    text = "kind: List\nitems: [1]\nitems: [2, 3]\n"
    assert "field items: is there twice" in problem(text)


def test_an_unknown_field_whose_name_is_a_long_number_is_refused() -> None:
    assert "unknown" in problem(f"{POOL}spec:\n  ? '{'9' * 5000}'\n  : 1\n")


@pytest.mark.parametrize("value", ["x" * 100_000, "9" * 4000])
def test_an_error_quotes_only_the_beginning_of_a_value(value: str) -> None:
    assert value[:100] in problem(f"{POOL}spec: {{default: {value}}}\n")
    assert value[:100] in problem(f"apiVersion: {value}\nkind: SpiderIPPool\n")


def test_a_refusal_is_short_whatever_it_quotes() -> None:
    refusal = invalid("spec.ips[0]", "x" * 100_000, "is wrong")
    assert len(refusal.message) < 300
    assert refusal.message.endswith("is wrong")
    assert len(refusal.value) <= 201


@pytest.mark.parametrize("field", ["replicas", "start"])
def test_an_application_larger_than_kubernetes_allows_is_refused(field: str) -> None:
    web = Application("apps/v1", "StatefulSet", "ns", "web")
    asked = msgspec.structs.replace(web, **{field: 2**31})
    refusal = decide(State(), ApplyApplication(application=asked), NOON).refusal
    assert refusal is not None
    assert (refusal.reason, refusal.value) == (Reason.INVALID_FIELD, "2147483648")


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        (
            ApplyApplication,
            b'{"type":"ApplyApplication","application":{"apiVersion":"apps/v1",'
            b'"kind":"StatefulSet","namespace":"n","name":"w","replicas":9223372036854775808}}',
        ),
        (
            Allocate,
            b'{"pod":{"namespace":"n","name":"p","uid":"u"},"sandbox":"s",'
            b'"interface":"eth0","steps":{"agent":9223372036854775808}}',
        ),
    ],
)
def test_a_command_with_a_number_that_no_snapshot_can_hold_is_refused(
    kind: type[Any], payload: bytes
) -> None:
    with pytest.raises(msgspec.ValidationError, match="Expected `int` <="):
        msgspec.json.decode(payload, type=kind)


def pool(text: str) -> ApplyPool:
    found = command(text)
    assert isinstance(found, ApplyPool)
    return found


async def asked(r: Realm, subject: str, payload: bytes) -> AnyAnswer:
    message: Message = await r.client().bus.request(subject, payload, 5.0)
    found: AnyAnswer = msgspec.json.decode(message.data, type=AnyAnswer)
    return found


@in_virtual_time
async def test_a_command_or_query_that_is_nested_too_deeply_is_answered() -> None:
    async with realm() as r:
        await r.leader("one")
        for subject in (
            names.node_command("realm", "n1", "allocate"),
            names.admin_command("realm", "apply-pool"),
            names.query("realm", "pools"),
        ):
            answer = await asked(r, subject, b'{"type":' + DEEP)
            assert isinstance(answer, Refused)
            assert answer.refusal.reason == Reason.BAD_REQUEST


@in_virtual_time
async def test_a_question_that_our_own_mistake_cannot_answer_does_not_end_the_engine() -> None:
    async with realm() as r:
        leader = await r.leader("one")
        answers: list[object] = []

        async def reply(answer: object) -> None:
            answers.append(answer)

        def mistaken(state: State) -> object:
            raise KeyError("a mistake")

        await leader.engine.look(mistaken, State().position, reply)
        assert (await r.client().status()).role == "leader"
        assert [type(answer) for answer in answers] == [Refused]


@in_virtual_time
async def test_rows_that_are_too_long_for_one_message_come_in_several() -> None:
    async with realm() as r:
        member = await r.leader("one")
        client = r.client()
        await client.apply(pool("pool a 10.0.0.0/24 ips=10.0.0.1-10.0.0.200 default"))
        routes = json.dumps([{"dst": f"10.{n}.0.0/16", "gw": "10.0.0.250"} for n in range(200)])
        for n in range(9):
            add = command(f"ADD p{n}")
            assert isinstance(add, Allocate)
            add = msgspec.structs.replace(add, annotations={"ipam.spidernet.io/routes": routes})
            held = await client.allocate(add)
            assert Route("10.0.0.0/16", "10.0.0.250") in held.allocation.routes
        member.bus.max_payload = 30_000
        pages = [page async for page in client.allocations(AllocationsWhere())]
        assert len(pages) > 1
        assert [page.last for page in pages] == [False] * (len(pages) - 1) + [True]
        assert [row.pod for page in pages for row in page.allocations] == [
            f"p{n}" for n in range(9)
        ]


@in_virtual_time
async def test_an_answer_that_is_too_long_and_cannot_be_cut_says_so() -> None:
    async with realm() as r:
        member = await r.leader("one")
        await r.client().apply(pool("pool a 10.0.0.0/24 ips=10.0.0.1"))
        member.bus.max_payload = 200
        answer = await asked(r, names.query("realm", "pools"), b"{}")
        assert isinstance(answer, Refused)
        assert "more than the NATS server takes" in answer.refusal.message


def test_half_a_page_of_one_row_is_nothing() -> None:
    assert halves(Page("1.0")) is None


def stored(*events: dict[str, Any], time: str = "2026-11-22T12:00:00Z") -> Entry:
    fields = {"v": 1, "epoch": 1, "time": time, "prev": GENESIS, "events": events}
    return Entry(1, json.dumps(fields).encode())


POOL_CREATED = {
    "type": "PoolCreated",
    "pool": {"name": "a", "ipVersion": 4, "subnet": "10.0.0.0/24", "ips": ["10.0.0.1"]},
}


def allocated(name: str = "a1", address: str = "10.0.0.1/24", **more: Any) -> dict[str, Any]:
    return {
        "type": "AddressesAllocated",
        "allocation": name,
        "pod": {"namespace": "n", "name": "p", "uid": "u"},
        "node": "n1",
        "sandbox": "s",
        "interface": "eth0",
        "addresses": [{"pool": "a", "address": address, "gateway": ""}],
        **more,
    }


HUGE: list[Sequence[dict[str, Any]]] = [
    [{"type": "LeadershipTaken", "epoch": 2**70, "engine": "e", "version": "0"}],
    [POOL_CREATED, allocated(slot=2**64)],
    [POOL_CREATED, allocated(name="a" + "9" * 30)],
    [POOL_CREATED, allocated(address="10.0.0.1/" + "9" * 30)],
    [{"type": "PoolCreated", "pool": {"name": "a", "ipVersion": 4, "subnet": "10.0.0.0/999"}}],
]


@pytest.mark.parametrize("events", HUGE, ids=lambda events: str(events[-1])[:60])
async def test_a_log_with_a_number_that_no_digest_can_hold_is_bad(
    events: Sequence[dict[str, Any]],
) -> None:
    report = await verify(memory_log(stored(*events)))
    assert not report.ok
    assert report.bad_position.startswith("1.")


@pytest.mark.parametrize("payload", [b'{"x":' + DEEP, b'{"v":1,"x":' + DEEP])
def test_a_commit_that_is_nested_too_deeply_cannot_be_read(payload: bytes) -> None:
    with pytest.raises(UnreadableCommitError):
        decode(payload)


def test_a_commit_with_what_is_no_utf8_in_an_unknown_field_cannot_be_read() -> None:
    good = stored({"type": "PoolDeleted", "name": "a", "more": "@"}).payload
    assert decode(good).events
    with pytest.raises(UnreadableCommitError):
        decode(good.replace(b"@", b"\xed\xa0\x80"))


def test_a_time_that_cannot_be_written_again_is_none() -> None:
    for text in ("9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59", "2" * 9000):
        with pytest.raises(ValueError, match=r"no time|years 1 to 9999"):
            parse_time(text)
    assert format_time(parse_time("9999-12-31T23:59:59.999999Z")).startswith("9999-12-31")


async def test_a_table_of_a_log_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    log = memory_log(Entry(1, b"{}"))
    with pytest.raises(ExportError, match="commit 1 cannot be read"):
        await export(log, tmp_path / "log.csv", "csv", "realm")
    assert os.listdir(tmp_path) == []


async def test_a_table_is_of_what_events_are_and_not_of_fields_that_are_unknown(
    tmp_path: Path,
) -> None:
    log = memory_log(stored({"type": "PoolDeleted", "name": "a", "addresses": [1], "node": 7}))
    assert await export(log, tmp_path / "log.csv", "csv", "realm") == 1


SCHEMA = "CREATE TABLE meta (key, value); INSERT INTO meta VALUES ('realm', 'r'), ('schema', '1');"
FILES = {
    "a view that never ends": "CREATE VIEW commits AS WITH RECURSIVE c(sequence) AS"
    " (SELECT 1 UNION ALL SELECT sequence + 1 FROM c) SELECT sequence, x'' payload, '' hash FROM c",
    "no payload": "CREATE TABLE commits (sequence INTEGER PRIMARY KEY, payload, hash);"
    " INSERT INTO commits VALUES (1, NULL, 'x')",
}


@pytest.mark.parametrize("name", FILES)
async def test_a_file_that_only_looks_like_a_ledger_is_refused(name: str, tmp_path: Path) -> None:
    db = sqlite3.connect(tmp_path / "ledger.db")
    db.executescript(SCHEMA + FILES[name])
    db.close()
    with pytest.raises(LedgerError):
        await Ledger.reading(tmp_path / "ledger.db")


async def test_a_ledger_whose_sequences_do_not_rise_is_damaged(tmp_path: Path) -> None:
    payload = stored(POOL_CREATED).payload
    db = sqlite3.connect(tmp_path / "ledger.db")
    db.executescript(SCHEMA + "CREATE TABLE commits (sequence, payload, hash);")
    db.executemany(
        "INSERT INTO commits VALUES (?, ?, ?)", [(n, payload, digest(payload)) for n in (1, 1, 2)]
    )
    db.commit()
    db.close()
    ledger = await Ledger.reading(tmp_path / "ledger.db")
    try:
        with pytest.raises(LedgerError, match="commit 1 stands behind 1"):
            _ = [entry async for entry in ledger.read(0)]
    finally:
        await ledger.close()


async def test_a_ledger_whose_schema_is_not_text_is_refused(tmp_path: Path) -> None:
    db = sqlite3.connect(tmp_path / "ledger.db")
    db.executescript(SCHEMA)
    db.close()
    data = (tmp_path / "ledger.db").read_bytes()
    (tmp_path / "ledger.db").write_bytes(data.replace(b"tablemetameta", b"table\x80etameta"))
    with pytest.raises(LedgerError):
        await Ledger.reading(tmp_path / "ledger.db")


FIELDS = Fields(("src",), "ts", 1_000_000)


async def test_a_flow_record_that_is_nested_too_deeply_is_left_as_it_is(tmp_path: Path) -> None:
    async with build(told(entries(50)), tmp_path / "h.db") as past:
        tracks, flaws = Tracks(past), Flaws()
        line = b'{"a":' + DEEP + b"\n"
        out = [part async for part in annotate_jsonl(tracks, iter([line]), FIELDS, flaws)]
        assert (out, flaws.count) == ([line], 1)


@pytest.mark.parametrize("lines", [b'ts,src\n1,"' + b"x" * 200_000, b"x" * 9000])
async def test_a_table_of_flows_that_is_no_csv_is_one_short_error(
    lines: bytes, tmp_path: Path
) -> None:
    async with build(told(entries(50)), tmp_path / "h.db") as past:
        tracks = Tracks(past)
        with pytest.raises(ValueError, match=r"not CSV|no column") as raised:
            _ = [part async for part in annotate_csv(tracks, iter([lines]), FIELDS, Flaws())]
        assert len(str(raised.value)) <= TEXT_MAX
