"""Logs of a process: one JSON object a line, or text, written by a thread of its own.

What a line may have beside its message is named here, and nowhere else by another word
(docs/reference/logs.md). No secret gets into a line: neither a URL's password, nor a token, a key
or a credential. The event loop never waits for whoever reads the lines; what the queue does not
hold is dropped, and counted in a later line.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import re
import sys
import threading
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TextIO, TypeAlias

import msgspec

from ipledger.events.clock import format_time

Level: TypeAlias = Literal["debug", "info", "warning", "error"]
Format: TypeAlias = Literal["json", "text"]

FIELDS: Final[Mapping[str, str]] = {
    "command": "what was asked: ADD, DEL, … of a runtime, allocate, apply-pool, … of the engine",
    "pod": "the pod, as namespace/name",
    "node": "the node",
    "sandbox": "the CNI container id",
    "interface": "the interface in the pod",
    "name": "the pool, subnet, reservation or application",
    "allocation": "the allocation; several are separated by commas",
    "addresses": "its addresses with prefix lengths, separated by commas",
    "outcome": "what became of it, where that is more than done or refused",
    "reason": "the refusal, the verdict of the collector, or why something has to wait",
    "code": "the CNI error code",
    "position": "the position in the realm's log at which this is true",
    "epoch": "the epoch of the leader",
    "realm": "the realm",
    "trace_id": "the trace, 32 hexadecimal digits",
    "duration_ms": "how long it took, in milliseconds",
    "dropped": "how many lines could not be written",
}
"""The words for what a line has beside time, level, logger, message and error."""

WAITING_MAX = 10_000
_END_S = 2.0
_SECRETS = (
    (re.compile(r"(?<=://)[^/@\s\"']+(?=@)"), "***"),  # user and password of a URL
    (re.compile(r"(?i)\b((?:bearer|basic)\s+)[\w\-.~+/]+=*"), r"\1***"),
    (re.compile(r"\beyJ[\w\-]+\.[\w\-]+(?:\.[\w\-]+)?"), "***"),  # a JSON web token
    (re.compile(r"\bS[UANOCX][A-Z2-7]{56}\b"), "***"),  # the seed of a NATS key
    (re.compile(r"(?is)-----BEGIN ([A-Z ]*KEY)-----.*?(-----END \1-----|$)"), "***"),
)
_TEXT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def tell(log: logging.Logger, level: int, message: str, **fields: object) -> None:
    """Write a line with fields; empty ones are left out. The caller has asked `isEnabledFor`."""
    assert fields.keys() <= FIELDS.keys(), fields.keys() - FIELDS.keys()
    known = {word: value for word, value in fields.items() if value not in ("", None)}
    log.log(level, "%s", message, extra={"fields": known})


def redacted(text: str) -> str:
    """The text without secrets.

    >>> redacted("cannot connect to nats://me:s3cret@10.0.0.5:4222")
    'cannot connect to nats://***@10.0.0.5:4222'
    """
    for pattern, instead in _SECRETS:
        text = pattern.sub(instead, text)
    return text


@dataclass(frozen=True, slots=True)
class LogSettings:
    """What is written and how; by default, text to a terminal and JSON to everything else."""

    level: Level = "info"
    format: Format | None = None


DEFAULT_LOGS = LogSettings()


@contextlib.contextmanager
def logging_to(
    stream: TextIO, settings: LogSettings, waiting_max: int = WAITING_MAX
) -> Generator[None]:
    """All that is logged in the body goes to the stream, in the end within `_END_S` at most.

    `waiting_max` is how many lines may wait to be written.
    """
    shape = settings.format or ("text" if stream.isatty() else "json")
    formatter = TextLines() if shape == "text" else JsonLines()
    writer = _Writer(stream, formatter, waiting_max)
    root, handler = logging.getLogger(), _Handler(writer)
    level = root.level
    root.addHandler(handler)
    root.setLevel(settings.level.upper())
    writer.start()
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
        writer.end()


class JsonLines(logging.Formatter):
    """A record as one JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter.format`."""
        line: dict[str, Any] = {
            "time": format_time(round(record.created * 1e6)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": redacted(record.getMessage()),
        }
        for word, value in getattr(record, "fields", {}).items():
            line[word] = redacted(value) if isinstance(value, str) else value
        if record.exc_text:
            line["error"] = redacted(record.exc_text)
        return msgspec.json.encode(line).decode()


class TextLines(logging.Formatter):
    """A record as text, with its fields as `word=value` behind the message."""

    def __init__(self) -> None:
        super().__init__(_TEXT)

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter.format`."""
        fields = getattr(record, "fields", {})
        told = "".join(f" {word}={value}" for word, value in fields.items())
        first, *rest = super().format(record).split("\n", 1)
        return redacted("\n".join([f"{first}{told}", *rest]))


class _Handler(logging.Handler):
    """Hands records on to the writer, their text made: what it is made of may change."""

    def __init__(self, writer: _Writer) -> None:
        super().__init__()
        self._writer = writer
        self._tracebacks = logging.Formatter()

    def emit(self, record: logging.LogRecord) -> None:
        record.msg, record.args = record.getMessage(), None
        if record.exc_info and not record.exc_text:
            record.exc_text = self._tracebacks.formatException(record.exc_info)
        record.exc_info = None
        self._writer.put(record)


class _Writer(threading.Thread):
    """Writes lines. Nobody waits for it, and it does not keep the process alive."""

    def __init__(self, stream: TextIO, formatter: logging.Formatter, waiting_max: int) -> None:
        super().__init__(name="logs", daemon=True)
        self._stream = stream
        self._formatter = formatter
        self._queue: queue.Queue[logging.LogRecord | None] = queue.Queue(waiting_max)
        self._dropped = 0

    def put(self, record: logging.LogRecord) -> None:
        """Have a record written, if there is room."""
        try:
            self._queue.put_nowait(record)
        except queue.Full:
            self._dropped += 1

    def end(self) -> None:
        """Write what waits, but do not wait long for it."""
        with contextlib.suppress(queue.Full):
            self._queue.put_nowait(None)
            self.join(_END_S)

    def run(self) -> None:
        """Write until the end."""
        while (record := self._queue.get()) is not None:
            self._write(record)
            dropped, self._dropped = self._dropped, 0
            if dropped:
                self._write(_of_dropped(dropped))

    def _write(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(OSError, ValueError):  # nobody reads any more
            self._stream.write(self._formatter.format(record) + "\n")
            self._stream.flush()


def _of_dropped(count: int) -> logging.LogRecord:
    message = f"{count} lines were dropped: they were written faster than read"
    record = logging.LogRecord(__name__, logging.WARNING, "", 0, message, None, None)
    record.fields = {"dropped": count}
    return record


def to_stderr(settings: LogSettings) -> contextlib.AbstractContextManager[None]:
    """`logging_to` the standard error of this process."""
    return logging_to(sys.stderr, settings)
