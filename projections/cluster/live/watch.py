"""The watch: a list, then every change from there on, for as long as somebody reads.

How it goes on after trouble:

- The connection is lost, or the server ends the watch: it begins again at the last version that
  was heard of. Nothing is missed.
- Nothing is heard for a while: the same, since a connection may be dead and not know it. Bookmarks
  come every minute, but not of a kind that did not change since the watch began.
- After either, the server is asked which version it is at. One that was put back to an old state
  counts from there again, and tells nothing until it comes to the version that was heard of:
  then everything is listed again (ADR 81). One that has come there meanwhile cannot be told from
  one that was never put back: whoever must not keep what is gone lists anew at times (ADR 125).
- That version is too old (410, as an answer or as an event), or the server cannot go on for
  another reason: everything is listed again, and the mirror computes what vanished meanwhile.
- A list's token is too old (410): the list begins again, in one piece.
- Anything else is tried again, after a pause that grows and has jitter.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass
from typing import Generic, NoReturn

from ipledger.projections.cluster.kinds import Kind, O
from ipledger.projections.cluster.live.api import (
    Api,
    ApiError,
    ApiSilentError,
    ApiUnreachableError,
)
from ipledger.projections.cluster.live.pages import Decoding, Page, Told
from ipledger.projections.cluster.live.pauses import Pauses
from ipledger.projections.cluster.mirror import Change, Mirror, Synced
from ipledger.projections.cluster.watch_counts import WatchCounts

_log = logging.getLogger(__name__)

_PAGE_OBJECTS = 500
_WATCH_S = (240, 480)  # the server ends a watch after this; spread, so that not all come at once
_SILENCE_S = 150.0


@dataclass(frozen=True, slots=True)
class Selection:
    """Which objects of a kind: of one namespace or all, by field and label selectors."""

    namespace: str = ""
    fields: str = ""
    labels: str = ""

    def query(self) -> dict[str, str]:
        """The selectors as parameters of a call."""
        selectors = {"fieldSelector": self.fields, "labelSelector": self.labels}
        return {key: value for key, value in selectors.items() if value}

    def __str__(self) -> str:
        parts = (self.namespace and f"namespace {self.namespace}", self.fields, self.labels)
        return ", ".join(part for part in parts if part) or "all"


class _ListAgainError(Exception):
    """The watch cannot go on from where it is."""


class Watch(Generic[O]):
    """The objects of one kind and selection, as they are, and their changes.

    `from_cache` lets the server answer lists from its cache, never older than what was seen
    before: right for the many agents, whose lists would each read every pod from etcd. Without
    it, lists are consistent reads in pages. Where a watch ends, a list older than `list_every_s`
    is made again. `random` gives numbers from 0 to 1.
    """

    def __init__(
        self,
        api: Api,
        kind: Kind[O],
        where: Selection | None = None,
        *,
        random: Callable[[], float],
        from_cache: bool = False,
        page_objects: int = _PAGE_OBJECTS,
        pauses: Pauses | None = None,
        silence_s: float = _SILENCE_S,
        list_every_s: float = math.inf,
    ) -> None:
        self.objects: Mirror[O] = Mirror()
        self.counts = WatchCounts(kind.plural)
        self._api = api
        self._where = where or Selection()
        self._path = kind.path(self._where.namespace)
        self._name = f"{kind.plural} ({self._where})"
        self._decoding = Decoding(kind)
        self._random = random
        self._from_cache = from_cache
        self._page_objects = page_objects
        self._pauses = pauses or Pauses(random)
        self._silence_s = silence_s
        self._list_every_s = list_every_s
        self._listed_at = 0.0  # by the loop's clock
        self._version = ""  # of the last thing heard
        self._must_list = True
        self._must_ask = False  # whether the server is at our version at all
        self._in_one_piece = False  # the next list

    async def changes(self) -> AsyncGenerator[Change[O] | Synced]:
        """Every change, for ever. `Synced` follows each whole list, the first and later ones.

        The mirror `objects` is ahead of what was yielded by one page at most.
        """
        while True:
            was_watched = not self._must_list
            steps = self._follow() if was_watched else self._list()
            try:
                async with contextlib.aclosing(steps):
                    async for change in steps:
                        yield change
            except (ApiError, ApiUnreachableError, _ListAgainError) as error:
                self._must_ask = True
                await self._pause(error)
            self._must_list |= was_watched and self._is_list_old

    @property
    def _is_list_old(self) -> bool:
        return asyncio.get_running_loop().time() - self._listed_at >= self._list_every_s

    @property
    def is_synced(self) -> bool:
        """Whether everything was listed once."""
        return self.counts.is_synced

    async def run(self) -> None:
        """Keep `objects` as they are, for who does not need the changes."""
        async for _ in self.changes():
            pass

    async def _pause(self, error: Exception) -> None:
        at_least_s = error.retry_after_s if isinstance(error, ApiError) else 0
        pause_s = self._pauses.next_s(at_least_s)
        self.counts.failures += 1
        what = "listing" if self._must_list else f"watching from version {self._version}"
        _log.warning("%s: %s again in %.1f s: %s", self._name, what, pause_s, error)
        await asyncio.sleep(pause_s)

    async def _list(self) -> AsyncGenerator[Change[O] | Synced]:
        """Everything there is."""
        self.objects.begin_list()
        query = self._list_query()
        while True:
            page = await self._page(query)
            for change in self.objects.put_page(page.objects, page.unreadable):
                yield change
            if not page.continues:
                break
            query = {**self._list_query(), "continue": page.continues}
        vanished = self.objects.end_list()
        for change in vanished:
            yield change
        _log.info(
            "%s: %d objects at version %s, %d vanished since the list before",
            self._name,
            len(self.objects),
            page.resource_version,
            len(vanished),
        )
        self._version = page.resource_version
        self._must_list = self._must_ask = self._in_one_piece = False
        self._listed_at = asyncio.get_running_loop().time()
        self.counts.lists += 1
        self.counts.is_synced = True
        self._heard()
        yield Synced(page.resource_version)

    def _list_query(self) -> dict[str, str]:
        """The parameters of a list. With a limit, a cache would be asked for exactly that version;
        without any, it is a consistent read."""
        if self._in_one_piece:
            return self._where.query()
        if self._from_cache:
            return {**self._where.query(), "resourceVersion": self._version or "0"}
        return {**self._where.query(), "limit": str(self._page_objects)}

    async def _page(self, query: dict[str, str]) -> Page[O]:
        try:
            return self._decoding.page(await self._api.call("GET", self._path, query=query))
        except ApiError as error:
            # Pages that are read too slowly expire again and again. A cache that was restored, or
            # that is of a server far behind, may never come to the version that was seen (504).
            self._in_one_piece |= error.is_expired or (self._from_cache and error.status == 504)
            raise

    async def _follow(self) -> AsyncGenerator[Change[O]]:
        """The changes from the last version on, until the server ends the watch."""
        if self._must_ask:
            await self._ask_version()
        low, high = _WATCH_S
        seconds = round(low + (high - low) * self._random())
        query = {
            **self._where.query(),
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version,
            "timeoutSeconds": str(seconds),
        }
        loop = asyncio.get_running_loop()
        began, heard = loop.time(), False
        self.counts.restarts += 1
        try:
            async with self._opened(query) as lines:
                async for line in lines:
                    told = self._told(line)
                    self.counts.events += 1
                    for change in self._fold(told):
                        yield change
                    self._heard()
                    self._version, heard = told.metadata.resource_version or self._version, True
                    self._pauses.reset()
        except ApiSilentError:
            _log.debug("%s: nothing was heard for %.0f s", self._name, self._silence_s)
            self._must_ask = True
            return
        if not heard and loop.time() - began < seconds - 1:
            raise ApiUnreachableError("the watch ended before its time, and nothing was heard")
        self._pauses.reset()

    async def _ask_version(self) -> None:
        """Find out whether the server was put back behind the version that was heard of.

        Whatever is selected makes no difference to the version, and one object is read soonest.
        """
        at = (await self._page({"limit": "1"})).resource_version
        if at.isdecimal() and self._version.isdecimal() and int(at) < int(self._version):
            self._must_list = True
            raise _ListAgainError(f"the server is at version {at} only")
        self._must_ask = False

    @contextlib.asynccontextmanager
    async def _opened(self, query: dict[str, str]) -> AsyncGenerator[AsyncIterator[bytes]]:
        try:
            async with self._api.stream(self._path, query, self._silence_s) as lines:
                yield lines
        except ApiError as error:
            if error.is_expired:
                self._list_again(error)
            raise

    def _heard(self) -> None:
        self.counts.objects, self.counts.heard_at = len(self.objects), time.time()

    def _told(self, line: bytes) -> Told[O]:
        try:
            return self._decoding.event(line)
        except ApiError as error:
            self._list_again(error)

    def _list_again(self, error: ApiError) -> NoReturn:
        self._must_list = True
        raise _ListAgainError(str(error)) from error

    def _fold(self, told: Told[O]) -> tuple[Change[O], ...]:
        match told.type:
            case "DELETED":
                return self.objects.drop(told.metadata, told.object)
            case "ADDED" | "MODIFIED" if told.object is not None:
                return self.objects.put(told.object)
            case _:
                return ()
