"""Who a command is to the NATS servers, and how it knows that they are the ones meant."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from ipledger.cli.errors import UsageError

if TYPE_CHECKING:
    import ssl

_SEED = re.compile(rb"\bSU[A-Z2-7]{56}\b")
_PORT = 4222


class Server(Protocol):
    """What was said of the servers on the command line."""

    @property
    def urls(self) -> list[str]:
        """Where they are."""
        ...

    @property
    def creds(self) -> Path | None:
        """A file with a JWT and the seed of its key."""
        ...

    @property
    def nkey(self) -> Path | None:
        """A file with the seed of a key."""
        ...

    @property
    def tls_ca(self) -> Path | None:
        """Who may have signed the servers' certificates."""
        ...

    @property
    def tls_cert(self) -> Path | None:
        """One's own certificate."""
        ...

    @property
    def tls_key(self) -> Path | None:
        """Its private key."""
        ...


def nats_options(server: Server) -> dict[str, Any]:
    """What nats-py is told of a server beside its URLs. Raises `UsageError`."""
    key = key_file(server)
    options: dict[str, Any] = {}
    if key is not None:
        from ipledger.events.names import inbox

        options["inbox_prefix"] = inbox(public_key(key))
        if server.creds:
            options["user_credentials"] = str(key)
        else:
            options["nkeys_seed_str"] = seed_in(key).decode()
    context = _tls(server)
    if context is not None:
        options["tls"] = context
    return options


def whose(server: Server) -> str:
    """Who one is to the servers, for messages; never the secret."""
    key = key_file(server)
    if key is None:
        return "without a key; give one with --nkey or --creds"
    return f"with key {public_key(key)} of {key}"


def key_file(server: Server) -> Path | None:
    """The file with the seed of one's key: the one given, else that of a server of one's own."""
    if server.creds is not None or server.nkey is not None:
        return server.creds or server.nkey
    found = (_own_key(url) for url in server.urls)
    return next((path for path in found if path.is_file()), None)


def public_key(path: Path) -> str:
    """The public half of the key in a file. Raises `UsageError`."""
    from ipledger.events import keys

    try:
        return keys.public_key(seed_in(path))
    except keys.KeyFormatError as error:
        raise UsageError(f"key file '{path}': {error}") from None


def seed_in(path: Path) -> bytes:
    """The seed of the key in a file. Raises `UsageError`."""
    try:
        seed = _SEED.search(path.read_bytes())
    except OSError as error:
        raise UsageError(f"key file '{path}': {error.strerror}") from None
    if seed is None:
        raise UsageError(f"key file '{path}' has no seed of a NATS user (SU…) in it")
    return seed[0]


def remember_own(url: str, key: Path) -> None:
    """Have commands of this user find the key of a server that it runs. Raises `OSError`."""
    link = _own_key(url)
    link.parent.mkdir(parents=True, exist_ok=True)
    link.parent.chmod(0o700)
    fresh = link.with_name(f".{link.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(key.absolute())
    fresh.rename(link)


def forget_own(url: str) -> None:
    """Undo `remember_own`. Raises `OSError`."""
    _own_key(url).unlink(missing_ok=True)


def _own_key(url: str) -> Path:
    base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    place = urlsplit(url if "://" in url else f"nats://{url}")
    try:
        address = f"{place.hostname}:{place.port or _PORT}"
    except ValueError:  # a port that is none; connecting says so
        address = "none"
    return Path(base) / "ipledger" / "keys" / f"{address}.nk"


def _tls(server: Server) -> ssl.SSLContext | None:
    """What a connection is encrypted with; None where nothing was said of it."""
    is_meant = server.tls_ca or server.tls_cert
    if not is_meant and not any(url.startswith("tls://") for url in server.urls):
        return None
    import ssl

    try:
        context = ssl.create_default_context(cafile=server.tls_ca)
        if server.tls_cert is not None:
            context.load_cert_chain(server.tls_cert, server.tls_key)
    except (ssl.SSLError, OSError) as error:
        raise UsageError(f"--tls-ca, --tls-cert, --tls-key: {error}") from None
    return context
