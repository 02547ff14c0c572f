"""Running seeds: many, with a summary, or one, with its whole trace.

python -m simulation SEEDS            the seeds from 0 on
python -m simulation --seed SEED      one seed, told line by line
python -m simulation --mistakes       the first seed that finds each deliberate mistake
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor

from simulation.collector_mutations import ALL
from simulation.run import Result, run

_TRACE_LINES = 60
_CHUNK = 10
_SEEDS_MAX = 5000


def replay_command(seed: int) -> str:
    """What runs a seed again, with its whole trace."""
    return f"make simulate SEED={seed}"


def report(result: Result) -> str:
    """What went wrong in a run, and how to run it again."""
    tail = "\n".join(result.trace[-_TRACE_LINES:])
    return (
        f"{tail}\n\nseed {result.seed}: {result.wrong}\nto run it again: "
        f"{replay_command(result.seed)}"
    )


def run_many(seeds: Iterable[int], processes: int) -> Iterator[Result]:
    """The runs of seeds, in their order, on that many processes."""
    if processes == 1:
        yield from map(run, seeds)
        return
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(run, seeds, chunksize=_CHUNK)


def summary(counts: Counter[str]) -> str:
    """How much was simulated."""
    calls = counts["ADD"] + counts["DEL"]
    faults = sum(count for what, count in counts.items() if what.startswith("fault "))
    commands = counts["apply"] + counts["collect"]
    return (
        f"simulated {counts['runs']} seeds: {calls} CNI calls, {commands} operator's commands, "
        f"{counts['commits']} commits, {faults} faults"
    )


def main(arguments: list[str]) -> int:
    """Run what is asked for. Returns 1 if something was wrong."""
    parser = argparse.ArgumentParser(prog="simulation", description=__doc__)
    parser.add_argument("seeds", nargs="?", type=int, default=1000, help="how many seeds")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--seed", type=int, help="run this one, and tell all about it")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--mistakes", action="store_true", help="look for them from seed 0 on")
    parser.add_argument("--faults", default="", help="with --seed: these kinds, by commas")
    asked = parser.parse_args(arguments)
    if asked.seed is not None:
        result = run(asked.seed, print, tuple(filter(None, asked.faults.split(","))))
        print(report(result._replace(trace=())) if result.wrong else f"hash {result.digest}")
        return bool(result.wrong)
    if asked.mistakes:
        return _find_mistakes()
    return _run_range(range(asked.first, asked.first + asked.seeds), asked.processes)


def _find_mistakes() -> int:
    """Tell of each mistake as docs/simulator.md does. Returns 1 if one was not found."""
    missed = 0
    for mutation in ALL:
        found = mutation.found(range(_SEEDS_MAX))
        missed += found is None
        name, faults = mutation.name.replace("-", " "), ", ".join(mutation.faults) or "all kinds"
        print(f"| {name} | {mutation.breaks} | {faults} | {found.seed if found else 'none'} |")
    return bool(missed)


def _run_range(seeds: range, processes: int) -> int:
    counts: Counter[str] = Counter()
    wrong: list[int] = []
    began = time.monotonic()
    for done, result in enumerate(run_many(seeds, processes), 1):
        counts.update(result.counts)
        if result.wrong:
            wrong.append(result.seed)
            print(report(result))
        if sys.stderr.isatty():
            print(f"\r{done}/{len(seeds)} seeds, {len(wrong)} wrong", end="", file=sys.stderr)
    if sys.stderr.isatty():
        print(file=sys.stderr)
    print(f"{summary(counts)}, in {time.monotonic() - began:.0f} s")
    for seed in wrong:
        print(f"wrong: {replay_command(seed)}")
    return bool(wrong)
