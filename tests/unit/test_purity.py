"""The pure core: no clock, no randomness, no I/O, no set order (DESIGN section 2, idea 2).

A scan of the source, so that a banned name is found before it does harm. What a module of the
core may import is listed; a new name is put on the list only if it is pure.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

SHELL = "projections/cluster/live/"
"""What talks to an API server: a shell, below its users and beside the shapes it fills (ADR 40)."""

CORE = [
    *sorted(
        module
        for path in (ROOT / "projections").glob("**/*.py")
        if not (module := path.relative_to(ROOT).as_posix()).startswith(SHELL)
    ),
    *(
        f"engine/{name}.py"
        for name in (
            "decide",
            "allocate",
            "applications",
            "auto_imports",
            "auto_pools",
            "auto_selection",
            "subnet_annotations",
            "choice",
            "filters",
            "pod_annotations",
            "identity",
            "importing",
            "quarantine",
            "release",
            "reservations",
            "routes",
            "selection",
            "selectors",
            "steps",
            "subnets",
            "pools",
            "pool_checks",
            "selector_checks",
            "commands",
            "refusals",
            "answers",
            "outcomes",
        )
    ),
    *(
        f"gc/{name}.py"
        for name in ("judge", "case", "claims", "settings", "valve", "schedule", "report")
    ),
    *(
        f"events/{name}.py"
        for name in (
            "types",
            "facts",
            "commit",
            "chain",
            "addresses",
            "position",
            "clock",
            "log",
            "quoting",
            "traceparent",
        )
    ),
]
PORT = "events/log.py"
"""The port: imported for the type of an entry. It declares coroutines and performs nothing."""

PURE_IMPORTS = {
    "__future__",
    "bisect",
    "collections",
    "copy",
    "dataclasses",
    "datetime",
    "enum",
    "fnmatch",
    "functools",
    "hashlib",
    "heapq",
    "itertools",
    "math",
    "msgspec",
    "netaddr",
    "operator",
    "re",
    "typing",
}
SOCKET_NAMES = {"AF_INET", "AF_INET6", "inet_pton", "inet_ntop"}
"""What events/addresses.py may use of `socket`: conversions, no sockets."""

BANNED_CALLS = {"open", "print", "input", "eval", "exec", "compile", "__import__", "id", "hash"}
BANNED_METHODS = {"now", "utcnow", "today", "fromtimestamp"}
ORDERED_BY = {"list", "tuple", "iter", "enumerate", "zip", "map", "filter", "next", "join"}
"""What turns a set's order into something that can be seen."""


def faults(module: str, source: str) -> Iterator[str]:
    """Everything in a module that the pure core may not have, as `file:line what`."""
    tree = ast.parse(source)
    sets = {name for node in ast.walk(tree) for name in _set_names(node)}
    for node in ast.walk(tree):
        for what in (
            *_import_faults(module, node),
            *_call_faults(node),
            *_order_faults(node, sets),
        ):
            yield f"{module}:{getattr(node, 'lineno', 0)} {what}"


def _import_faults(module: str, node: ast.AST) -> Iterator[str]:
    imported: list[str] = []
    if isinstance(node, ast.Import):
        imported = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
        inside = [f"{node.module}.{alias.name}" for alias in node.names]
        modules = [name for name in inside if (ROOT / _file_of(name)).exists()]
        imported = modules or [node.module or ""]
    for name in imported:
        is_core = name.startswith("ipledger.") and _file_of(name) in CORE
        is_socket = name == "socket" and module == "events/addresses.py"
        if not (is_core or is_socket or name.partition(".")[0] in PURE_IMPORTS):
            yield f"imports {name}"
    used = ast.unparse(node) if isinstance(node, ast.Attribute) else ""
    if used.startswith("socket.") and used.removeprefix("socket.") not in SOCKET_NAMES:
        yield f"uses {used}"


def _file_of(module: str) -> str:
    return "/".join(module.split(".")[1:]) + ".py"


