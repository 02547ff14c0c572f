"""The auditor as a process, and histories that do not belong to their log."""

from __future__ import annotations

import asyncio
import re
import sys
import urllib.request
from pathlib import Path

from nats.aio.client import Client as NatsClient
from support import traffic
from support.program import Program, until
from support.terminal import Cli

from ipledger.engine.client import EngineClient
from ipledger.engine.commands import ApplyPool
from ipledger.events.facts import PoolSpec
from ipledger.events.jetstream import JetStreamLog

IPLEDGER = str(Path(sys.executable).with_name("ipledger"))
DEADLINE_S = 30.0
OFFICE = ApplyPool(pool=PoolSpec("office", 4, "10.6.0.0/24", ("10.6.0.7",)))


async def test_the_auditor_keeps_a_history_that_other_commands_read(
    cli: Cli, engine: EngineClient, nc: NatsClient, realm: str, tmp_path: Path
) -> None:
    command = [IPLEDGER, "auditor", "--http", "0", "--history", f"{cli.files}/h.db"]
    auditor = Program("auditor", command, tmp_path)
    auditor.launch()
    ready = await asyncio.to_thread(auditor.line, r"^ready history=\S+ http=(\S+)$")
    await engine.apply(OFFICE)

    found = await cli("history", "pool", "office", "--history", "FILES/h.db")

    assert "PoolCreated" in found.stdout
    assert found.stderr.startswith("at 2.0, ")
    last = await JetStreamLog.of(nc, realm).last()
    shown = f'ipledger_history_sequence{{realm="{realm}"}} {float(last)}'

    def page() -> str:
        """The metrics, once they tell of the commit: that is just behind it."""
        with urllib.request.urlopen(f"{ready[1]}/metrics", timeout=DEADLINE_S) as answer:
            text: str = answer.read().decode()
        return text if shown in text else ""

    text = await asyncio.to_thread(until, page, DEADLINE_S)
    assert re.search(r"^ipledger_history_lag_seconds\{.*\} \d", text, re.MULTILINE)
    assert await asyncio.to_thread(auditor.stop) == 0


async def test_a_log_that_is_not_the_one_its_history_was_made_of_is_a_difference(
    cli: Cli, tmp_path: Path
) -> None:
    write(tmp_path / "a.jsonl", seed=1)
    write(tmp_path / "b.jsonl", seed=2)
    await cli("get", "pools", "--from", "FILES/a.jsonl", "--history", "FILES/h.db")

    result = await cli("get", "pools", "--from", "FILES/b.jsonl", "--history", "FILES/h.db")

    assert result.code == 3
    assert result.stdout == ""
    assert "one of them was changed" in result.stderr


async def test_a_shorter_copy_of_a_log_is_answered_as_it_is_with_the_history_of_the_longer(
    cli: Cli, tmp_path: Path
) -> None:
    lines = write(tmp_path / "whole.jsonl", seed=3)
    (tmp_path / "short.jsonl").write_bytes(b"".join(lines[: len(lines) // 2]))
    alone = await cli("get", "allocations", "--from", "FILES/short.jsonl")
    (tmp_path / "cache").rename(tmp_path / "old")
    await cli("get", "pools", "--from", "FILES/whole.jsonl")

    result = await cli("get", "allocations", "--from", "FILES/short.jsonl")

    assert result == alone
    assert result.stderr.startswith(f"at {len(lines) // 2}.")


async def test_a_file_that_is_no_history_is_left_alone(cli: Cli, tmp_path: Path) -> None:
    write(tmp_path / "log.jsonl", seed=1)
    other = tmp_path / "other.db"
    other.write_bytes(b"something else that is longer than a header of SQLite" * 40)
    before = other.read_bytes()

    result = await cli("get", "pools", "--from", "FILES/log.jsonl", "--history", "FILES/other.db")

    assert (result.code, other.read_bytes()) == (1, before)
    assert result.stderr.startswith("error: history FILES/other.db")


def write(path: Path, seed: int) -> list[bytes]:
    lines = [entry.payload + b"\n" for entry in traffic.entries(300, seed)]
    path.write_bytes(b"".join(lines))
    return lines
