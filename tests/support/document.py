"""The code on a page in docs/, and a shell that runs its commands as a reader does."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


def blocks(page: Path, language: str = "") -> dict[str, list[str]]:
    """The blocks of a language by the heading above them; commands say none."""
    text = page.read_text()
    places = [(match.start(), match[1]) for match in _HEADING.finditer(_without_fences(text))]
    found: dict[str, list[str]] = {}
    for match in _FENCE.finditer(text):
        heading = [name for start, name in places if start < match.start()][-1]
        if match[1] == language:
            found.setdefault(heading, []).append(match[2])
    return found


def _without_fences(text: str) -> str:
    """The same text, with blanks where code is: a comment of the shell is no heading."""
    return _FENCE.sub(lambda match: " " * len(match[0]), text)


@dataclass(frozen=True, slots=True)
class Shell:
    """bash in a folder, with an environment."""

    folder: Path
    env: Mapping[str, str]

    def __call__(self, block: str, timeout_s: float = 300.0) -> str:
        """What the commands print. Fails at the first that fails."""
        done = self.run(block, timeout_s)
        assert done.returncode == 0, f"{block}\n{done.stdout}{done.stderr}"
        return done.stdout

    def run(self, block: str, timeout_s: float = 300.0) -> subprocess.CompletedProcess[str]:
        """How the commands end, and what they print."""
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block],
            cwd=self.folder,
            env=dict(self.env),
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout_s,
        )
