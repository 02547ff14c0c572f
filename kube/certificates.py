"""A server's certificate that may be renewed while it runs.

The files are looked at in each handshake (two `stat` calls), so that no time passes between a
renewal and its use, and nothing needs to be told. A pair that does not fit together, as while it
is being written, is not used; the one before it serves on.
"""

from __future__ import annotations

import logging
import ssl
from pathlib import Path
from typing import TypeAlias

_log = logging.getLogger(__name__)

_Stamp: TypeAlias = tuple[tuple[int, int, int], ...]


class Certificates:
    """A certificate chain and its key, in PEM files. Raises `OSError` (also `ssl.SSLError`)."""

    def __init__(self, chain: Path, key: Path) -> None:
        self._files = chain, key
        self._tried = self._stamp()
        self._current = self._load()
        self.context = self._load()
        self.context.sni_callback = self._choose  # called in every handshake, name or not

    def _choose(self, connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        self._renew()
        connection.context = self._current

    def _renew(self) -> None:
        try:
            stamp = self._stamp()
            if stamp == self._tried:
                return
            self._tried = stamp
            self._current = self._load()
        except OSError as error:
            _log.error("the certificate in %s cannot be used: %s", self._files[0], error)
        else:
            _log.info("the certificate in %s is used from now on", self._files[0])

    def _load(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(*self._files)
        return context

    def _stamp(self) -> _Stamp:
        """What is another once the files are; a secret of Kubernetes is renewed by a link."""
        seen = [path.stat() for path in self._files]
        return tuple((one.st_ino, one.st_mtime_ns, one.st_size) for one in seen)
