"""Where a process is asked how it is: the address of `/healthz` and `/metrics`."""

from __future__ import annotations

from typing import NamedTuple

_LOOPBACK = "127.0.0.1"
_PORT_MAX = 65535


class Listen(NamedTuple):
    """A host and a port to listen on; port 0 picks a free one."""

    host: str = _LOOPBACK
    port: int = 0

    def url(self, port: int) -> str:
        """How the server is reached that was given this port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{port}"


def parse_listen(text: str) -> Listen:
    """`PORT`, on loopback, or `HOST:PORT`. Raises `ValueError` that quotes what is wrong.

    >>> parse_listen("9474"), parse_listen("0.0.0.0:9474")
    (Listen(host='127.0.0.1', port=9474), Listen(host='0.0.0.0', port=9474))

    An IPv6 address may go without its brackets, as Kubernetes gives it: the last part is the port.

    >>> parse_listen("[fd00::1]:9474") == parse_listen("fd00::1:9474") == Listen("fd00::1", 9474)
    True
    """
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") if colon else _LOOPBACK
    if not host or not port.isascii() or not port.isdecimal() or int(port) > _PORT_MAX:
        raise ValueError(f"{text!r} is neither PORT nor HOST:PORT")
    return Listen(host, int(port))
