"""Printing: rows as a table, JSON, JSON lines or YAML, and notes beside them.

Data goes to stdout, everything else to stderr. Tables are plain text without colour, never
truncated; they are laid out here because rich takes 7 s for 10,000 rows.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterable, Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from operator import attrgetter
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, TypeAlias, TypeVar

from cyclopts import Parameter

if TYPE_CHECKING:
    import msgspec

    Row = TypeVar("Row", bound=msgspec.Struct)

Format: TypeAlias = Literal["table", "wide", "json", "jsonl", "yaml"]

Output: TypeAlias = Annotated[
    Format, Parameter(name=("--output", "-o"), help="How to print what was found.")
]

_GAP = "   "


class Column(NamedTuple):
    """A column of a table; a wide one is left out of `-o table`."""

    title: str
    cell: Callable[[Any], object]
    wide: bool = False


def field(title: str, *, wide: bool = False) -> Column:
    """The column of a row's field that its title names."""
    name = title.lower().replace("-", "_").replace(" ", "_")
    return Column(title, attrgetter(name), wide)


def emit(text: str) -> None:
    """Write a line of data to stdout."""
    sys.stdout.write(text + "\n")


def note(text: str) -> None:
    """Write a line to stderr, at once: the thread that writes the log must not come between."""
    sys.stderr.write(printable(text) + "\n")


def printable(text: str) -> str:
    """The text with control characters escaped: names come from elsewhere."""
    return text if text.isprintable() else text.encode("unicode_escape").decode()


def print_rows(rows: Sequence[msgspec.Struct], columns: Sequence[Column], output: Format) -> None:
    """Print rows as an array, or as lines of a table."""
    if output == "json":
        emit(json_text(rows))
    elif output == "jsonl":
        for row in rows:
            emit(json_line(row))
    elif output == "yaml":
        sys.stdout.write(yaml_text(rows))
    elif rows:
        _print_table(rows, columns, output)


def print_one(row: msgspec.Struct, columns: Sequence[Column], output: Format) -> None:
    """Print one row as an object, or as a table of one line."""
    if output == "json":
        emit(json_text(row))
    elif output == "yaml":
        sys.stdout.write(yaml_text(row))
    else:
        print_rows([row], columns, output)


async def print_pages(
    pages: AsyncIterable[Sequence[Row]], columns: Sequence[Column], output: Format
) -> int:
    """Print rows that come in parts, JSON lines as they come. Returns how many there were."""
    count = 0
    rows: list[Row] = []
    async for page in pages:
        count += len(page)
        if output == "jsonl":
            print_rows(page, columns, output)
        else:
            rows.extend(page)
    print_rows(rows, columns, output)
    return count


def print_facts(facts: dict[str, object], output: Format) -> None:
    """Print one object, as a table with a line per key; those that are empty have none there."""
    if output == "json":
        emit(json_text(facts))
    elif output == "jsonl":
        emit(json_line(facts))
    elif output == "yaml":
        sys.stdout.write(yaml_text(facts))
    else:
        width = max(map(len, facts))
        for key, value in facts.items():
            if value != "":
                emit(f"{key:<{width}}{_GAP}{_cell(value)}")


def json_line(value: object) -> str:
    """JSON on one line."""
    import msgspec

    return msgspec.json.encode(value).decode()


def json_text(value: object) -> str:
    """JSON for reading, indented."""
    import msgspec

    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


def yaml_text(value: object) -> str:
    """YAML in block style, keys in their own order."""
    import msgspec
    import yaml

    return yaml.safe_dump(msgspec.to_builtins(value), sort_keys=False, allow_unicode=True)


@contextmanager
def progress(what: str, total: int) -> Generator[Callable[[int], None]]:
    """A bar on stderr while the body runs, if that is a terminal; told how much of what is done."""
    if total == 0 or not sys.stderr.isatty():
        yield lambda done: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.update(task, completed=done)


def _print_table(rows: Iterable[Row], columns: Sequence[Column], output: Format) -> None:
    shown = [column for column in columns if output == "wide" or not column.wide]
    table = [[column.title for column in shown]]
    table += [[_cell(column.cell(row)) for column in shown] for row in rows]
    widths = [max(map(len, cells)) for cells in zip(*table, strict=True)]
    for cells in table:
        padded = (f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True))
        emit(_GAP.join(padded).rstrip())


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return printable(str(value)) or "-"
