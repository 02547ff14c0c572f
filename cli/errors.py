"""How a command ends other than well, and the exit codes (DESIGN section 10)."""

from __future__ import annotations

EXIT_FAILURE = 1
EXIT_USAGE = 2
EXIT_DIFFERENCE = 3
EXIT_INTERRUPTED = 130
"""128 and SIGINT, as shells have it."""
EXIT_PIPE_CLOSED = 141
"""128 and SIGPIPE."""


class CliError(Exception):
    """Ends a command with one line on stderr, `error: ` and the text."""

    exit_code = EXIT_FAILURE


class UsageError(CliError):
    """The command line itself is wrong."""

    exit_code = EXIT_USAGE


class DifferenceError(CliError):
    """The log is not the record it should be."""

    exit_code = EXIT_DIFFERENCE
