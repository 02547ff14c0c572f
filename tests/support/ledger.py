"""A log that is written command by command while everything about it is checked.

Three tellings of the same events go side by side: the state that decides, a replica that folds
the stored commits, and the independent model. A difference is an `AssertionError`.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import NamedTuple

from ipledger.engine.commands import (
    Allocate,
    AnyCommand,
    ApplyApplication,
    ApplyPool,
    DeleteApplication,
    DeletePool,
    ReleaseAllocation,
    RetainAttachments,
)
from ipledger.engine.decide import Decision, decide
from ipledger.engine.refusals import Reason
from ipledger.engine.subnets import as_asked, free_of
from ipledger.events import commit
from ipledger.events.facts import Verdict
from ipledger.events.log import Entry
from ipledger.events.types import (
    AddressesAllocated,
    AddressesHeld,
    AddressesReleased,
    AllocationRefused,
)
from ipledger.projections.evolve import Moment, evolve
from ipledger.projections.fold import Fold
from ipledger.projections.ranges import minus, usable
from ipledger.projections.state import State
from support import model
from support.deep import deep
from support.desk import NOON

_ENDINGS = (AddressesReleased, AddressesHeld)


class Step(NamedTuple):
    """A command, when it was decided, and what followed."""

    command: AnyCommand
    now: int
    decision: Decision


class Ledger:
    """An engine's state, its log, a replica of it, and the model's facts."""

    def __init__(self) -> None:
        self.now = NOON
        self.head = Fold()
        self.replica = Fold()
        self.facts = model.Facts()
        self.entries: list[Entry] = []
        self.batches: list[list[Step]] = []

    def do(self, *commands: AnyCommand) -> list[Decision]:
        """Decide commands one after another; their events leave as one commit."""
        steps: list[Step] = []
        events: list[bytes] = []
        for command in commands:
            decision = decide_purely(self.head.state, command, self.now)
            self._check(command, decision)
            for event in decision.events:
                if isinstance(event, AddressesAllocated):
                    self._check_choice(event)
                at = Moment(self.head.sequence + 1, len(events), self.now)
                evolve(self.head.state, event, at)
                self.facts = model.replay(self.facts, event, self.now)
                model.check(self.facts)
                events.append(commit.encode_event(event))
            self._agree()
            if isinstance(command, ApplyApplication) and decision.refusal is None:
                model.check_sizes(self.facts, command.application)
            steps.append(Step(command, self.now, decision))
        self.batches.append(steps)
        if events:
            self._commit(events)
        return [step.decision for step in steps]

    def decide_again(self) -> None:
        """Invariant 9: from the state at each position, each command has the same events."""
        fold = Fold()
        entries = iter(self.entries)
        for steps in self.batches:
            events = [event for step in steps for event in step.decision.events]
            index = 0
            for command, now, decision in steps:
                assert decide(fold.state, command, now) == decision, "invariant 9"
                for event in decision.events:
                    evolve(fold.state, event, Moment(fold.sequence + 1, index, now))
                    index += 1
            if events:
                entry = next(entries)
                assert list(commit.decode(entry.payload).events) == events
                fold.advance(entry.sequence, commit.digest(entry.payload), steps[0].now)
        assert fold.state.digest() == self.replica.state.digest()

    def end_all(self) -> None:
        """Applications, allocations and pools go: each subnet has all its addresses again."""
        facts = self.facts
        for told in facts.applications.values():
            gone = DeleteApplication(
                api_version=told.api_version,
                kind=told.kind,
                namespace=told.namespace,
                name=told.name,
            )
            self.do(gone)
        self.do(*(ReleaseAllocation(allocation=name) for name in self.facts.live))
        kept = [spec for spec in self.facts.pools.values() if spec.auto is not None]
        assert not any(spec.auto and spec.auto.reclaim for spec in kept), "it outlived its pods"
        self.do(*(ApplyPool(pool=as_asked(spec), reclaim=True) for spec in kept))
        assert not any(spec.auto for spec in self.facts.pools.values()), "it was to be reclaimed"
        self.do(*(DeletePool(name=name) for name in self.facts.pools))
        assert not self.facts.pools
        for subnet in self.head.state.subnets.values():
            reserved = self.head.state.reserved[subnet.ip_version]
            assert free_of(self.head.state, subnet) == minus(usable(subnet), reserved)

    def _commit(self, events: list[bytes]) -> None:
        payload = commit.encode(0, self.now, self.head.hash, events)
        entry = Entry(self.head.sequence + 1, payload)
        self.entries.append(entry)
        self.head.advance(entry.sequence, commit.digest(payload), self.now)
        self.replica.apply(entry)
        assert self.replica.hash == self.head.hash
        assert self.replica.state.digest() == self.head.state.digest(), "invariant 5"

    def _check(self, command: AnyCommand, decision: Decision) -> None:
        """What the facts before the command say of the decision."""
        if decision.refusal is not None:
            recorded = [type(event) for event in decision.events]
            assert recorded in ([], [AllocationRefused]), "invariant 4: a refusal left an event"
        if isinstance(command, RetainAttachments):
            listed = {(item.sandbox, item.interface) for item in command.attachments}
            gone = [e.allocation for e in decision.events if isinstance(e, _ENDINGS)]
            node, network = command.node, command.network
            assert set(gone) == model.unlisted(self.facts, node, network, listed, self.now)
            assert len(gone) == len(set(gone))
        if not isinstance(command, Allocate):
            return
        fenced = model.is_fenced(self.facts, command.sandbox, command.interface, self.now)
        ended = decision.refusal and decision.refusal.reason == Reason.ATTACHMENT_ENDED
        assert fenced == bool(ended), "an ADD is refused exactly within 120 s behind its DEL"
        self._check_candidates(decision)

    def _check_choice(self, event: AddressesAllocated) -> None:
        identity = (event.pod.uid, event.interface)
        for held in event.addresses:
            spec = self.facts.pools[held.pool]
            assert not spec.disable, "a disabled pool served"
            if model.is_small(spec):
                expected = model.next_address(self.facts, held.pool, identity)
                assert ip_address(held.ip) == expected, "not the address that was next"

    def _check_candidates(self, decision: Decision) -> None:
        decisions = [e.decision for e in decision.events if isinstance(e, AddressesAllocated)]
        if decision.refusal is not None:
            decisions.append(decision.refusal.decision)
        for candidate in (candidate for candidates in decisions for candidate in candidates):
            if candidate.verdict == Verdict.EXHAUSTED and candidate.pool in self.facts.pools:
                assert not model.free(self.facts, candidate.pool), "exhausted with free addresses"

    def _agree(self) -> None:
        """State and facts tell the same."""
        state, facts = self.head.state, self.facts
        assert {n: p.spec for n, p in state.pools.items()} == dict(facts.pools)
        assert state.subnets == dict(facts.subnets)
        assert state.reservations == dict(facts.reservations)
        live = {
            a.id: model.Live(
                a.identity,
                a.node,
                a.sandbox,
                tuple((held.pool, ip_address(held.ip)) for held in a.addresses),
                a.pod,
                a.owner,
                a.network,
                a.bound,
            )
            for a in state.allocations.all()
        }
        assert live == dict(facts.live)
        applications = {tuple(key): told for key, told in state.applications.items()}
        assert applications == dict(facts.applications)
        held = [a for a in live.values() if not a.sandbox]
        assert all(model.has_place(facts, a) for a in held), "held for a place that is gone"
        assert {n for n, p in state.pools.items() if p.terminating} == facts.terminating
        model.check_auto_pools(facts)
        model.check_inheritance(facts)
        for name, pool in state.pools.items():
            taken = [ip for a in live.values() for where, ip in a.addresses if where == name]
            assert pool.held == sum(any(w == name for w, _ in a.addresses) for a in held)
            assert sorted(pool.taken) == sorted(map(int, taken))
            if model.is_small(pool.spec):
                assert pool.free == len(model.free(facts, name))


def decide_purely(state: State, command: AnyCommand, now: int) -> Decision:
    """Decide, and prove that this changed nothing: neither the digest nor anything inside."""
    digest, inside = state.digest(), deep(state)
    decision = decide(state, command, now)
    assert decide(state, command, now) == decision, "asked again it decides otherwise"
    assert state.digest() == digest, "decide changed the state"
    assert deep(state) == inside, "decide changed the state"
    return decision
