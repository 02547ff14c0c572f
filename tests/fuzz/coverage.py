"""The other driver: atheris, which keeps the inputs that reach code not reached before.

It instruments the code it fuzzes when that is imported, so each target has a process of its own.
What it learns is kept in `.fuzz/TARGET/`, beside the corpus of the repository, and used again.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from fuzz.target import CORPUS, Target

FOUND = Path(".fuzz")
_MEMORY_MB = 4096
_HANG_S = 10
_INPUT_BYTES_MAX = 65_536


def fuzz(targets: list[Target], minutes: float) -> int:
    """Fuzz each for its part of the time. Returns 1 if something was found."""
    seconds = max(1, int(minutes * 60 / len(targets)))
    return max([_process(target.name, seconds) for target in targets])


def _process(name: str, seconds: int) -> int:
    learned = FOUND / name
    learned.mkdir(exist_ok=True)
    limits = [f"-max_total_time={seconds}", f"-timeout={_HANG_S}", f"-rss_limit_mb={_MEMORY_MB}"]
    more = [f"-max_len={_INPUT_BYTES_MAX}", f"-artifact_prefix={FOUND}/{name}-"]
    folders = [str(learned), str(CORPUS / name)]
    command = [sys.executable, "-m", "fuzz.coverage", name, *limits, *more, *folders]
    return subprocess.run(command, check=False).returncode != 0


def main(name: str, arguments: list[str]) -> None:
    """One target in this process, until libFuzzer's own arguments end it."""
    import logging

    import atheris

    library: Any = atheris
    logging.disable(logging.CRITICAL)
    with library.instrument_imports(include=["ipledger", "yaml", "aiohttp"]):
        from fuzz.targets import TARGETS
    target = next(target for target in TARGETS if target.name == name)
    with target.opened() as run:
        library.Setup([name, *arguments], run)
        library.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
