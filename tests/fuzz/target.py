"""What a target is, and what every target holds errors to."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

CORPUS = Path(__file__).with_name("corpus")

TEXT_MAX = 4096
"""Characters of an error at most: it quotes what is wrong, and no more than its beginning."""

Run: TypeAlias = Callable[[bytes], None]
"""Takes one input. Returns if all is well, whether it was served or refused."""


@dataclass(frozen=True, slots=True)
class Target:
    """An edge of ipledger. `opened` makes the world around it, in which inputs are run.

    `tokens` are what mutation puts in besides what the corpus has.
    """

    name: str
    opened: Callable[[], AbstractContextManager[Run]]
    tokens: tuple[bytes, ...] = ()

    def seeds(self) -> list[bytes]:
        """The corpus, in the order of the file names."""
        return [path.read_bytes() for path in sorted((CORPUS / self.name).iterdir())]


def check_text(text: str) -> None:
    """An error says something, and not too much."""
    assert text, "an error without a text"
    assert len(text) <= TEXT_MAX, f"an error of {len(text)} characters: {text[:200]!r}..."
