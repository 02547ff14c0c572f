"""Both requirements.txt against pyproject.toml and what is installed here. Needs no network.

What this cannot see: advisories and withdrawn releases (`make audit` asks for those), and
whether a package does what its maintainers say.
"""

from __future__ import annotations

import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = ("embedded", "dev", "bench")
"""What `make` installs beside the program itself."""

WANTED = [Requirement(text) for text in PROJECT["dependencies"]]
WANTED_BY_MAKE = WANTED + [
    Requirement(text) for extra in EXTRAS for text in PROJECT["optional-dependencies"][extra]
]


def locked(file: str) -> dict[str, tuple[Requirement, list[str]]]:
    """Each package of a lock file: what is pinned, and the hashes of its files."""
    text = (ROOT / file).read_text().replace("\\\n", " ")
    found: dict[str, tuple[Requirement, list[str]]] = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            pin, *hashes = re.split(r"\s+--hash=", line.strip())
            requirement = Requirement(pin)
            name = canonicalize_name(requirement.name)
            assert name not in found, name
            found[name] = requirement, hashes
    return found


LOCKED = locked("deploy/requirements.txt")
LOCKED_BY_MAKE = locked("tests/requirements.txt")


def version(requirement: Requirement) -> str:
    """The one version that a package is pinned to."""
    (pin,) = requirement.specifier
    assert pin.operator == "==", requirement
    return pin.version


@pytest.mark.parametrize("locked", [LOCKED, LOCKED_BY_MAKE], ids=["image", "make"])
def test_each_package_is_pinned_to_one_version_and_its_files_to_hashes(
    locked: dict[str, tuple[Requirement, list[str]]],
) -> None:
    assert locked
    for requirement, hashes in locked.values():
        assert version(requirement)
        assert hashes, requirement
        assert [text for text in hashes if not re.fullmatch("sha256:[0-9a-f]{64}", text)] == []


@pytest.mark.parametrize("wanted", WANTED, ids=str)
def test_what_the_program_asks_for_is_locked(wanted: Requirement) -> None:
    assert wanted.specifier.contains(version(LOCKED[canonicalize_name(wanted.name)][0]))


@pytest.mark.parametrize("wanted", WANTED_BY_MAKE, ids=str)
def test_what_make_installs_is_locked_and_is_what_is_here(wanted: Requirement) -> None:
    pinned = version(LOCKED_BY_MAKE[canonicalize_name(wanted.name)][0])
    assert wanted.specifier.contains(pinned)
    assert metadata.version(wanted.name) == pinned


def test_the_tests_run_with_the_versions_of_the_image() -> None:
    """Save what the image does not have: the lock of `make` is the larger one."""
    for name, (requirement, _hashes) in LOCKED.items():
        assert version(requirement) == version(LOCKED_BY_MAKE[name][0]), name


@pytest.mark.parametrize("name", LOCKED)
def test_what_a_locked_package_needs_is_locked_too(name: str) -> None:
    """As far as it is installed here; the image's pip refuses the rest."""
    try:
        needs = metadata.requires(name) or []
    except metadata.PackageNotFoundError:
        return
    extras = {
        "",
        *(extra for w in WANTED if canonicalize_name(w.name) == name for extra in w.extras),
    }
    for need in map(Requirement, needs):
        if need.marker is None or any(need.marker.evaluate({"extra": extra}) for extra in extras):
            assert canonicalize_name(need.name) in LOCKED, f"{name} needs {need}"


def test_the_image_installs_what_is_locked_and_runs_as_nobody() -> None:
    steps = (ROOT / "deploy/Dockerfile").read_text()
    assert "COPY deploy/requirements.txt /\n" in steps
    assert "--require-hashes -r /requirements.txt" in steps
    assert "--no-deps ." in steps
    assert re.findall(r"^USER (.*)$", steps, re.MULTILINE)[-1] == "65532:65532"
