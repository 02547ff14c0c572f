"""Pods that come and go through the shim, and the account of what the runtime was told."""

from __future__ import annotations

import random
import threading
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

from support.node import Operator, Runtime
from support.program import until


@dataclass
class Load:
    """`held` are sandboxes whose ADD was answered and whose DEL was not asked; `ending` those
    whose DEL was asked: it may or may not have happened until it is answered.
    """

    runtimes: Sequence[Runtime]
    workers: int = 6
    held: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    ending: set[str] = field(default_factory=set[str])
    gone: set[str] = field(default_factory=set[str])
    answered: int = 0

    def run(self, worker: int, seed: int, stop: threading.Event) -> None:
        """Add and delete pods of one's own until `stop`."""
        runtime = self.runtimes[worker % len(self.runtimes)]
        choose = random.Random(f"{seed}-{worker}")
        mine: list[str] = []
        number = 0
        while not stop.is_set():
            if mine and choose.random() < 0.4:
                self._delete(runtime, mine.pop(choose.randrange(len(mine))))
            else:
                sandbox = f"s{seed}-{worker}-{number}"
                number += 1
                if self._add(runtime, sandbox):
                    mine.append(sandbox)

    def _add(self, runtime: Runtime, sandbox: str) -> bool:
        outcome = runtime.cni("ADD", sandbox)
        if outcome.code == 0:
            self.held[sandbox] = outcome.addresses
            self.answered += 1
        return outcome.code == 0

    def _delete(self, runtime: Runtime, sandbox: str) -> None:
        self.ending.add(sandbox)
        addresses = self.held.pop(sandbox)
        if runtime.cni("DEL", sandbox).code == 0:
            self.ending.discard(sandbox)
            self.gone.add(sandbox)
        else:
            assert addresses

    def goes_on(self, timeout_s: float = 60.0) -> None:
        """Wait for an answered ADD that was asked after now: each worker may have one underway."""
        before = self.answered
        until(lambda: self.answered > before + self.workers, timeout_s)

    def check(self, operator: Operator) -> None:
        """Every answered ADD is held, every answered DEL carried out, nothing is doubled."""

        def deletions_have_arrived() -> bool:
            return not self.gone & {row.sandbox for row in operator.allocations()}

        assert until(deletions_have_arrived, 30)
        rows = operator.allocations()
        found = {row.sandbox: [a.address for a in row.addresses] for row in rows}
        lost = {s: a for s, a in self.held.items() if found.get(s) != a}
        assert lost == {}
        addresses = [address for held in found.values() for address in held]
        assert len(addresses) == len(set(addresses))


@contextmanager
def running(load: Load, seed: int) -> Generator[None]:
    """The load runs, on a thread for each worker; in the end every call has been answered."""
    stop = threading.Event()
    with ThreadPoolExecutor(load.workers) as pool:
        futures = [pool.submit(load.run, worker, seed, stop) for worker in range(load.workers)]
        try:
            yield
        finally:
            stop.set()
    for future in futures:
        future.result()
