"""The `ipledger` command: which commands there are, and how each one ends."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from cyclopts import App, CycloptsError, Group, Parameter

from ipledger import __version__
from ipledger.cli.catalogue import COMMANDS, GROUPS, Entry
from ipledger.cli.errors import (
    EXIT_FAILURE,
    EXIT_INTERRUPTED,
    EXIT_PIPE_CLOSED,
    EXIT_USAGE,
    CliError,
)

_HELP = (
    "IP addresses for Kubernetes and any CNI runtime, each one an event in a NATS JetStream log."
)


def main() -> None:
    """Run the command that the process was started with, and exit with its code."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command. Returns its exit code (DESIGN section 10)."""
    try:
        code = build()(list(arguments))
        sys.stdout.flush()
    except CliError as error:
        return _fail(str(error), error.exit_code)
    except CycloptsError as error:
        return _fail(str(error), EXIT_USAGE)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        _discard_stdout()
        return EXIT_PIPE_CLOSED
    except OSError as error:
        _discard_stdout()
        return _fail(str(error), EXIT_FAILURE)
    return int(code or 0)


def build() -> App:
    """The application; no command's module is loaded yet."""
    app = App(
        name="ipledger",
        help=_HELP,
        version=f"ipledger {__version__}",
        version_format="rich",  # cyclopts ends plain text without a newline
        help_format="plaintext",
        default_parameter=Parameter(negative=(), show_default=_shown_default),
        result_action="return_value",
        exit_on_error=False,
        print_error=False,
        suppress_keyboard_interrupt=False,
    )
    groups = {name: Group(name, sort_key=place) for place, name in enumerate(GROUPS)}
    for entry in COMMANDS:
        _register(app, entry, groups[entry.group])
    app.register_install_completion_command(help="Install completion for your shell.")
    return app


def _register(app: App, entry: Entry, group: Group) -> None:
    examples = "\n".join(["Examples:", *(f"  {line}" for line in entry.examples)])
    parent, _, name = entry.name.rpartition(" ")
    if parent:
        below = App(name=parent, help=entry.summary, group=group)
        below.command(entry.path, name=name, help=entry.summary, help_epilogue=examples)
        app.command(below)
    else:
        app.command(entry.path, name=name, group=group, help=entry.summary, help_epilogue=examples)


def _shown_default(value: object) -> str | None:
    """Options whose default is to do nothing need not say so."""
    return None if value in ("", False, None) else str(value)


def _fail(message: str, code: int) -> int:
    from ipledger.cli.output import note

    note(f"error: {message}")
    return code


def _discard_stdout() -> None:
    """Nobody reads stdout any more, or it is full: what is left must not fail at exit."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)
