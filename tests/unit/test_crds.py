"""The resource definitions: valid by Kubernetes' rules, and the same fields as the code reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_type_hints

import msgspec
import msgspec.inspect
import pytest
import yaml
from support.structural import fields, violations

from ipledger.kube import resources

FOLDER = Path(__file__).parents[2] / "deploy/crds"
CRDS: dict[str, dict[str, Any]] = {
    document["spec"]["names"]["kind"]: document
    for file in FOLDER.glob("spiderpool.*.yaml")
    for document in yaml.safe_load_all(file.read_text())
}
READ: dict[str, Any] = {
    resources.POOL_KIND: "_Pool",
    resources.SUBNET_KIND: "_Subnet",
    resources.RESERVATION_KIND: "_Reservation",
}


def _version(kind: str) -> dict[str, Any]:
    version: dict[str, Any]
    (version,) = CRDS[kind]["spec"]["versions"]
    return version


def _schema(kind: str) -> dict[str, Any]:
    schema: dict[str, Any] = _version(kind)["schema"]["openAPIV3Schema"]
    return schema


def test_every_kind_has_a_definition_in_a_file_of_its_name() -> None:
    assert set(CRDS) == {*READ, "SpiderEndpoint"}
    files = {f"{c['spec']['group']}_{c['spec']['names']['plural']}.yaml" for c in CRDS.values()}
    assert {file.name for file in FOLDER.glob("spiderpool.*")} == files
    assert set(yaml.safe_load((FOLDER / "kustomization.yaml").read_text())["resources"]) == files


@pytest.mark.parametrize("kind", CRDS)
def test_names_and_version_agree_with_each_other(kind: str) -> None:
    crd = CRDS[kind]
    names = crd["spec"]["names"]
    assert crd["metadata"]["name"] == f"{names['plural']}.{crd['spec']['group']}"
    assert f"{crd['spec']['group']}/{_version(kind)['name']}" == resources.API_VERSION
    assert (names["listKind"], names["singular"]) == (f"{kind}List", kind.lower())
    assert names["shortNames"]


@pytest.mark.parametrize("kind", CRDS)
def test_schemas_are_structural_and_described(kind: str) -> None:
    assert violations(_schema(kind)) == []


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ({"type": "object", "description": "x", "properties": {"a": {}}}, ".a: type None"),
        ({"type": "array", "description": "x"}, ": no items"),
        ({"type": "string", "description": "x", "uniqueItems": True}, ": uniqueItems is forbidden"),
        ({"type": "object", "description": "x", "required": ["a"]}, ": requires a"),
        ({"type": "boolean", "description": "x", "default": 0}, ": default 0 is no boolean"),
        ({"type": "object"}, ": no description"),
        (
            {
                "type": "object",
                "description": "x",
                "properties": {"m": {"type": "array", "description": "x", "items": {}}},
            },
            ".m[]: type None",
        ),
    ],
)
def test_schemas_against_the_rules_are_found(broken: dict[str, Any], message: str) -> None:
    found = violations(broken)
    assert len(found) == 1
    assert found[0].startswith(message)


@pytest.mark.parametrize("kind", CRDS)
def test_printer_columns_show_fields_of_the_schema(kind: str) -> None:
    known = {path for path, _ in fields(_schema(kind))}
    for column in _version(kind)["additionalPrinterColumns"]:
        path = column["jsonPath"].replace("[0]", "[]").partition(".matchLabels[")[0]
        assert path in known, column["name"]


@pytest.mark.parametrize("kind", READ)
def test_definition_and_code_know_the_same_fields_with_the_same_types(kind: str) -> None:
    shape = get_type_hints(getattr(resources, READ[kind]))["spec"]
    defined = {path: schema["type"] for path, schema in fields(_schema(kind)["properties"]["spec"])}
    assert defined == dict(_read("", msgspec.inspect.type_info(shape)))


@pytest.mark.parametrize("kind", READ)
def test_fields_that_the_code_requires_are_required_below_spec(kind: str) -> None:
    for path, schema in fields(_schema(kind)["properties"]["spec"]):
        if path in (".routes[]", ".podAffinity.matchExpressions[]"):
            names = ["dst", "gw"] if path == ".routes[]" else ["key", "operator"]
            assert schema["required"] == names


def test_status_is_a_subresource_of_what_users_write_and_of_nothing_else() -> None:
    with_status = {kind for kind in CRDS if "status" in _version(kind).get("subresources", {})}
    assert with_status == set(READ)


_NAMES: dict[type[msgspec.inspect.Type], str] = {
    msgspec.inspect.IntType: "integer",
    msgspec.inspect.StrType: "string",
    msgspec.inspect.BoolType: "boolean",
    msgspec.inspect.VarTupleType: "array",
}


def _read(at: str, read: msgspec.inspect.Type) -> list[tuple[str, str]]:
    """The fields below a type, with the schema's name of their types."""
    found: list[tuple[str, str]] = []
    for path, below in _below(read):
        found.append((at + path, _type_name(below)))
        found.extend(_read(at + path, below))
    return found


def _below(read: msgspec.inspect.Type) -> list[tuple[str, msgspec.inspect.Type]]:
    if isinstance(read, msgspec.inspect.StructType):
        return [(f".{field.encode_name}", _present(field.type)) for field in read.fields]
    if isinstance(read, msgspec.inspect.VarTupleType):
        return [("[]", read.item_type)]
    if isinstance(read, msgspec.inspect.DictType):
        return [("{}", read.value_type)]
    return []


def _present(read: msgspec.inspect.Type) -> msgspec.inspect.Type:
    if isinstance(read, msgspec.inspect.UnionType):
        (read,) = (one for one in read.types if not isinstance(one, msgspec.inspect.NoneType))
    return read


def _type_name(read: msgspec.inspect.Type) -> str:
    return _NAMES.get(type(read), "object")
