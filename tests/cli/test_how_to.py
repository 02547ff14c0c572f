"""The commands of docs/how-to print what the text says they do.

Every `console` block is run, in order. IPLEDGER_UPDATE_SNAPSHOTS=1 writes down what they print now.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support import incident
from support.terminal import Cli
from support.transcripts import UPDATE, transcript

GUIDE = Path(__file__).parents[2] / "docs" / "how-to" / "investigate-an-incident.md"
_BLOCK = re.compile(r"(?<=```console\n).*?(?=```)", re.DOTALL)


async def test_the_guide_to_an_incident_prints_what_it_says(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    incident.write(tmp_path)
    monkeypatch.chdir(tmp_path)
    recorded = GUIDE.read_text()
    now = recorded
    for block in _BLOCK.findall(recorded):
        now = now.replace(block, (await transcript(cli, block)).strip("\n") + "\n")
    if UPDATE:
        GUIDE.write_text(now)
    assert len(_BLOCK.findall(recorded)) > 5
    assert now == recorded
