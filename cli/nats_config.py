"""`ipledger nats-config`: NATS servers on which everybody may do what their role needs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from cyclopts.validators import Number

from ipledger.cli.errors import CliError, UsageError
from ipledger.cli.output import Output, field, note, print_rows

if TYPE_CHECKING:
    import msgspec

    from ipledger.events.access import Access, Listed
    from ipledger.events.nats_config import Servers
    from ipledger.events.nats_roles import User

_COLUMNS = (
    field("USER"),
    field("KEY"),
    field("OLD KEYS"),
    field("CHANGE"),
    field("SEED"),
)
_Port = Annotated[int | None, Parameter(validator=Number(gte=1, lte=65535), show_default=False)]


def nats_config(
    folder: Path,
    /,
    *,
    realm: str = "",
    node: tuple[str, ...] = (),
    nodes: Path | None = None,
    agents: bool = False,
    rotate: tuple[str, ...] = (),
    retire: tuple[str, ...] = (),
    remove: tuple[str, ...] = (),
    host: str = "",
    port: _Port = None,
    store_dir: str = "",
    server: tuple[str, ...] = (),
    cluster_port: _Port = None,
    tls_cert: str = "",
    tls_key: str = "",
    tls_ca: str = "",
    mutual: bool = False,
    output: Output = "table",
) -> None:
    """Write the configuration of a realm's NATS servers, and a key for each of their users.

    There is a user for each role (engine, restore, controller, webhook, admin, auditor) and one
    for each node. Seeds are in FOLDER/keys, readable by you alone; give each to whom it is for. A
    key that is there stays, and so do users and settings that are not named: run it again to add a
    node. The servers take a new configuration by `nats-server --signal reload=PID`, or SIGHUP.

    Parameters
    ----------
    folder
        The directory of the keys and the configuration; made if it is not there.
    realm
        The realm; `default` if none is given the first time.
    node
        A node that gets a key; can be given several times.
    nodes
        A file with the names of nodes, one a line.
    agents
        A key with which an agent speaks for any node, where nodes have none of their own.
    rotate
        A user (`engine`, `node-worker-1`) that gets a new key; the old one is accepted too.
    retire
        A user whose old keys are accepted no more.
    remove
        A user that is accepted no more at all; its seed is deleted.
    host
        The address that the servers listen on; all if none is given.
    port
        The port for clients; 4222 if none is given.
    store_dir
        Where a server keeps the log; /var/lib/nats if not given.
    server
        A server of a cluster and its host, `NAME=HOST`; can be given several times. Each gets a
        file of its own.
    cluster_port
        The port for each other; 6222 if none is given.
    tls_cert
        The server's certificate, a path on its machine.
    tls_key
        The certificate's private key, a path on the server's machine.
    tls_ca
        The authorities of clients and of the other servers, a path on the server's machine.
    mutual
        Clients need a certificate, beside their key.
    """
    import msgspec

    from ipledger.events import names
    from ipledger.events.access import Access, AccessError, Listed, everyone
    from ipledger.events.nats_roles import Role, User

    try:
        access = Access(folder)
        before = access.read() or Listed(names.check_realm(realm or names.REALM_DEFAULT))
        if realm not in ("", before.realm):
            raise CliError(f"--realm: {folder} is of realm {before.realm!r}, not {realm!r}")
        settings = _changed(
            before.servers,
            given=_given(
                {"host": host, "port": port, "store_dir": store_dir, "cluster_port": cluster_port}
            ),
            server=server,
            tls=_given({"cert": tls_cert, "key": tls_key, "ca": tls_ca, "mutual": mutual}),
        )
        listed = msgspec.structs.replace(before, servers=settings)
        users = everyone(map(names.check_node, [*node, *_lines(nodes)]))
        listed = access.ensure(listed, [*users, *([User(Role.AGENTS)] if agents else [])])
        for user in map(_user, rotate):
            listed = access.rotate(listed, user)
        for user in map(_user, retire):
            listed = access.retire(listed, user)
        for user in map(_user, remove):
            listed = access.remove(listed, user)
        written = access.write(listed)
    except ValueError as error:
        raise UsageError(str(error)) from None
    except AccessError as error:
        raise CliError(str(error)) from error
    for path in written:
        note(f"written {path}")
    print_rows(_rows(access, before, listed), _COLUMNS, output)


def _rows(access: Access, before: Listed, after: Listed) -> Sequence[msgspec.Struct]:
    """Each user, its keys, where its seed is, and what has changed."""
    import msgspec

    class UserRow(msgspec.Struct, rename="camel"):
        user: str
        key: str
        old_keys: int
        change: str
        seed: str

    return [
        UserRow(name, keys[0], len(keys) - 1, _change(before.users.get(name), keys), seed)
        for name, keys in sorted(after.users.items())
        for seed in [str(access.seed_file(_user(name)))]
    ]


def _change(before: tuple[str, ...] | None, after: tuple[str, ...]) -> str:
    if before is None:
        return "new"
    if after == before:
        return "kept"
    return "rotated" if len(after) > len(before) else "retired"


def _changed(
    servers: Servers, *, given: dict[str, Any], server: tuple[str, ...], tls: dict[str, Any]
) -> Servers:
    """The settings with what was given in the place of what was known."""
    import msgspec

    from ipledger.events.nats_config import Tls

    changes = dict(given)
    if server:
        changes["cluster"] = dict(map(_server, server))
    if tls:
        known: dict[str, Any] = msgspec.structs.asdict(servers.tls) if servers.tls else {}
        if not {"cert", "key"} <= {**known, **tls}.keys():
            raise UsageError("--tls-cert and --tls-key: both are needed for TLS")
        changes["tls"] = Tls(**{**known, **tls})
        if changes["tls"].mutual and not changes["tls"].ca:
            raise UsageError("--tls-ca: needed for --mutual, to know the clients by")
    return msgspec.structs.replace(servers, **changes)


def _given(options: dict[str, object]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value}


def _server(text: str) -> tuple[str, str]:
    import re

    name, _, host = text.partition("=")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9-]{0,62}", name) or not re.fullmatch(
        r"[A-Za-z0-9.:\[\]-]+", host
    ):
        raise UsageError(f"--server: {text!r} is not NAME=HOST")
    return name, host


def _lines(path: Path | None) -> list[str]:
    if path is None:
        return []
    try:
        return path.read_text().split()
    except OSError as error:
        raise UsageError(f"--nodes: {path}: {error.strerror}") from None


def _user(name: str) -> User:
    from ipledger.events.nats_roles import User

    return User.parse(name)
