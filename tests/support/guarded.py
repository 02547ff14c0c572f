"""A real nats-server with accounts, and connections to it as each of its users."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from nats.aio.client import Client as NatsClient

from ipledger.events import nats_config
from ipledger.events.access import Access, Listed, everyone
from ipledger.events.embedded import EmbeddedServer
from ipledger.events.nats_roles import Role, User
from support.keys import connect, public_key

NODES = ("worker-1", "worker.2")


@dataclass
class Guarded:
    """The server, and what its users were denied."""

    access: Access
    server: EmbeddedServer
    realm: str
    denied: list[str] = field(default_factory=list[str])
    clients: list[NatsClient] = field(default_factory=list[NatsClient])

    async def connect(self, user: str) -> NatsClient:
        """A client; what the server denies it is noted in `denied`."""

        async def on_error(error: Exception) -> None:
            self.denied.append(str(error))

        made = await connect(self.server.url, self.key(user), error_cb=on_error)
        self.clients.append(made)
        return made

    def key(self, user: str) -> Path:
        """The file of a user's seed."""
        return self.access.seed_file(User.parse(user))

    def public_key(self, user: str) -> str:
        """The public half of a user's key."""
        return public_key(self.key(user))


@asynccontextmanager
async def guarded(folder: Path, realm: str) -> AsyncGenerator[Guarded]:
    """The server of a realm; its clients are closed behind the test."""
    access = Access(folder / "access")
    listed = access.ensure(Listed(realm), [*everyone(NODES), User(Role.AGENTS)])
    access.store(listed)
    keys = {User.parse(name): known for name, known in listed.users.items()}
    accounts = nats_config.accounts(realm, keys)
    server = EmbeddedServer(folder / "server", accounts=accounts)
    await server.start()
    made = Guarded(access, server, realm)
    try:
        yield made
    finally:
        for client in made.clients:
            await client.close()
        await server.stop()
