"""The image of a state: all that it holds, frozen at a moment, as blocks of bytes.

Freezing is quick (`State.frozen`), since what is frozen is shared with the state and never
changes; writing the blocks takes a second for a million allocations, and goes on while the state
does. The same state has the same blocks, so that their hash is the state's digest (invariant 5).
What follows from the rest (indexes, counts) is not in the image but made again by
projections/restore.py.

tests/unit/test_image.py names every slot of the state's classes: a new one is added there, and
either here or to what is made again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple, TypeAlias, TypeVar

import msgspec

from ipledger.events.facts import Application, PoolSpec, ReservationSpec, SubnetSpec
from ipledger.events.position import Position
from ipledger.events.types import AddressQuarantined, CheckpointSigned
from ipledger.projections.allocations import (
    Allocation,
    Attachment,
    Common,
    Identity,
    Terms,
)
from ipledger.projections.columns import Column, Numbers, column, numbers
from ipledger.projections.pool import FrozenPool

BLOCK_ROWS = 1000
"""Rows of a block: writing or reading one takes about a millisecond."""

T = TypeVar("T")


class Block(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=True):
    """A part of an image."""


class Realm(Block, frozen=True):
    """What there is once, and the resources that no allocation belongs to. The first block."""

    position: Position
    epoch: int
    engine: str
    events_ever: int
    allocated_ever: int
    subnets: list[SubnetSpec]
    reservations: list[ReservationSpec]
    applications: list[Application]
    checkpoint: CheckpointSigned | None = None
    quarantined: list[AddressQuarantined] = []


class PoolBlock(Block, frozen=True):
    """A pool, and its fresh addresses as intervals."""

    spec: PoolSpec
    terminating: bool
    first_fresh: Numbers
    last_fresh: Numbers


class Released(Block, frozen=True):
    """Released addresses of the pool before, the one released longest ago first."""

    addresses: Numbers
    uids: list[str]
    interfaces: Column[str]


class Ended(Block, frozen=True):
    """Attachments that ended, in order."""

    times: Column[int]
    sandboxes: list[str]
    interfaces: Column[str]


class Refusals(Block, frozen=True):
    """The last refusal of identities, in order."""

    uids: list[str]
    interfaces: Column[str]
    keys: Column[str]


class Live(Block, frozen=True):
    """Allocations in order. Row by row the addresses are `counts[i]` of `terms` and `values`."""

    numbers: list[int]
    pod_names: list[str]
    pod_uids: list[str]
    nodes: Column[str]
    sandboxes: list[str]
    commons: Column[Common]
    counts: list[int]
    terms: Column[Terms]
    values: Numbers
    moments: Column[tuple[int, int, int]]
    indexes: list[int]


AnyBlock: TypeAlias = Realm | PoolBlock | Released | Ended | Refusals | Live

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(AnyBlock).decode


class Frozen(NamedTuple):
    """A state as it was at a moment."""

    realm: Realm
    pools: list[FrozenPool]
    ended: list[tuple[int, Sequence[Attachment]]]
    refused: list[Identity]
    refusals: list[str]
    allocations: list[Allocation]


def blocks(frozen: Frozen) -> Iterator[bytes]:
    """The image, block by block."""
    return map(_encode, _blocks(frozen))


def digest(frozen: Frozen) -> str:
    """The hash of an image: lower-case hex SHA-256."""
    hashed = hashlib.sha256()
    for block in blocks(frozen):
        hashed.update(block)
    return hashed.hexdigest()


def block_of(data: bytes) -> AnyBlock:
    """Read a block. Raises `msgspec.DecodeError`."""
    block: AnyBlock = _decode(data)
    return block


def _blocks(frozen: Frozen) -> Iterator[AnyBlock]:
    yield frozen.realm
    for pool in frozen.pools:
        yield PoolBlock(
            pool.spec,
            pool.terminating,
            numbers([first for first, _ in pool.fresh]),
            numbers([last for _, last in pool.fresh]),
        )
        yield from _released(pool)
    yield from _ended(frozen.ended)
    for refused, keys in zip(_parts(frozen.refused), _parts(frozen.refusals), strict=True):
        uids, interfaces = zip(*refused, strict=True)
        yield Refusals(list(uids), column(interfaces), column(keys))
    yield from map(_live, _parts(frozen.allocations))


def _ended(ended: Sequence[tuple[int, Sequence[Attachment]]]) -> Iterator[Ended]:
    rows = ((time, *attachment) for time, attachments in ended for attachment in attachments)
    while part := list(islice(rows, BLOCK_ROWS)):
        times, sandboxes, interfaces = zip(*part, strict=True)
        yield Ended(column(times), list(sandboxes), column(interfaces))


def _released(pool: FrozenPool) -> Iterator[Released]:
    for addresses, lasts in zip(_parts(pool.released), _parts(pool.last_of), strict=True):
        uids, interfaces = zip(*lasts, strict=True)
        yield Released(numbers(addresses), list(uids), column(interfaces))


def _parts(rows: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(rows), BLOCK_ROWS):
        yield rows[start : start + BLOCK_ROWS]


def _live(rows: Sequence[Allocation]) -> Live:
    held = [address for row in rows for address in row.addresses]
    return Live(
        [row.number for row in rows],
        [row.pod_name for row in rows],
        [row.pod_uid for row in rows],
        column([row.node for row in rows]),
        [row.sandbox for row in rows],
        column([row.common for row in rows]),
        [len(row.addresses) for row in rows],
        column([address.terms for address in held]),
        numbers([address.value for address in held]),
        column([(row.sequence, row.since, row.bound) for row in rows]),
        [row.index for row in rows],
    )
