"""A snapshot at any position, restored, goes on exactly as a fold from the start does."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from support.deep import deep
from support.ledger import Ledger
from support.snapshots import joined, read_at
from support.strategies import EVERYDAY, TINY, likely

from ipledger.engine.commands import ApplyPool
from ipledger.projections import snapshot
from ipledger.projections.columns import numbers
from ipledger.projections.fold import Fold
from ipledger.projections.snapshot import Snapshot

WAITS = (0, 0, 1, 30_000_000, 119_999_999, 120_000_000)


@settings(max_examples=60)
@given(data=st.data())
def test_a_restored_snapshot_is_the_same_inside_and_stays_so(data: st.DataObject) -> None:
    ledger = Ledger()
    ledger.do(*(ApplyPool(pool=spec) for spec in data.draw(st.sampled_from((EVERYDAY, TINY)))))
    taken: list[Snapshot] = []
    for _ in range(data.draw(st.integers(1, 25))):
        ledger.now += data.draw(st.sampled_from(WAITS))
        ledger.do(*data.draw(st.lists(likely(ledger.facts), min_size=1, max_size=4)))
        if data.draw(st.booleans()):
            taken.append(snapshot.take(ledger.head, "realm", "0.0.0"))

    for one in taken:  # written only now: what was frozen must not have changed since
        written = joined(one)
        cuts = data.draw(st.lists(st.integers(0, len(written)), max_size=5))
        _check(ledger, one, read_at(written, one.head.sequence, one.head.hash, cuts))


def _check(ledger: Ledger, taken: Snapshot, restored: Fold) -> None:
    folded = Fold()
    for entry in ledger.entries[: taken.head.sequence]:
        folded.apply(entry)
    _agree(folded, restored)
    for entry in ledger.entries[taken.head.sequence :]:
        folded.apply(entry)
        restored.apply(entry)
        _agree(folded, restored)


def _agree(folded: Fold, restored: Fold) -> None:
    assert (restored.sequence, restored.hash, restored.time) == (
        folded.sequence,
        folded.hash,
        folded.time,
    )
    assert restored.state.digest() == folded.state.digest()
    assert deep(restored.state) == deep(folded.state)


@given(st.lists(st.integers(0, 2**128 - 1) | st.integers(0, 2**32)))
def test_numbers_of_up_to_128_bits_come_back(values: list[int]) -> None:
    assert numbers(values).rows() == values
