"""A real process as tests use it: started, killed, stopped for a while, asked to end."""

from __future__ import annotations

import ctypes
import re
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

READY_TIMEOUT_S = 30.0

_libc = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1


def _die_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


@dataclass
class Program:
    """A command whose stderr goes to a new file in `logs` at each start.

    It is ended with the thread that started it, so that none is left behind a killed test run.
    """

    name: str
    command: Sequence[str]
    logs: Path
    env: Mapping[str, str] | None = None
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    _starts: int = field(default=0, init=False)

    @property
    def log(self) -> Path:
        """What it wrote to stderr since its last start."""
        return self.logs / f"{self.name}.{self._starts}.log"

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None
        return self._process.pid

    @property
    def runs(self) -> bool:
        """Whether it has been started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def launch(self) -> None:
        """Start it, without waiting for anything."""
        assert not self.runs
        self._starts += 1
        with self.log.open("wb") as stderr:
            self._process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                preexec_fn=_die_with_parent,
                env=self.env,
            )

    def line(self, pattern: str) -> re.Match[str]:
        """Wait for a line of its log that matches. Fails if it ends before."""
        return until(lambda: self._find(pattern), READY_TIMEOUT_S)

    def _find(self, pattern: str) -> re.Match[str] | None:
        text = self.log.read_text()
        found = re.search(pattern, text, re.MULTILINE)
        assert found or self.runs, f"{self.name} ended:\n{text}"
        return found

    def kill(self) -> None:
        """End it with SIGKILL."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        """Ask it to end, and return its exit code."""
        assert self._process is not None
        if self.runs:
            self._process.send_signal(signal.SIGTERM)
        return self._process.wait(30)

    def wait(self) -> int:
        """Wait for it to end by itself, and return its exit code."""
        assert self._process is not None
        return self._process.wait(30)

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)


def until(found: Callable[[], T | None], timeout_s: float, every_s: float = 0.01) -> T:
    """What `found()` returns once it is true. Fails after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while True:
        result = found()
        if result:
            return result
        assert time.monotonic() < deadline, f"{found} stayed {result!r}"
        time.sleep(every_s)
