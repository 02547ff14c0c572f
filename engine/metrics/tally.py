"""What one engine counts while it leads, over all its terms: plain numbers, read at a scrape.

A request adds to one distribution by itself; everything else is counted once for the batch that
it is in, since a batch has its deciding, its commit and its answering in common (ADR 87).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from ipledger.engine.answers import Refused, TryAgain
from ipledger.engine.commands import Allocate, Command, Release, ReleaseAllocation
from ipledger.engine.metrics import table
from ipledger.engine.refusals import Reason

COMMANDS: dict[type[object], str] = {
    Allocate: "allocate",
    Release: "release",
    ReleaseAllocation: "release",
}
"""The commands that are counted by themselves; what is called is a read, the rest is `other`."""
STEPS = ("queue", "decide", "commit", "answer")
OUTCOMES = ("done", "refused", "try_again")


class HasWork(Protocol):
    """A request, which knows what is asked."""

    @property
    def work(self) -> object:
        """A command, or a read to be called."""
        ...


class Times(NamedTuple):
    """When a batch began to be decided, was decided, durable and answered: seconds, any origin."""

    began: float
    decided: float
    durable: float
    answered: float


class Tally:
    """Counts of what is durable and was answered; what was not is `given_up`."""

    __slots__ = (
        "_of",
        "commit_duration",
        "commit_events",
        "commit_size",
        "events",
        "refusals",
        "rejected",
        "requests",
        "steps",
    )

    def __init__(self) -> None:
        commands = (*dict.fromkeys(COMMANDS.values()), "other", "read")
        self.steps = {
            (command, step): table.STEP_DURATION.distribution()
            for command in commands
            for step in STEPS
        }
        self.requests = Counter({(c, outcome): 0 for c in commands for outcome in OUTCOMES})
        self.refusals = Counter(dict.fromkeys(Reason, 0))
        self.events: Counter[type[object]] = Counter()
        self.commit_duration = table.COMMIT_DURATION.distribution()
        self.commit_events = table.COMMIT_EVENTS.distribution()
        self.commit_size = table.COMMIT_SIZE.distribution()
        self.rejected = 0
        self._of = {c: [self.steps[c, step] for step in STEPS] for c in commands}

    def committed(self, events: Sequence[type[object]], size: int, duration_s: float) -> None:
        """A commit is durable."""
        self.events.update(events)
        self.commit_duration.observe(duration_s)
        self.commit_events.observe(len(events))
        self.commit_size.observe(size)

    def answered(self, asked: Iterable[tuple[HasWork, float, object]], times: Times) -> None:
        """A batch was answered: of each request its work, when it came, and its answer."""
        alike: defaultdict[tuple[type[object], type[object]], list[float]] = defaultdict(list)
        for request, came, answer in asked:
            alike[type(request.work), type(answer)].append(times.began - came)
            if isinstance(answer, Refused):
                self.refusals[answer.refusal.reason] += 1
        for (work, answer), waited in alike.items():
            self._count(_command(work), _outcome(answer), waited, times)

    def _count(self, command: str, outcome: str, waited: Sequence[float], times: Times) -> None:
        queue, decide, commit, reply = self._of[command]
        began, decided, durable, answered = times
        self.requests[command, outcome] += len(waited)
        queue.observe_each(waited)
        decide.observe(decided - began, len(waited))
        commit.observe(durable - decided, len(waited))
        reply.observe(answered - durable, len(waited))

    def given_up(self, asked: Iterable[object]) -> None:
        """These requests were told to try again."""
        self.requests.update((_command(type(work)), "try_again") for work in asked)


def _command(work: type[object]) -> str:
    return COMMANDS.get(work, "other" if issubclass(work, Command) else "read")


def _outcome(answer: type[object]) -> str:
    if issubclass(answer, Refused):
        return "refused"
    return "try_again" if issubclass(answer, TryAgain) else "done"
