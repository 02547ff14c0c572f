"""What every suite shares: one real nats-server, a client of it, a realm of one's own.

In CI the examples of property tests are the same in each run.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from itertools import count

import nats
import pytest
import pytest_asyncio
from hypothesis import settings
from nats.aio.client import Client as NatsClient

from ipledger.events.embedded import EmbeddedServer

settings.register_profile("here", deadline=None, print_blob=True)
settings.register_profile("ci", deadline=None, print_blob=True, derandomize=True, database=None)
settings.load_profile("ci" if os.environ.get("CI") else "here")
pytest.register_assert_rewrite("support")

_realms = count(1)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def nats_server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EmbeddedServer]:
    """One durable nats-server for the whole run, on a free port. Tests take a realm each."""
    server = EmbeddedServer(tmp_path_factory.mktemp("nats-server"))
    await server.start()
    yield server
    await server.stop()


@pytest_asyncio.fixture
async def nc(nats_server: EmbeddedServer) -> AsyncIterator[NatsClient]:
    """A connected client, closed behind the test."""
    client = await nats.connect(nats_server.url)
    yield client
    await client.close()


@pytest.fixture
def realm() -> str:
    """A realm that no other test uses."""
    return f"test-{next(_realms)}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many of Spiderpool's own test cases the scenarios have."""
    from support.cases import summary  # not above: it is to be rewritten first

    terminalreporter.write_line(summary())
