"""What people hand to ipledger: manifests, reviews of an API server, flow records."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from support import traffic
from support.histories import build, told
from support.ledger import Ledger
from support.realm import Realm
from support.text import command
from support.virtual_time import VirtualLoop

from fuzz.target import Run, check_text
from ipledger.engine.commands import AnyCommand
from ipledger.engine.decide import decide
from ipledger.kube.admission import BadReviewError, review
from ipledger.kube.manifest import ManifestError, parse
from ipledger.replay.annotate import Tracks
from ipledger.replay.flows import Fields, Flaws, annotate_csv, annotate_jsonl

POOLS = (
    "pool a 10.0.0.0/24 ips=10.0.0.10-10.0.0.200 default",
    "subnet s 10.0.0.0/24 ips=10.0.0.1-10.0.0.250",
)


def decided(ledger: Ledger, asked: AnyCommand) -> None:
    """A command that came through an edge is decided, without a change of the state."""
    state = ledger.head.state
    digest = state.digest()
    decision = decide(state, asked, ledger.now)
    if decision.refusal is not None:
        check_text(decision.refusal.message)
    assert state.digest() == digest, "decide changed the state"


@contextmanager
def manifests() -> Generator[Run]:
    """Text of `ipledger apply -f`: each document is a command or one error."""
    ledger = Ledger()
    ledger.do(*map(command, POOLS))

    def run(data: bytes) -> None:
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError:
            return
        for found in parse(text, "file"):
            if isinstance(found, ManifestError):
                check_text(str(found))
            else:
                decided(ledger, found.command)

    yield run


@contextmanager
def reviews() -> Generator[Run]:
    """The body of an admission review: an answer that is JSON, or `BadReviewError`."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        realm = Realm()
        leader = runner.run(realm.leader("engine"))
        client = realm.client()

        async def ask(data: bytes) -> None:
            before = len(realm.log.payloads)
            try:
                answer = await review(client, data)
            except BadReviewError as error:
                check_text(str(error))
            else:
                response = msgspec.json.decode(answer)["response"]
                if not response["allowed"]:
                    check_text(response["status"]["message"])
            assert len(realm.log.payloads) == before, "a review changed something"
            assert not leader.running.done(), "a review ended the engine"

        yield lambda data: runner.run(ask(data))
        runner.run(leader.kill())
        runner.run(leader.service.stop())


_FIELDS = Fields(("src", "dst"), "ts", 1_000_000)


@contextmanager
def flow_lines() -> Generator[Run]:
    """JSON lines: as many come out, each as it was or with what was added behind it."""
    with _tracks() as (runner, tracks):

        async def annotate(data: bytes) -> None:
            lines, flaws = data.splitlines(keepends=True), Flaws()
            parts = [p async for p in annotate_jsonl(tracks, iter(lines), _FIELDS, flaws)]
            out = b"".join(parts).splitlines(keepends=True)
            assert len(out) == len(lines)
            changed = sum(a.strip() != b.strip() for a, b in zip(lines, out, strict=True))
            assert changed <= len(lines) - flaws.count
            _check_flaws(flaws)
            for line, before in zip(out, lines, strict=True):
                if line != before:
                    msgspec.json.decode(line)

        yield lambda data: runner.run(annotate(data))


@contextmanager
def flow_tables() -> Generator[Run]:
    """CSV: every record comes out, or the one error says which column is missing."""
    with _tracks() as (runner, tracks):

        async def annotate(data: bytes) -> None:
            lines, flaws = data.splitlines(keepends=True), Flaws()
            try:
                async for part in annotate_csv(tracks, iter(lines), _FIELDS, flaws):
                    part.decode()
            except ValueError as error:
                check_text(str(error))
            _check_flaws(flaws)

        yield lambda data: runner.run(annotate(data))


def _check_flaws(flaws: Flaws) -> None:
    assert len(flaws.shown) <= 20
    for shown in flaws.shown:
        check_text(shown)


@contextmanager
def _tracks() -> Generator[tuple[asyncio.Runner, Tracks]]:
    with tempfile.TemporaryDirectory() as folder, asyncio.Runner() as runner:
        past = build(told(traffic.entries(300, 1)), Path(folder) / "history.db")
        tracks = Tracks(runner.run(past.__aenter__()))
        runner.run(tracks.load())
        yield runner, tracks
        runner.run(past.__aexit__(None, None, None))
