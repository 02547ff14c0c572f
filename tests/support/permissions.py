"""What the pages of the reference say that a role must be allowed."""

from __future__ import annotations


def documented_calls(page: str) -> set[tuple[str, str, str]]:
    """Group, resource and verb of each call in the table under "Permissions"."""
    table = page.partition("## Permissions")[2]
    found: set[tuple[str, str, str]] = set()
    for line in table.splitlines():
        cells = [cell.strip().strip("`") for cell in line.strip("|").split("|")]
        if len(cells) == 4 and cells[1] not in ("resource", "---"):
            group, resource, verbs, _ = cells
            words = [verb.strip(" `") for verb in verbs.split(",")]
            found |= {("" if group == "(core)" else group, resource, verb) for verb in words}
    return found
