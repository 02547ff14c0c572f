"""The keys of everything that one machine runs itself, in its data directory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from ipledger.events import nats_config
from ipledger.events.access import Access, Listed, everyone
from ipledger.events.nats_roles import Role, User


@dataclass(frozen=True, slots=True)
class OwnAccess:
    """Keys in `DATA/access`, made when they are first needed. Raises `AccessError`."""

    data: Path
    realm: str

    def accounts(self, node: str | None) -> str:
        """The accounts of the embedded server, in which of all nodes only this one has a user.

        None is the node that was served last.
        """
        access = self._access
        listed = access.read() or Listed(self.realm)
        known = [User.parse(name) for name in listed.users]
        nodes = [user.node for user in known if user.node] if node is None else [node]
        for user in known:
            if user.node and user.node not in nodes:
                listed = access.remove(listed, user)
        listed = access.ensure(msgspec.structs.replace(listed, realm=self.realm), everyone(nodes))
        access.store(listed)
        keys = {User.parse(name): found for name, found in listed.users.items()}
        return nats_config.accounts(self.realm, keys)

    def seed_file(self, role: Role, node: str = "") -> Path:
        """The seed of a role."""
        return self._access.seed_file(User(role, node))

    @property
    def _access(self) -> Access:
        return Access(self.data / "access")
