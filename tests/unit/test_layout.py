"""The map for wheels (pyproject.toml), the links for tools and the folders stay together."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_package_is_named_in_the_map_and_linked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = project["tool"]["setuptools"]["packages"]
    folders = project["tool"]["setuptools"]["package-dir"]
    links = {f"ipledger.{p.name}": p for p in (ROOT / "src/ipledger").iterdir() if p.is_symlink()}

    assert set(packages) == set(folders)
    assert set(links) == {package for package in packages if package.count(".") == 1}
    for package, link in links.items():
        assert link.resolve() == ROOT / folders[package]
        below = {init.parent for init in link.resolve().rglob("__init__.py")}
        inside = {
            ROOT / folders[p] for p in packages if p == package or p.startswith(f"{package}.")
        }
        assert below == inside


def test_every_package_says_what_belongs_in_it() -> None:
    folders = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    for folder in folders["package-dir"].values():
        init = ROOT / folder / "__init__.py"
        assert init.read_text().startswith('"""'), init
