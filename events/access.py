"""A realm's keys on disk: a seed for each user, and the list of their public halves.

    DIR/access.json        users and their public keys, and how the servers are set
    DIR/keys/engine.nk     a seed, mode 0600; it can be moved away once it was made
    DIR/nats.conf          or NAME.conf for each server of a cluster
    DIR/accounts.conf      what each of those includes: the users and what they may do

The list is what the servers' configuration is made of, so that no seed is needed to add a user.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from ipledger.events import keys, nats_config
from ipledger.events.nats_config import Servers
from ipledger.events.nats_roles import Role, User

_LIST = "access.json"
_KEYS = "keys"


class AccessError(Exception):
    """The keys or their list cannot be used as asked; the message says why."""


class Listed(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """`access.json`. Of several keys of a user the first is the newest."""

    realm: str
    users: dict[str, tuple[str, ...]] = {}
    servers: Servers = Servers()
    v: int = 1


_decode = msgspec.json.Decoder(Listed).decode


@dataclass(frozen=True, slots=True)
class Access:
    """The keys of a realm in a directory, mode 0700."""

    folder: Path

    def read(self) -> Listed | None:
        """The list, None where there is none yet. Raises `AccessError`."""
        path = self.folder / _LIST
        try:
            listed = _decode(path.read_bytes())
            _ = [User.parse(name) for name in listed.users]
        except FileNotFoundError:
            return None
        except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
            raise AccessError(f"{path}: {error}") from None
        return listed

    def seed_file(self, user: User) -> Path:
        """Where the seed of a user is, or was before it was moved away."""
        return self.folder / _KEYS / f"{user}.nk"

    def store(self, listed: Listed) -> None:
        """Store the list."""
        self._make_folders()
        _write(self.folder / _LIST, msgspec.json.format(msgspec.json.encode(listed)) + b"\n")

    def write(self, listed: Listed) -> list[Path]:
        """Store the list and the configuration that follows from it. Returns the latter's files."""
        self.store(listed)
        password = self._password() if listed.servers.cluster else ""
        files = dict(self._configuration(listed, password))
        for path, text in files.items():
            _write(path, text.encode())
        return list(files)

    def ensure(self, listed: Listed, users: Iterable[User]) -> Listed:
        """The list with these users in it; those that are new have got a seed."""
        self._make_folders()
        known = dict(listed.users)
        for user in users:
            if str(user) not in known:
                known[str(user)] = (self._new_key(user, replace=False),)
        return msgspec.structs.replace(listed, users=known)

    def rotate(self, listed: Listed, user: User) -> Listed:
        """The list with a new key of a user before its old ones. Raises `AccessError`."""
        known = self._of(listed, user)
        users = listed.users | {str(user): (self._new_key(user, replace=True), *known)}
        return msgspec.structs.replace(listed, users=users)

    def retire(self, listed: Listed, user: User) -> Listed:
        """The list with the newest key of a user alone. Raises `AccessError`."""
        users = listed.users | {str(user): self._of(listed, user)[:1]}
        return msgspec.structs.replace(listed, users=users)

    def remove(self, listed: Listed, user: User) -> Listed:
        """The list without a user, whose seed is deleted. Raises `AccessError`."""
        self._of(listed, user)
        self.seed_file(user).unlink(missing_ok=True)
        users = {name: known for name, known in listed.users.items() if name != str(user)}
        return msgspec.structs.replace(listed, users=users)

    def _of(self, listed: Listed, user: User) -> tuple[str, ...]:
        if str(user) not in listed.users:
            raise AccessError(f"{self.folder / _LIST} has no user {user}")
        return listed.users[str(user)]

    def _new_key(self, user: User, *, replace: bool) -> str:
        path = self.seed_file(user)
        if path.exists() and not replace:
            raise AccessError(f"{path} is there, but {_LIST} has no user {user}: move it away")
        seed = keys.new_seed()
        keys.write_secret(path, seed)
        return keys.public_key(seed)

    def _password(self) -> str:
        """What the servers of a cluster tell each other, kept for later."""
        path = self.folder / _KEYS / "routes.password"
        with contextlib.suppress(FileNotFoundError):
            return path.read_text().strip()
        password = secrets.token_hex(24)
        keys.write_secret(path, password.encode())
        return password

    def _configuration(self, listed: Listed, password: str) -> Iterator[tuple[Path, str]]:
        known = {User.parse(name): found for name, found in listed.users.items()}
        yield self.folder / nats_config.ACCOUNTS_FILE, nats_config.accounts(listed.realm, known)
        for name in sorted(listed.servers.cluster) or ["nats"]:
            text = nats_config.config(listed.realm, listed.servers, name)
            yield self.folder / f"{name}.conf", text
        if listed.servers.cluster:
            text = nats_config.routes(listed.servers, password)
            yield self.folder / nats_config.ROUTES_FILE, text

    def _make_folders(self) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (self.folder / _KEYS).mkdir(mode=0o700, exist_ok=True)


def everyone(nodes: Iterable[str]) -> list[User]:
    """One user for each role, and one for each node; none that speaks for all nodes."""
    alone = [User(role) for role in Role if role not in (Role.NODE, Role.AGENTS)]
    return [*alone, *(User(Role.NODE, node) for node in sorted(set(nodes)))]


def _write(path: Path, data: bytes) -> None:
    """A file is there whole or as it was, and only its owner reads it."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.unlink(missing_ok=True)
    with open(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
    unfinished.rename(path)
