"""Programs that run until they are stopped."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from support.program import until

PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
STOP_TIMEOUT_S = 20.0


@dataclass(slots=True)
class Daemon:
    """One program. `enter` is the command that leads into its namespaces, if any.

    Its output goes to `log`, from the first start to the last.
    """

    name: str
    command: Sequence[str]
    log: Path
    enter: Sequence[str] = ()
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def pid(self) -> int:
        """The process id."""
        assert self._process is not None, f"{self.name} was not started"
        return self._process.pid

    def start(self) -> None:
        """Start it; call `wait_for` to know when it serves."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*self.enter, *self.command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={"PATH": PATH, "HOME": str(self.log.parent)},
            )

    def wait_for(self, ready: Callable[[], bool], timeout_s: float = 60.0) -> None:
        """Wait until `ready()`. Fails with its log if it ends before."""

        def check() -> bool:
            assert self._process is not None
            assert self._process.poll() is None, f"{self.name} ended:\n{self.tail()}"
            return ready()

        until(check, timeout_s)

    def stop(self) -> None:
        """Ask it to end, and wait until it has."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """End it with SIGKILL; what it started lives on."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def tail(self, lines: int = 30) -> str:
        """The last lines of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


def run(*command: str, input_text: str | None = None) -> str:
    """Run a command to its end and return its stdout. Fails with all it printed."""
    done = subprocess.run(command, input=input_text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
    return done.stdout
