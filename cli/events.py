"""Printing events, for every command that shows some."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from ipledger.cli.output import Format, emit, json_text, printable, yaml_text

if TYPE_CHECKING:
    from ipledger.replay.log import LoggedEvent


class EventPrinter:
    """Prints events one by one; as one JSON array at the end of the `with`."""

    def __init__(self, output: Format) -> None:
        self._output = output
        self._collected: list[bytes] = []
        self.count = 0

    def show(self, logged: LoggedEvent) -> None:
        """Print the next event."""
        self.count += 1
        if self._output == "json":
            self._collected.append(logged.record())
        elif self._output == "jsonl":
            emit(logged.record().decode())
        elif self._output == "yaml":
            import msgspec

            sys.stdout.write(yaml_text([msgspec.json.decode(logged.record())]))
        else:
            self._line(logged)

    def _line(self, logged: LoggedEvent) -> None:
        from ipledger.cli.summary import summary

        name = type(logged.event).__name__
        shown = logged.raw.decode() if self._output == "wide" else summary(logged.event)
        emit(f"{logged.position!s:<9} {logged.time}   {name:<18}   {printable(shown)}".rstrip())

    def end(self) -> None:
        """Print what waits for the end."""
        if self._output == "json":
            import msgspec

            emit(json_text([msgspec.Raw(record) for record in self._collected]))
