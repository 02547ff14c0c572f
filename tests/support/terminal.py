"""The command line as tests use it: in this process, against a real engine whose clock is ours."""

from __future__ import annotations

import asyncio
import contextlib
import io
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ipledger.cli.app import run
from ipledger.events.clock import parse_time

_SIGNATURE = re.compile(r"[A-Za-z0-9+/]{86,91}={1,2}")
"""What a key signed; it depends on the realm, of which each test has its own."""

MANIFESTS = Path(__file__).parents[1] / "cli" / "manifests"


@dataclass(frozen=True)
class Result:
    """What a command left behind."""

    stdout: str
    stderr: str
    code: int


@dataclass
class Clock:
    """The engine's clock, in microseconds since the Unix epoch."""

    now: int = field(default_factory=lambda: parse_time("2026-11-22T21:00:00Z"))

    def __call__(self) -> int:
        return self.now

    def pass_seconds(self, seconds: int) -> None:
        self.now += seconds * 1_000_000


@dataclass
class Cli:
    """Runs commands in this process, on a thread of their own since each has its own loop."""

    url: str
    realm: str
    files: Path
    """A directory that commands name as FILES."""

    async def __call__(self, *arguments: str, stdin: str = "") -> Result:
        return await asyncio.to_thread(self._run, arguments, stdin)

    def _run(self, arguments: tuple[str, ...], stdin: str) -> Result:
        stdout, stderr = io.StringIO(), io.StringIO()
        with (
            contextlib.redirect_stdout(stdout),
            contextlib.redirect_stderr(stderr),
            pytest.MonkeyPatch.context() as patch,
        ):
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
            code = run([word.replace("FILES", str(self.files)) for word in arguments])
        return Result(self._stable(stdout.getvalue()), self._stable(stderr.getvalue()), code)

    def _stable(self, text: str) -> str:
        text = text.replace(str(self.files), "FILES")  # first: a realm's name may be part of it
        text = text.replace(self.url, "NATS-URL").replace(self.realm, "REALM")
        return _SIGNATURE.sub("SIGNATURE", text)
