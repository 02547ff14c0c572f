"""The configuration of the nats-servers of a realm, as text; the same text for the same input.

It holds public keys alone. A server's own file includes two beside it: the accounts, which are the
same for all servers, and what servers must keep to themselves, the password of their routes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from ipledger.events.nats_roles import ACCOUNTS, Account, User, permissions, services

ACCOUNTS_FILE = "accounts.conf"
ROUTES_FILE = "routes.conf"
_ANSWER_WITHIN = "5s"  # longer than a client waits for it (engine/client.py)
_ANSWERS_WITHIN = "1m"

Keys = Mapping[User, tuple[str, ...]]
"""The public keys of each user: more than one while a key is changed."""


class Tls(msgspec.Struct, frozen=True, omit_defaults=True):
    """Files of a server's TLS. With `mutual`, clients show a certificate of the authority too."""

    cert: str
    key: str
    ca: str = ""
    mutual: bool = False


class Servers(msgspec.Struct, frozen=True, omit_defaults=True):
    """How the servers of a realm listen and where they keep the log.

    `cluster` has the host of each by its name; without it there is one server.
    """

    host: str = "0.0.0.0"
    port: int = 4222
    store_dir: str = "/var/lib/nats"
    cluster: dict[str, str] = {}
    cluster_port: int = 6222
    tls: Tls | None = None


def config(realm: str, servers: Servers, name: str) -> str:
    """The configuration of the server of this name."""
    return "\n".join(_lines(realm, servers, name)) + "\n"


def _lines(realm: str, servers: Servers, name: str) -> Iterator[str]:
    yield _written(realm)
    yield f"server_name: {_q(name)}"
    yield f"listen: {_q(f'{servers.host}:{servers.port}')}"
    if servers.tls is not None:
        yield from _tls(servers.tls, verify=servers.tls.mutual)
    yield "jetstream {"
    yield f"  store_dir: {_q(servers.store_dir)}"
    yield "  # Without this an acknowledged commit can be lost with the machine."
    yield "  sync_interval: always"
    yield "}"
    if servers.cluster:
        yield from _cluster(servers)
    yield f"include {_q(ACCOUNTS_FILE)}"


def accounts(realm: str, keys: Keys) -> str:
    """The accounts with their users."""
    return "\n".join(_accounts(realm, keys)) + "\n"


def _written(realm: str) -> str:
    return f"# Written by `ipledger nats-config` for realm {realm}; changes here are lost."


def _accounts(realm: str, keys: Keys) -> Iterator[str]:
    yield _written(realm)
    yield "accounts {"
    for account in Account:
        yield f"  {account} {{"
        if account is Account.LOG:
            yield "    jetstream: enabled"
            yield from _exports(realm)
        else:
            yield from _imports(realm, account)
        yield "    users: ["
        for user in sorted(user for user in keys if ACCOUNTS[user.role] is account):
            for key in keys[user]:
                yield from _user(realm, user, key)
        yield "    ]"
        yield "  }"
    yield "}"


def _exports(realm: str) -> Iterator[str]:
    yield "    exports: ["
    for service in services(realm):
        within = _ANSWERS_WITHIN if service.many else _ANSWER_WITHIN
        answers = f"response_type: {'stream' if service.many else 'singleton'}"
        answers += f", response_threshold: {_q(within)}"
        importer = f"accounts: [{service.importer}]"
        yield f"      {{service: {_q(service.subject)}, {importer}, {answers}}}"
    yield "    ]"


def _imports(realm: str, account: Account) -> Iterator[str]:
    yield "    imports: ["
    for service in services(realm):
        if service.importer is account:
            subject = f"account: {Account.LOG}, subject: {_q(service.subject)}"
            yield f"      {{service: {{{subject}}}}}"
    yield "    ]"


def _user(realm: str, user: User, key: str) -> Iterator[str]:
    may = permissions(user, realm, key)
    yield f"      # {user}"
    yield f"      {{nkey: {key}, permissions: {{"
    yield f"        publish: [{_list(may.publish)}]"
    yield f"        subscribe: [{_list(may.subscribe)}]"
    yield "      }}"


def _tls(tls: Tls, *, verify: bool) -> Iterator[str]:
    yield "tls {"
    yield f"  cert_file: {_q(tls.cert)}"
    yield f"  key_file: {_q(tls.key)}"
    if tls.ca:
        yield f"  ca_file: {_q(tls.ca)}"
    if verify:
        yield "  verify: true"
    yield "}"


def _cluster(servers: Servers) -> Iterator[str]:
    """Routes are mutually authenticated by certificates where there are some, and by a password."""
    yield "cluster {"
    yield "  name: ipledger"
    yield f"  listen: {_q(f'{servers.host}:{servers.cluster_port}')}"
    if servers.tls is not None:
        yield from (f"  {line}" for line in _tls(servers.tls, verify=bool(servers.tls.ca)))
    yield f"  include {_q(ROUTES_FILE)}"
    yield "}"


def routes(servers: Servers, password: str) -> str:
    """What the servers of a cluster know of each other, and nobody else does."""
    user = f"user: ipledger, password: {_q(password)}"
    urls = [
        _q(f"nats-route://ipledger:{password}@{host}:{servers.cluster_port}")
        for _, host in sorted(servers.cluster.items())
    ]
    return f"authorization {{ {user} }}\nroutes: [{', '.join(urls)}]\n"


def _list(subjects: Iterable[str]) -> str:
    return ", ".join(map(_q, subjects))


def _q(text: str) -> str:
    return json.dumps(text)
