"""Compiling the shim, the one part of ipledger that is C."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

SHIM_SOURCE: Path = Path(__file__).parent / "shim" / "ipledger.c"
"""The shim's source, which every installation carries."""

_FLAGS = ("-std=c11", "-Os", "-static", "-s")


class ShimBuildError(Exception):
    """The shim could not be compiled. The text is the compiler's output, or what to install."""


def build_shim(source: Path, target: Path) -> None:
    """Compile `source` to the static executable `target` (mode 0755), replacing it at once.

    A runtime that executes `target` meanwhile finds the old program or the new one. musl-gcc is
    preferred: its static programs start in a quarter of the time of glibc's.

    Raises:
        ShimBuildError: there is no compiler, or it refused the source.
        OSError: the folder of `target` is missing or not writable.
    """
    compiler = _find_compiler()
    handle, name = tempfile.mkstemp(prefix=f".{target.name}-", dir=target.parent)
    os.close(handle)
    built = Path(name)
    try:
        _compile([compiler, *_FLAGS, "-o", name, str(source)])
        built.chmod(0o755)
        built.replace(target)
    finally:
        built.unlink(missing_ok=True)


def _find_compiler() -> str:
    compiler = shutil.which("musl-gcc") or shutil.which("cc")
    if compiler is None:
        raise ShimBuildError("no C compiler found: install musl-tools or gcc")
    return compiler


def _compile(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode != 0:
        raise ShimBuildError(f"{' '.join(command)}\n{done.stdout}{done.stderr}".rstrip())
