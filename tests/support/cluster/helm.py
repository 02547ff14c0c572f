"""`helm` as the documents use it, without the program: Helm's own engine, on a real cluster.

KUBECONFIG says on which. `link` puts a command of that name into a folder.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

_TESTS = Path(__file__).parents[2]


def link(folder: Path) -> None:
    """Have a `helm` in `folder`."""
    command = folder / "helm"
    python = f"PYTHONPATH={_TESTS} {sys.executable} -m support.cluster.helm"
    command.write_text(f'#!/bin/sh\n{python} "$@"\n')
    command.chmod(0o755)


def main(arguments: list[str]) -> None:
    """Do what `helm` does."""
    import helm_python

    asked = _parser().parse_args(arguments)
    with helm_python.Config(namespace=asked.namespace) as cluster:
        match asked.action:
            case "install":
                values = helm_python.parse_set_string(",".join(asked.set))
                made: Any = cluster.install(
                    asked.chart, asked.release, values, namespace=asked.namespace
                )
            case "upgrade":
                values = helm_python.parse_set_string(",".join(asked.set))
                made = cluster.upgrade(
                    asked.chart,
                    asked.release,
                    values,
                    namespace=asked.namespace,
                    reuse_values=asked.reuse_values,
                )
            case _:
                made = cluster.uninstall(asked.release)
    print(made.get("notes") or made)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="helm")
    parser.add_argument("action", choices=("install", "upgrade", "uninstall"))
    parser.add_argument("release")
    parser.add_argument("chart", nargs="?")
    parser.add_argument("-n", "--namespace", required=True)
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--reuse-values", action="store_true")
    return parser


if __name__ == "__main__":
    main(sys.argv[1:])
