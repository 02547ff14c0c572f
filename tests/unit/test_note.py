"""What a command notes is one line, whoever else writes."""

from __future__ import annotations

import io
import sys

import pytest

from ipledger.cli.output import note


class Pieces(io.StringIO):
    """Remembers what was written at once."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[str] = []

    def write(self, text: str) -> int:
        self.written.append(text)
        return super().write(text)


def test_a_note_is_written_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    stderr = Pieces()
    monkeypatch.setattr(sys, "stderr", stderr)

    note("ready http=http://127.0.0.1:8080")

    assert stderr.written == ["ready http=http://127.0.0.1:8080\n"]
