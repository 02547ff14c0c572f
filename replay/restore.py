"""Restoring a lost or damaged stream from a ledger, so that bytes and sequences are identical.

Every step can be repeated: a restore that was interrupted is run again and goes on. Nothing is
deleted before everything that can be read of it is in a file.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import NamedTuple

import msgspec
import nats.errors
from nats.aio.client import Client as NatsClient

from ipledger.events import names
from ipledger.events.chain import EMPTY, Head, check_copy, check_sequence, link
from ipledger.events.jetstream import JetStreamLog
from ipledger.events.ledger import Ledger
from ipledger.events.log import BrokenLogError, NoLogError, ReadableLog
from ipledger.events.restoring import RestoringStream
from ipledger.replay.verify import verify

_ASK_TIMEOUT_S = 1.0
_READ_AT_ONCE = 64


class RestoreError(Exception):
    """The restore does not begin; nothing was changed. The message says why."""


class DamagedError(RestoreError):
    """The stream or the ledger is not good, so that more must be asked for than a restore."""


class Restored(msgspec.Struct, frozen=True, rename="camel"):
    """What a restore did, or with `dry_run` would do.

    `action` is `nothing`, `create`, `append` or `replace`; `good` is how many commits of the
    stream are as the ledger has them, `problem` what is wrong with the next one, `published` how
    many commits were written, `commits` how many the stream has now, `saved` the file with what
    could be read of a stream that was replaced.
    """

    action: str
    commits: int
    good: int
    published: int
    problem: str = ""
    saved: str = ""
    dry_run: bool = False


def _silent(what: str, total: int) -> AbstractContextManager[Callable[[int], None]]:
    return nullcontext(lambda done: None)


class Survey(NamedTuple):
    """A stream against a ledger: the head of its good commits, and what is wrong behind it.

    `last` is the stream's last sequence, None where there is no stream.
    """

    last: int | None
    head: Head
    problem: str


class Restore:
    """One restore of a realm's stream. `progress(what, total)` opens a progress bar."""

    def __init__(
        self,
        nc: NatsClient,
        ledger: Ledger,
        replicas: int = 1,
        progress: Callable[[str, int], AbstractContextManager[Callable[[int], None]]] = _silent,
    ) -> None:
        self._nc = nc
        self._ledger = ledger
        self._log = JetStreamLog.of(nc, ledger.realm)
        self._stream = RestoringStream(self._log)
        self._replicas = replicas
        self._progress = progress

    async def run(self, *, replace: bool = False, dry_run: bool = False) -> Restored:
        """Make the stream hold what the ledger holds, at the same sequences.

        A good stream is only continued; a damaged one is refused, or with `replace` saved and
        made anew. Raises `RestoreError`, `BrokenLogError`, `LogUnavailableError`, `LedgerError`.
        """
        await self._must_be_without_engine()
        await self._must_verify()
        survey = await self._survey()
        planned = self._plan(survey, dry_run=dry_run)
        if dry_run:
            return planned
        if planned.action != "replace":
            return await self._fill(planned)
        if not replace:
            raise DamagedError(
                f"the stream is damaged: {survey.problem}; --replace saves what can be read of "
                "it and makes it anew from the ledger"
            )
        return await self._replace(planned, survey.last or 0)

    async def _must_be_without_engine(self) -> None:
        """For the operator's sake; what keeps two from writing is that the stream is closed."""
        realm = self._ledger.realm
        try:
            await self._nc.request(names.query(realm, "status"), b"{}", timeout=_ASK_TIMEOUT_S)
        except nats.errors.NoRespondersError:
            return
        except nats.errors.TimeoutError:
            pass  # somebody listens and is busy
        raise RestoreError(f"an engine of realm {realm!r} is running: stop every engine first")

    async def _must_verify(self) -> None:
        ledger = self._ledger
        if ledger.head == EMPTY:
            raise RestoreError(f"ledger {ledger.path} has no commits")
        with self._progress("verifying the ledger", ledger.head.sequence) as tell:
            report = await verify(ledger, tell)
        if not report.ok:
            bad = f"{report.bad_position}: {report.reason}"
            raise DamagedError(f"ledger {ledger.path} does not verify: {bad}")

    async def _survey(self) -> Survey:
        try:
            last = await self._log.last()
        except NoLogError:
            return Survey(None, EMPTY, "")
        head = EMPTY
        try:
            with self._progress("reading the stream", last) as tell:
                async for head in matching(self._log, self._ledger):
                    tell(head.sequence)
        except BrokenLogError as error:
            return Survey(last, head, str(error))
        return Survey(last, head, "")

    def _plan(self, survey: Survey, *, dry_run: bool) -> Restored:
        good, held = survey.head.sequence, self._ledger.head.sequence
        action = "append" if good < held else "nothing"
        if survey.last is None:
            action = "create"
        if survey.problem:
            action = "replace"
        total = max(good, held)
        start = 0 if survey.problem else good
        return Restored(action, total, good, total - start, survey.problem, "", dry_run)

    async def _fill(self, planned: Restored) -> Restored:
        """Publish what the stream lacks, closed to engines, and compare once more."""
        stream = self._stream
        if planned.action == "nothing" and not await stream.is_closed():
            return planned
        await stream.close(self._replicas)
        with self._progress("publishing", planned.commits) as tell:
            start = planned.commits - planned.published
            await stream.publish(self._ledger.read(start), tell)
        survey = await self._survey()
        if survey.problem or survey.head.sequence < self._ledger.head.sequence:
            raise BrokenLogError(survey.head.sequence + 1, survey.problem or "missing afterwards")
        await stream.open()
        return planned

    async def _replace(self, planned: Restored, last: int) -> Restored:
        await self._stream.close(self._replicas)
        saved = await self._save(last)
        await self._keep_tail()
        self._replicas = await self._stream.replicas()
        await self._stream.delete()
        commits = self._ledger.head.sequence
        made = await self._fill(
            msgspec.structs.replace(planned, commits=commits, published=commits)
        )
        return msgspec.structs.replace(made, saved=str(saved))

    async def _save(self, last: int) -> Path:
        """Write whatever can be read of the stream to a file beside the ledger."""
        path = _unused(self._ledger.path.with_suffix(".replaced.db"))
        old = await Ledger.open(path, self._ledger.realm)
        try:
            with self._progress("saving the old stream", last) as tell:
                for start in range(1, last + 1, _READ_AT_ONCE):
                    numbers = range(start, min(start + _READ_AT_ONCE, last + 1))
                    found = await asyncio.gather(*map(self._log.get, numbers))
                    await old.store([entry for entry in found if entry is not None])
                    tell(start)
            await old.sync()
        finally:
            await old.close()
        return path

    async def _keep_tail(self) -> None:
        """Add to the ledger what only the stream has and what continues the chain."""
        ledger = await Ledger.open(self._ledger.path, self._ledger.realm)
        try:
            while (entry := await self._log.get(ledger.head.sequence + 1)) is not None:
                try:
                    await ledger.append([entry])
                except BrokenLogError:
                    break
            await ledger.sync()
            self._ledger.head = ledger.head
        finally:
            await ledger.close()


async def matching(log: ReadableLog, ledger: ReadableLog) -> AsyncIterator[Head]:
    """The head behind each commit of a log that is the ledger's, then those that continue it.

    Raises `BrokenLogError` at the first commit that is missing, differs or breaks the chain.
    """
    kept = ledger.read(0)
    head = EMPTY
    async for entry in log.read(0):
        check_sequence(head, entry.sequence)
        check_copy(entry, await anext(kept, None))
        head = link(head, entry)
        yield head


def _unused(path: Path) -> Path:
    """A file name that nothing has: a number is added where one is needed."""
    found, number = path, 1
    while found.exists():
        number += 1
        found = path.with_stem(f"{path.stem}-{number}")
    return found