def _call_faults(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Global | ast.AsyncFunctionDef | ast.Await):
        yield f"has {type(node).__name__}"
    if not isinstance(node, ast.Call):
        return
    if isinstance(node.func, ast.Name) and node.func.id in BANNED_CALLS:
        yield f"calls {node.func.id}"
    if isinstance(node.func, ast.Attribute) and node.func.attr in BANNED_METHODS:
        yield f"calls .{node.func.attr}"


def _order_faults(node: ast.AST, sets: set[str]) -> Iterator[str]:
    iterated: list[ast.expr] = []
    if isinstance(node, ast.For | ast.comprehension):
        iterated = [node.iter]
    elif isinstance(node, ast.Starred):
        iterated = [node.value]
    elif isinstance(node, ast.Call):
        name = getattr(node.func, "id", getattr(node.func, "attr", ""))
        iterated = node.args if name in ORDERED_BY else []
        if isinstance(node.func, ast.Attribute) and node.func.attr == "pop" and not node.args:
            iterated = [node.func.value]
    for expression in iterated:
        is_named = isinstance(expression, ast.Name) and expression.id in sets
        if is_named or _is_set(expression):
            yield "depends on the order of a set"


def _is_set(node: ast.AST | None) -> bool:
    if isinstance(node, ast.Set | ast.SetComp):
        return True
    if isinstance(node, ast.BinOp):
        return _is_set(node.left) or _is_set(node.right)
    name = getattr(node, "func", None)
    return isinstance(name, ast.Name) and name.id in ("set", "frozenset")


def _set_names(node: ast.AST) -> Iterator[str]:
    """Names that a statement makes a set of."""
    targets: list[ast.expr] = []
    if isinstance(node, ast.Assign) and _is_set(node.value):
        targets = node.targets
    elif isinstance(node, ast.AnnAssign | ast.arg):
        noted = ast.unparse(node.annotation) if node.annotation else ""
        if noted.startswith(("set", "frozenset")):
            yield getattr(node, "arg", "")
            targets = [node.target] if isinstance(node, ast.AnnAssign) else []
    yield from (target.id for target in targets if isinstance(target, ast.Name))


@pytest.mark.parametrize("module", [module for module in CORE if module != PORT])
def test_the_core_is_pure(module: str) -> None:
    assert list(faults(module, (ROOT / module).read_text())) == []


@pytest.mark.parametrize(
    "source",
    [
        "import time",
        "import os.path",
        "from random import choice",
        "import asyncio",
        "import secrets",
        "import uuid",
        "import logging",
        "import socket",
        "from ipledger.engine.commit_loop import Request",
        "from ipledger.events.embedded import EmbeddedServer",
        "from ipledger.projections.cluster.live.watch import Watch",
        "open('f')",
        "print('x')",
        "input()",
        "hash('x')",
        "datetime.now(UTC)",
        "date.today()",
        "for x in {1, 2}: pass",
        "for x in set(y): pass",
        "[x for x in {y for y in z}]",
        "list(set(y))",
        "', '.join({'a', 'b'})",
        "[*frozenset(y)]",
        "seen = set()\nfor x in seen: pass",
        "seen: set[str] = set()\ntuple(seen)",
        "def f(seen: set[str]): return next(iter(seen))",
        "for x in set(y) - set(z): pass",
        "seen = {1}\nseen.pop()",
        "global x",
        "async def f(): pass",
    ],
)
def test_the_scan_finds_what_is_not_pure(source: str) -> None:
    assert list(faults("engine/decide.py", source)) != []


@pytest.mark.parametrize(
    "source",
    [
        "x in {1, 2}",
        "seen = set()\nseen.add(1)\n1 in seen",
        "sorted({1, 2})",
        "len(set(y))",
        "for x in sorted(set(y)): pass",
        "from ipledger.projections.state import State",
    ],
)
def test_the_scan_lets_pass_what_is_pure(source: str) -> None:
    assert list(faults("engine/decide.py", source)) == []


def test_only_conversions_of_socket_are_used() -> None:
    assert list(faults("events/addresses.py", "import socket\nsocket.inet_pton(a, b)")) == []
    assert list(faults("events/addresses.py", "import socket\nsocket.gethostbyname(a)")) != []
