"""Manifests in the style of Spiderpool's documentation: accepted unchanged, or refused by a rule.

The documents of a file are applied one after another. Each says in a comment what is expected:
`created` or `configured`, then the addresses of auto pools as `NAME=RANGES`; `refused FIELD`; or
`unsupported`.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.desk import Desk, serving

from ipledger.engine.answers import Applied, Refused
from ipledger.kube.manifest import Manifest, parse

FILES = {
    file.name: file.read_text()
    for file in sorted((Path(__file__).parent / "manifests").glob("*.yaml"))
}


@pytest.mark.parametrize("file", FILES)
async def test_manifests_are_accepted_or_refused_by_the_rule_they_state(file: str) -> None:
    text = FILES[file]
    expected = re.findall(r"^ *# expect: (.*)$", text, re.MULTILINE)
    results = parse(text, file)
    assert len(results) == len(expected)
    async with serving(Desk()) as desk:
        for result, words in zip(results, expected, strict=True):
            outcome, *rest = words.split()
            if not isinstance(result, Manifest):
                field = f"field {rest[0]}: unknown" if rest else "is not supported"
                assert field in str(result), words
                continue
            answer = await desk.ask(result.command)
            if outcome == "refused":
                assert isinstance(answer, Refused), (words, answer)
                assert answer.refusal.field == rest[0], answer.refusal
            else:
                assert isinstance(answer, Applied), (words, answer)
                assert answer.outcome == outcome, words
                pools = desk.fold.state.pools
                found = [f"{p}={','.join(pools[p].spec.ips)}" for p in map(_name, rest)]
                assert found == rest


def _name(word: str) -> str:
    return word.partition("=")[0]
