"""What a role writes to its log, as flags and environment variables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from cyclopts import Group, Parameter

from ipledger.events.logs import Format, Level, LogSettings


@Parameter(name="*", group=Group("Log", sort_key=10))
@dataclass(frozen=True, slots=True)
class LogFlags:
    """Options of every command that runs for long.

    Parameters
    ----------
    log_level
        Write lines of this level and those above it to stderr.
    log_format
        JSON objects, one a line, or text; by default, text on a terminal only.
    """

    log_level: Annotated[Level, Parameter(env_var="IPLEDGER_LOG_LEVEL")] = "info"
    log_format: Annotated[
        Format | None, Parameter(env_var="IPLEDGER_LOG_FORMAT", show_default=False)
    ] = None

    def settings(self) -> LogSettings:
        """The same for whoever writes."""
        return LogSettings(self.log_level, self.log_format)


DEFAULT = LogFlags()
