"""Figures that the end-to-end tests measure on the way."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Report:
    """A table: what was measured, for whom, and the figure with its unit."""

    _rows: list[tuple[str, str, str]] = field(default_factory=list[tuple[str, str, str]])

    def add(self, what: str, whose: str, figure: str) -> None:
        """Add one figure."""
        self._rows.append((what, whose, figure))

    def lines(self) -> list[str]:
        """The table as text."""
        widths = [max(map(len, column)) for column in zip(*self._rows, strict=True)]
        return [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            for row in self._rows
        ]
