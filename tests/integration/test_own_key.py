"""`ipledger up` lets in who has a key, and commands of its own user find theirs."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest
from support.node import IPLEDGER, Node


def ipledger(node: Node, *arguments: str, config: Path) -> subprocess.CompletedProcess[str]:
    """Run a command whose user's settings are in `config`."""
    env = {**os.environ, "IPLEDGER_NATS": node.nats_url, "XDG_CONFIG_HOME": str(config)}
    command = [IPLEDGER, *arguments]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=60)


def test_its_own_user_needs_no_flag_and_another_is_refused(node: Node, tmp_path: Path) -> None:
    assert node.ipledger("status").returncode == 0
    stranger = ipledger(node, "status", config=tmp_path / "elsewhere")
    assert stranger.returncode == 1
    assert (
        "refused the connection (Authorization Violation), tried without a key" in stranger.stderr
    )


def test_its_files_are_its_own(node: Node) -> None:
    data = node.root / "data"
    private = [data, data / "access", data / "access/keys"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in private} == {0o700}
    files = [path for path in (data / "access").rglob("*") if path.is_file()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert len(files) > len(private)


def test_keys_stay_over_a_restart_and_are_not_found_once_it_has_stopped(node: Node) -> None:
    before = node.key("admin").read_bytes()
    links = node.root / "config/ipledger/keys"
    assert [link.resolve() for link in links.iterdir()] == [node.key("admin").resolve()]
    node.stop()
    assert list(links.iterdir()) == []
    node.start()
    assert node.key("admin").read_bytes() == before
    assert node.ipledger("status").returncode == 0


@pytest.mark.parametrize(
    ("user", "command", "subject"),
    [
        ("auditor", ("release", "a1"), "ipledger.default.cmd.admin.release"),
        ("node-node-1", ("get", "pools"), "ipledger.default.query.pools"),
        ("webhook", ("log",), "$js.api.direct.get.ipledger_default"),
    ],
)
def test_what_is_not_allowed_is_said_with_key_and_subject_and_without_the_secret(
    node: Node, tmp_path: Path, user: str, command: tuple[str, ...], subject: str
) -> None:
    seed = node.key(user)
    done = ipledger(node, *command, "--nkey", str(seed), config=tmp_path / "elsewhere")
    assert done.returncode == 1
    assert f'permissions violation for publish to "{subject}"' in done.stderr
    assert f"of {seed}" in done.stderr
    told = done.stdout + done.stderr + node.log.read_text()
    assert seed.read_text().strip() not in told


def test_a_file_without_a_key_is_named(node: Node, tmp_path: Path) -> None:
    (tmp_path / "no.nk").write_text("SUAAAA\n")
    done = ipledger(node, "status", "--nkey", str(tmp_path / "no.nk"), config=tmp_path)
    assert (done.returncode, "no.nk' has no seed" in done.stderr) == (2, True), done.stderr
