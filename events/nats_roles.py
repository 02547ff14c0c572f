"""Who may do what on the NATS servers of a realm: roles, their permissions, accounts.

A role's account decides what its subjects can reach, its permissions which of them it may use.
Accounts are needed beside permissions because nats-server does not ask whether a client may publish
where it wants its answers: in one account, whoever may read a stream can have the answer appended
to it (ADR 90). docs/threat-model.md has all of this as a table, which the matrix test holds to the
real server.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ipledger.events import names

NODE_VERBS = ("allocate", "release", "retain", "confirm", "show")
"""What an agent says for its node."""


class Role(StrEnum):
    """What a user of the servers is for."""

    ENGINE = "engine"
    RESTORE = "restore"
    NODE = "node"
    AGENTS = "agents"
    """Any node's agent, where nodes have no keys of their own (ADR 99)."""
    CONTROLLER = "controller"
    WEBHOOK = "webhook"
    ADMIN = "admin"
    AUDITOR = "auditor"


class Account(StrEnum):
    """A part of the servers whose subjects no other part sees, but for what is exported."""

    LOG = "IPLEDGER"
    NODES = "IPLEDGER_NODES"
    CLIENTS = "IPLEDGER_CLIENTS"


ACCOUNTS: dict[Role, Account] = {
    Role.ENGINE: Account.LOG,
    Role.RESTORE: Account.LOG,
    Role.NODE: Account.NODES,
    Role.AGENTS: Account.NODES,
    Role.CONTROLLER: Account.CLIENTS,
    Role.WEBHOOK: Account.CLIENTS,
    Role.ADMIN: Account.CLIENTS,
    Role.AUDITOR: Account.CLIENTS,
}


@dataclass(frozen=True, order=True, slots=True)
class User:
    """One user of the servers; of the role `node` there is one for each node."""

    role: Role
    node: str = ""

    def __post_init__(self) -> None:
        assert bool(self.node) == (self.role is Role.NODE)

    def __str__(self) -> str:
        return f"node-{self.node}" if self.node else str(self.role)

    @classmethod
    def parse(cls, text: str) -> User:
        """A user from its name. Raises `ValueError`.

        >>> User.parse("node-worker-1")
        User(role=<Role.NODE: 'node'>, node='worker-1')
        """
        if text.startswith("node-"):
            return cls(Role.NODE, names.check_node(text.removeprefix("node-")))
        if text == Role.NODE or text not in set(Role):
            roles = ", ".join(role for role in Role if role is not Role.NODE)
            raise ValueError(f"user {text!r}: write node-NAME or one of {roles}")
        return cls(Role(text))


@dataclass(frozen=True, slots=True)
class Permissions:
    """The subjects that a user may publish on and subscribe to; nothing else."""

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Service:
    """Subjects of the log's account that another one may ask, and no more than ask.

    `many` where a question has several answers.
    """

    subject: str
    importer: Account
    many: bool = False


def permissions(user: User, realm: str, public_key: str) -> Permissions:
    """What a user with this key may do."""
    publish, subscribe = _SUBJECTS[user.role](realm, user)
    return Permissions(publish, (*subscribe, f"{names.inbox(public_key)}.>"))


def services(realm: str) -> tuple[Service, ...]:
    """What the account of the log exports."""
    return (
        *(Service(f"ipledger.{realm}.cmd.node.*.{verb}", Account.NODES) for verb in NODE_VERBS),
        Service(names.admin_command(realm, "*"), Account.CLIENTS),
        Service(names.query(realm, "*"), Account.CLIENTS, many=True),
        Service(names.direct_get(names.stream(realm)), Account.CLIENTS, many=True),
        Service(names.direct_get(names.snapshots_stream(realm)), Account.CLIENTS, many=True),
    )


def _engine(realm: str, user: User) -> tuple[tuple[str, ...], tuple[str, ...]]:
    log, bucket = names.stream(realm), names.snapshots(realm)
    snapshots = names.snapshots_stream(realm)
    publish = (
        names.log_subject(realm),
        names.leader(realm),
        f"{names.ANSWERS_ACROSS_ACCOUNTS}>",
        f"$JS.API.STREAM.CREATE.{log}",
        f"$JS.API.STREAM.INFO.{log}",
        f"$JS.API.STREAM.MSG.GET.{log}",
        f"$JS.API.CONSUMER.CREATE.{log}.>",
        f"$JS.API.CONSUMER.INFO.{log}.*",
        f"$JS.API.CONSUMER.MSG.NEXT.{log}.*",
        f"$JS.API.STREAM.CREATE.{snapshots}",
        f"$JS.API.STREAM.INFO.{snapshots}",
        f"$JS.API.STREAM.MSG.GET.{snapshots}",
        f"$JS.API.STREAM.PURGE.{snapshots}",
        names.direct_get(snapshots),
        f"$O.{bucket}.>",
    )
    subscribe = (
        f"ipledger.{realm}.cmd.>",
        names.query(realm, "*"),
        names.leader(realm),
    )
    return publish, subscribe


def _restore(realm: str, user: User) -> tuple[tuple[str, ...], tuple[str, ...]]:
    log = names.stream(realm)
    api = [f"$JS.API.STREAM.{verb}.{log}" for verb in ("CREATE", "UPDATE", "DELETE", "INFO")]
    reads = [f"$JS.API.STREAM.MSG.GET.{log}", f"$JS.API.CONSUMER.CREATE.{log}.>"]
    reads += [f"$JS.API.CONSUMER.INFO.{log}.*", f"$JS.API.CONSUMER.MSG.NEXT.{log}.*"]
    # It asks whether an engine runs, which may not answer it here, and is heard all the same.
    return (names.restore_subject(realm), names.query(realm, "status"), *api, *reads), ()


def _node(realm: str, user: User) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return tuple(names.node_command(realm, user.node, verb) for verb in NODE_VERBS), ()


def _agents(realm: str, user: User) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return tuple(names.node_command(realm, "*", verb) for verb in NODE_VERBS), ()


def _controller(realm: str, user: User) -> tuple[tuple[str, ...], tuple[str, ...]]:
    publish = (
        names.admin_command(realm, "*"),
        names.query(realm, "*"),
        names.direct_get(names.stream(realm)),
        names.direct_get(names.snapshots_stream(realm)),
    )
    return publish, ()


def _webhook(realm: str, user: User) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return (names.query(realm, "check"),), ()


def _auditor(realm: str, user: User) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return (names.query(realm, "*"), names.direct_get(names.stream(realm))), ()


_SUBJECTS = {
    Role.ENGINE: _engine,
    Role.RESTORE: _restore,
    Role.NODE: _node,
    Role.AGENTS: _agents,
    Role.CONTROLLER: _controller,
    Role.WEBHOOK: _webhook,
    Role.ADMIN: _controller,
    Role.AUDITOR: _auditor,
}
