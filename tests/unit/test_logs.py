"""Lines of a process's log: their shape, no secret in them, and nobody waits for them."""

from __future__ import annotations

import io
import json
import logging
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from ipledger.events.clock import parse_time
from ipledger.events.logs import FIELDS, LogSettings, logging_to, redacted, tell

_log = logging.getLogger("ipledger.test")
SEED = "SUA" + "B" * 55
TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln"


def lines(settings: LogSettings, *messages: tuple[int, str, Mapping[str, object]]) -> list[str]:
    stream = io.StringIO()
    with logging_to(stream, settings):
        for level, message, fields in messages:
            tell(_log, level, message, **fields)
    return stream.getvalue().splitlines()


def test_a_line_is_a_json_object_with_the_fields_that_are_known() -> None:
    (line,) = lines(
        LogSettings(),
        (logging.INFO, "ADD answered", {"pod": "shop/web-1", "node": "", "code": None, "epoch": 3}),
    )
    told: dict[str, Any] = json.loads(line)
    assert parse_time(told.pop("time")) > 0
    assert told == {
        "level": "info",
        "logger": "ipledger.test",
        "message": "ADD answered",
        "pod": "shop/web-1",
        "epoch": 3,
    }


def test_a_word_that_is_not_in_the_table_is_our_own_mistake() -> None:
    with pytest.raises(AssertionError, match="podname"):
        tell(_log, logging.INFO, "x", podname="web-1")


def test_text_has_the_fields_behind_the_message() -> None:
    told = (logging.WARNING, "ADD refused: no pool", {"pod": "shop/web-1", "code": 102})
    (line,) = lines(LogSettings(format="text"), told)
    assert line.endswith(" WARNING ipledger.test: ADD refused: no pool pod=shop/web-1 code=102")


@pytest.mark.parametrize(
    ("level", "kept"),
    [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)],
)
def test_lines_below_the_level_are_left_out(level: Any, kept: int) -> None:
    levels = (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR)
    assert (
        len(lines(LogSettings(level), *((one, "x", dict[str, object]()) for one in levels))) == kept
    )


@pytest.mark.parametrize("shape", ["json", "text"])
def test_an_exception_is_one_line_of_json_or_a_traceback(shape: Any) -> None:
    stream = io.StringIO()
    with logging_to(stream, LogSettings(format=shape)):
        try:
            raise ValueError("nats://me:s3cret@10.0.0.5 is away")
        except ValueError:
            _log.exception("a CNI call failed")
    text = stream.getvalue()
    assert "Traceback" in text
    assert "s3cret" not in text
    if shape == "json":
        (line,) = text.splitlines()
        assert json.loads(line)["error"].endswith("ValueError: nats://***@10.0.0.5 is away")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("at nats://a:b@h:4222,tls://c@i", "at nats://***@h:4222,tls://***@i"),
        ("http://h/v1?x=@y", "http://h/v1?x=@y"),
        ("Authorization: Bearer abc.DEF-1=", "Authorization: Bearer ***"),
        ("basic dXNlcjpwYXNz", "basic ***"),
        (f"seed {SEED}!", "seed ***!"),
        (f"token {TOKEN}", "token ***"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMII\n-----END RSA PRIVATE KEY-----\nrest", "***\nrest"),
        ("-----BEGIN PRIVATE KEY-----\nMII", "***"),
        ("pod shop/web-1 at 10.6.0.1", "pod shop/web-1 at 10.6.0.1"),
    ],
)
def test_no_secret_is_shown(text: str, shown: str) -> None:
    assert redacted(text) == shown


def test_a_reader_that_does_not_read_is_not_waited_for() -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as stream, os.fdopen(reading) as reader:
        with logging_to(stream, LogSettings(), waiting_max=100):
            for number in range(3000):
                tell(_log, logging.INFO, "x" * 100, epoch=number)
            read: list[str] = []
            thread = threading.Thread(target=lambda: read.extend(_until(reader, "the end")))
            thread.start()
            tell_until(thread)
        thread.join(30)
    told = [json.loads(line) for line in read]
    dropped = sum(line.get("dropped", 0) for line in told)
    numbers = [line["epoch"] for line in told if "epoch" in line]
    assert numbers[:100] == list(range(100)), "the first ones were kept"
    assert numbers == sorted(numbers)
    assert 100 <= len(numbers) < 3000
    assert dropped >= 3000 - len(numbers)


def tell_until(thread: threading.Thread) -> None:
    while thread.is_alive():
        tell(_log, logging.INFO, "the end")
        thread.join(0.01)


def _until(reader: io.TextIOBase, last: str) -> list[str]:
    read: list[str] = []
    for line in reader:
        read.append(line)
        if last in line:
            return read
    return read


def test_the_table_of_words_is_documented() -> None:
    text = (Path(__file__).parents[2] / "docs/reference/logs.md").read_text()
    rows = dict(
        line.strip("| \n").split(" | ", 1)
        for line in text.splitlines()
        if line.startswith("| `") and line.count("|") == 3
    )
    words = {word.strip("`"): meaning.rstrip(" |") for word, meaning in rows.items()}
    assert {word: words.get(word) for word in FIELDS} == dict(FIELDS)
