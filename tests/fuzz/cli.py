"""Fuzzing by hand: for minutes or hours, on all targets or some.

python -m fuzz --minutes 10                    all targets, one after another, ten minutes in all
python -m fuzz --minutes 10 cni commands       these
python -m fuzz --driver atheris --minutes 10 cni
python -m fuzz --input FILE cni                one input again

An input that is worked on for longer than ten seconds is a hang, and one that needs more than
4 GiB a bomb: both end the process, and what fails is kept in the folder `.fuzz/`.
"""

from __future__ import annotations

import argparse
import faulthandler
import logging
import resource
import sys
import time
import warnings
from pathlib import Path

from hypothesis import Phase, given, seed, settings

from fuzz.mutation import UNCHECKED, inputs
from fuzz.target import Run, Target
from fuzz.targets import TARGETS

FOUND = Path(".fuzz")
HANG_S = 10.0
MEMORY_BYTES = 4 << 30
_ROUND = 2000


class Watched:
    """A target's run that counts, keeps the input that it has, and ends a hang."""

    def __init__(self, target: Target, run: Run) -> None:
        self.count = 0
        self._run = run
        self._kept = FOUND / f"{target.name}.input"

    def __call__(self, data: bytes) -> None:
        self.count += 1
        self._kept.write_bytes(data)
        faulthandler.dump_traceback_later(HANG_S, exit=True)
        try:
            self._run(data)
        finally:
            faulthandler.cancel_dump_traceback_later()


def main(arguments: list[str]) -> int:
    """Fuzz what is asked for. Returns 1 if something was found."""
    names = [target.name for target in TARGETS]
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", help=f"of {', '.join(names)}")
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--driver", choices=("hypothesis", "atheris"), default="hypothesis")
    parser.add_argument("--input", type=Path, help="run this file, and nothing else")
    asked = parser.parse_args(arguments)
    unknown = set(asked.targets) - set(names)
    if unknown:
        parser.error(f"no target {', '.join(sorted(unknown))}: there are {', '.join(names)}")
    chosen = [target for target in TARGETS if target.name in (asked.targets or names)]
    FOUND.mkdir(exist_ok=True)
    logging.disable(logging.CRITICAL)
    if asked.driver == "atheris":
        from fuzz.coverage import fuzz  # not above: atheris is installed by hand

        return fuzz(chosen, asked.minutes)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    if asked.input is not None:
        return _again(chosen, asked.input)
    return max([_fuzz(target, asked.minutes * 60 / len(chosen)) for target in chosen])


def _again(targets: list[Target], path: Path) -> int:
    for target in targets:
        with target.opened() as run:
            run(path.read_bytes())
    return 0


def _fuzz(target: Target, seconds: float) -> int:
    """Rounds of examples until the time is up; each round has other ones."""
    until = time.monotonic() + seconds
    number = time.time_ns()
    with warnings.catch_warnings(), target.opened() as run:
        warnings.simplefilter("ignore")
        watched = Watched(target, run)
        while time.monotonic() < until:
            number += 1
            try:
                _round(watched, target, number, until)
            except Exception as error:
                print(f"{target.name}: {error!r:.2000}, see {FOUND}/{target.name}.input")
                notes: list[str] = getattr(error, "__notes__", [])
                print("\n".join(note[:2000] for note in notes))
                return 1
    print(f"{target.name}: {watched.count} examples")
    sys.stdout.flush()
    return 0


def _round(watched: Watched, target: Target, number: int, until: float) -> None:
    def run(data: bytes) -> None:
        if time.monotonic() < until:
            watched(data)

    limits = settings(
        max_examples=_ROUND,
        deadline=None,
        database=None,
        suppress_health_check=UNCHECKED,
        phases=(Phase.generate, Phase.shrink),
    )
    seed(number)(limits(given(inputs(target))(run)))()
