"""Transcripts: commands with what they print.

`$ ` starts a command, `! ` a line of stderr, `[exit N]` stands behind a command that ends with N
other than 0. `< FILE` is stdin.
"""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from support.terminal import Cli, Result

UPDATE = os.environ.get("IPLEDGER_UPDATE_SNAPSHOTS") == "1"


async def transcript(cli: Cli, recorded: str) -> str:
    """Run a transcript's commands again and write down what they do."""
    commands = [line[2:] for line in recorded.splitlines() if line.startswith("$ ")]
    return "\n".join([_entry(command, await _run(cli, command)) for command in commands])


async def _run(cli: Cli, command: str) -> Result:
    words = shlex.split(command)
    assert words.pop(0) == "ipledger"
    stdin = _text_of(words.pop()) if "<" in words else ""
    return await cli(*(word for word in words if word != "<"), stdin=stdin)


def _text_of(file: str) -> str:
    return Path(file).read_text()


def _entry(command: str, result: Result) -> str:
    lines = [f"$ {command}", *result.stdout.splitlines()]
    lines += [f"! {line}" for line in result.stderr.splitlines()]
    lines += [f"[exit {result.code}]"] if result.code else []
    return "\n".join(lines) + "\n"
