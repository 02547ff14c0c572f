"""Each user against each subject and API of a real nats-server, as docs/threat-model.md has it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from nats.aio.client import Client as NatsClient
from support.guarded import Guarded, guarded

from ipledger.events import names
from ipledger.events.jetstream import JetStreamLog
from ipledger.events.log import Appended
from ipledger.events.nats_roles import Role, User, permissions

MODEL = Path(__file__).parents[2] / "docs/threat-model.md"
USERS = {role: "node-worker-1" if role is Role.NODE else str(role) for role in Role}


STREAM, BUCKET = "IPLEDGER_<realm>", "OBJ_IPLEDGER_SNAPSHOTS_<realm>"
API = [
    "INFO",
    "ACCOUNT.PURGE.IPLEDGER",
    "META.LEADER.STEPDOWN",
    "SERVER.REMOVE",
    "STREAM.NAMES",
    "STREAM.LIST",
    "STREAM.CREATE.MINE",
    *(
        f"{verb}.{stream}"
        for stream in (STREAM, BUCKET)
        for verb in (
            "STREAM.CREATE",
            "STREAM.UPDATE",
            "STREAM.DELETE",
            "STREAM.PURGE",
            "STREAM.INFO",
            "STREAM.MSG.GET",
            "STREAM.MSG.DELETE",
            "STREAM.SNAPSHOT",
            "STREAM.RESTORE",
            "STREAM.PEER.REMOVE",
            "STREAM.LEADER.STEPDOWN",
            "DIRECT.GET",
            "CONSUMER.CREATE",
            "CONSUMER.NAMES",
            "CONSUMER.LIST",
        )
    ),
    *(
        f"{verb}.{stream}.c"
        for stream in (STREAM, BUCKET)
        for verb in (
            "CONSUMER.CREATE",
            "CONSUMER.DURABLE.CREATE",
            "CONSUMER.DELETE",
            "CONSUMER.INFO",
            "CONSUMER.MSG.NEXT",
            "CONSUMER.PAUSE",
            "CONSUMER.RESET",
            "CONSUMER.UNPIN",
            "CONSUMER.LEADER.STEPDOWN",
        )
    ),
]
ELSEWHERE = [
    ">",
    "ipledger.>",
    "ipledger.<realm>.>",
    "ipledger.<realm>.cmd.node.*.allocate",
    "ipledger.<realm>.cmd.node.worker_2.allocate",
    "ipledger.<realm>.cmd.node.worker_2.show",
    "ipledger.<realm>.cmd.node.<node>.anything",
    "ipledger.other.log",
    "ipledger.other.cmd.admin.release",
    "ipledger.other.query.pools",
    "_INBOX.>",
    "_INBOX.<other>.>",
    "_INBOX.<other>.answer",
    "_R_.>",
    "$SYS.>",
    "$SYS.REQ.SERVER.PING",
    "$SYS.REQ.ACCOUNT.IPLEDGER.CONNZ",
    "$JS.>",
    "$JS.API.>",
    "$JS.ACK.IPLEDGER_<realm>.c.1.1.1.1.1",
    "$JS.EVENT.ADVISORY.>",
    *(f"$JS.API.{subject}" for subject in API),
]


def table() -> dict[str, dict[Role, set[str]]]:
    """The subjects of the threat model, and what each role may do with them."""
    section = MODEL.read_text().partition("## Subjects")[2].partition("\n## ")[0]
    lines = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("|")]
    (_, *roles), _, *rows = [[cell.strip() for cell in line] for line in lines]
    return {
        row[0].strip("`"): {
            Role(role): set(re.findall(r"\w+", cell))
            for role, cell in zip(roles, row[1:], strict=True)
        }
        for row in rows
    }


TABLE = table()


def test_the_table_has_every_permission_that_is_given_and_no_other() -> None:
    given: dict[str, dict[Role, set[str]]] = {}
    for role in Role:
        user = User(role, "<node>") if role is Role.NODE else User(role)
        may = permissions(user, "<realm>", "<key>")
        for verb, subjects in (("publish", may.publish), ("subscribe", may.subscribe)):
            for subject in subjects:
                given.setdefault(subject, {r: set() for r in Role})[role].add(verb)
    assert given == TABLE


@pytest.fixture
async def servers(tmp_path: Path, realm: str) -> AsyncGenerator[Guarded]:
    async with guarded(tmp_path, realm) as made:
        yield made


async def allowed(servers: Guarded, client: NatsClient, verb: str, subject: str) -> bool:
    """Whether the server lets the client do that."""
    servers.denied.clear()
    if verb == "publish":
        await client.publish(subject, b"")
    else:
        await client.subscribe(subject)
    for _ in range(2):  # nats-py's first PING may overtake what it has not written yet
        await client.flush()
    assert len(servers.denied) in (0, 1), servers.denied
    return not servers.denied


@pytest.mark.parametrize("role", Role)
async def test_the_server_allows_what_the_table_says_and_nothing_else(
    servers: Guarded, role: Role
) -> None:
    user = USERS[role]
    client = await servers.connect(user)
    stranger = servers.public_key("auditor" if role is not Role.AUDITOR else "admin")

    def concrete(subject: str) -> str:
        subject = subject.replace("<realm>", servers.realm).replace("<node>", "worker-1")
        return subject.replace("<key>", servers.public_key(user)).replace("<other>", stranger)

    patterns = {concrete(pattern): row[role] for pattern, row in TABLE.items()}
    subjects = {concrete(subject) for subject in [*TABLE, *ELSEWHERE]}
    tries = {("subscribe", subject) for subject in subjects}
    tries |= {("publish", re.sub(r"[*>]", "x", subject)) for subject in subjects}
    wrong: list[str] = []
    for verb, subject in sorted(tries):
        expected = any(verb in may and covers(p, subject) for p, may in patterns.items())
        if await allowed(servers, client, verb, subject) != expected:
            wrong.append(f"{user} {verb} {subject}: expected {expected}")
    assert wrong == []


def covers(pattern: str, subject: str) -> bool:
    """Whether a permission for a pattern is one for a subject, which may be a pattern itself."""
    have, want = pattern.split("."), subject.split(".")
    for number, token in enumerate(have):
        if token == ">":
            return len(want) > number
        if number >= len(want) or want[number] == ">":
            return False
        if token not in ("*", want[number]):
            return False
    return len(have) == len(want)


async def test_without_a_key_nobody_gets_in(servers: Guarded) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", servers.server.port)
    assert b'"auth_required":true' in await reader.readline()
    writer.write(b"CONNECT {}\r\nPING\r\n")
    assert await reader.readline() == b"-ERR 'Authorization Violation'\r\n"
    writer.close()


async def test_an_answer_cannot_be_had_appended_to_the_log(servers: Guarded) -> None:
    """nats-server does not ask whether who wants an answer somewhere could publish there."""
    engine = await servers.connect("engine")
    log = await JetStreamLog.create(engine, servers.realm)
    assert await log.append(b"one", after=0) == Appended(1)
    reply, get = names.log_subject(servers.realm), names.direct_get(names.stream(servers.realm))
    for user in ("auditor", "admin", "controller"):
        client = await servers.connect(user)
        assert (await client.request(get, b'{"seq":1}', timeout=5)).data == b"one"
        await client.publish(get, b'{"seq":1}', reply=reply)
        await client.request(get, b'{"seq":1}', timeout=5)
    assert await log.last() == 1
