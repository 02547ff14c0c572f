"""Manifests: what is read, and the one clear error for each thing that is wrong."""

from __future__ import annotations

import pytest

from ipledger.engine.commands import ApplyPool, ApplyReservation
from ipledger.events.facts import PoolSpec, Requirement, ReservationSpec, Route, Selector
from ipledger.kube.manifest import Manifest, ManifestError, parse

HEAD = "apiVersion: spiderpool.spidernet.io/v2beta1\nkind: SpiderIPPool\n"


def pools(text: str) -> list[PoolSpec]:
    specs: list[PoolSpec] = []
    for result in parse(text, "f.yaml"):
        assert isinstance(result, Manifest), result
        assert isinstance(result.command, ApplyPool)
        specs.append(result.command.pool)
    return specs


def error(text: str) -> str:
    (result,) = parse(text, "f.yaml")
    assert isinstance(result, ManifestError)
    return str(result)


def spec(lines: str) -> str:
    return f"{HEAD}metadata: {{name: a}}\nspec:\n{lines}"


def test_every_field_of_a_pool_is_read() -> None:
    text = spec(
        "  ipVersion: 4\n"
        "  subnet: 10.6.0.0/16\n"
        "  ips: [10.6.0.10-10.6.0.19, 10.6.1.1]\n"
        "  excludeIPs: [10.6.0.12]\n"
        "  gateway: 10.6.0.1\n"
        "  routes: [{dst: 10.9.0.0/16, gw: 10.6.0.2}]\n"
        "  default: true\n"
        "  disable: true\n"
    )

    assert pools(text) == [
        PoolSpec(
            name="a",
            ip_version=4,
            subnet="10.6.0.0/16",
            ips=("10.6.0.10-10.6.0.19", "10.6.1.1"),
            exclude_ips=("10.6.0.12",),
            gateway="10.6.0.1",
            routes=(Route("10.9.0.0/16", "10.6.0.2"),),
            default=True,
            disable=True,
        )
    ]


def test_every_affinity_of_a_pool_is_read() -> None:
    text = spec(
        "  subnet: 10.6.0.0/16\n"
        "  podAffinity:\n"
        "    matchLabels: {app: web}\n"
        "    matchExpressions:\n"
        "      - {key: tier, operator: In, values: [front, back]}\n"
        "      - {key: batch, operator: DoesNotExist, values: null}\n"
        "  namespaceName: [shop]\n"
        "  namespaceAffinity: {matchLabels: {team: shop}}\n"
        "  nodeName: [worker-1, worker-2]\n"
        "  nodeAffinity: {matchExpressions: null}\n"
        "  multusName: [kube-system/macvlan]\n"
    )

    assert pools(text) == [
        PoolSpec(
            name="a",
            ip_version=0,
            subnet="10.6.0.0/16",
            pod_affinity=Selector(
                {"app": "web"},
                (
                    Requirement("tier", "In", ("front", "back")),
                    Requirement("batch", "DoesNotExist"),
                ),
            ),
            namespace_name=("shop",),
            namespace_affinity=Selector({"team": "shop"}),
            node_name=("worker-1", "worker-2"),
            node_affinity=Selector(),
            multus_name=("kube-system/macvlan",),
        )
    ]


def test_an_empty_affinity_is_told_from_one_that_is_not_there() -> None:
    """Whether it may be empty is the engine's to say."""
    ((empty,), (absent,)) = (
        pools(spec(f"  subnet: 10.6.0.0/16\n  podAffinity: {text}\n")) for text in ("{}", "null")
    )

    assert (empty.pod_affinity, absent.pod_affinity) == (Selector(), None)


def test_a_reservation_is_read() -> None:
    text = (
        "apiVersion: spiderpool.spidernet.io/v2beta1\nkind: SpiderReservedIP\n"
        "metadata: {name: printers}\n"
        "spec: {ipVersion: 4, ips: [10.6.0.10-10.6.0.12, 10.6.0.15]}\n"
    )

    (manifest,) = parse(text, "f.yaml")

    assert isinstance(manifest, Manifest)
    assert manifest.kind == "SpiderReservedIP"
    spec = ReservationSpec("printers", 4, ("10.6.0.10-10.6.0.12", "10.6.0.15"))
    assert manifest.command == ApplyReservation(reservation=spec)


def test_a_field_of_a_pool_is_none_of_a_reservation() -> None:
    text = (
        "apiVersion: spiderpool.spidernet.io/v2beta1\nkind: SpiderReservedIP\n"
        "metadata: {name: printers}\nspec: {ips: [10.6.0.10], subnet: 10.6.0.0/16}\n"
    )

    assert error(text) == "f.yaml: document 1 (line 4): field spec.subnet: unknown"


@pytest.mark.parametrize("kind", ["SpiderCoordinator", "SpiderMultusConfig"])
def test_any_other_kind_is_refused_by_name(kind: str) -> None:
    text = f"apiVersion: spiderpool.spidernet.io/v2beta1\nkind: {kind}\nmetadata: {{name: a}}\n"

    assert f"(line 2): kind '{kind}' of apiVersion" in error(text)
    assert "this release knows SpiderIPPool of" in error(text)


def with_reuse_hold(hold: str) -> str:
    annotations = f"{{ipledger.io/reuse-hold: {hold}}}"
    return (
        f"{HEAD}metadata:\n  name: a\n  annotations: {annotations}\nspec: {{subnet: 10.6.0.0/16}}\n"
    )


@pytest.mark.parametrize("hold", ["'30'", "30", "30s", "1m30s", "1.5h", "250ms", "'0'"])
def test_a_reuse_hold_of_seconds_or_a_duration_is_accepted(hold: str) -> None:
    assert pools(with_reuse_hold(hold)) == [PoolSpec("a", 0, "10.6.0.0/16")]


@pytest.mark.parametrize("hold", ["soon", "-30", "30 s", "30d", "true", "''", "s", "null"])
def test_any_other_reuse_hold_is_refused(hold: str) -> None:
    message = error(with_reuse_hold(hold))

    assert message.startswith("f.yaml: document 1 (line 5): annotation ipledger.io/reuse-hold: ")
    assert message.endswith("is not a number of seconds or a duration such as 30s or 1m30s")


def test_other_metadata_and_status_are_left_alone() -> None:
    text = (
        f"{HEAD}metadata: {{name: a, labels: {{x: y}}, annotations: {{}}, resourceVersion: '7',\n"
        "  creationTimestamp: 2026-11-22T21:00:00Z}\n"
        "spec: {subnet: 10.6.0.0/16}\nstatus: {allocatedIPCount: 3, totalIPCount: null}\n"
    )

    assert pools(text) == [PoolSpec("a", 0, "10.6.0.0/16")]


def test_a_null_field_is_one_that_is_not_there() -> None:
    assert pools(spec("  subnet: 10.6.0.0/16\n  gateway:\n  ips: null\n")) == [
        PoolSpec("a", 0, "10.6.0.0/16")
    ]


def test_documents_of_all_sorts_of_text_are_read() -> None:
    json = (
        '{\n\t"apiVersion": "spiderpool.spidernet.io/v2beta1",\r\n\t"kind": "SpiderIPPool",'
        '\n\t"metadata": {"name": "b"}, "spec": {"subnet": "10.7.0.0/16"}}'
    )
    text = f"---\n# only a comment\n---\n{spec('  subnet: 10.6.0.0/16')}\n---\n{json}\n---\n"

    assert [pool.name for pool in pools(text)] == ["a", "b"]


def test_a_list_is_its_items() -> None:
    item = "  - {apiVersion: spiderpool.spidernet.io/v2beta1, kind: SpiderIPPool, "
    text = (
        "apiVersion: v1\nkind: List\nitems:\n"
        f"{item}metadata: {{name: a}}, spec: {{subnet: 10.6.0.0/16}}}}\n"
        f"{item}metadata: {{name: b}}, spec: {{subnet: 10.7.0.0/16, vlan: 3}}}}\n"
    )

    first, second = parse(text, "f.yaml")

    assert isinstance(first, Manifest)
    assert str(second) == "f.yaml: document 1 (line 5): field spec.vlan: unknown"


def test_an_ipv6_address_of_decimal_groups_is_not_taken_for_a_number() -> None:
    (pool,) = pools(spec("  subnet: 2001:1:2:3::/64\n  ips:\n    - 2001:1:2:3:4:5:6:7\n"))

    assert pool.ips == ("2001:1:2:3:4:5:6:7",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: b: c", "document 1 (line 1, column 5): not YAML: mapping values are not allowed"),
        (f"{HEAD}spec: [", "document 1 (line 4, column 1): not YAML: did not find expected node"),
        ("a: \x07", "document 1 (line 1, column 1): not YAML: unacceptable character #x0007"),
        ("a: !python/object:os.system x", "not YAML: could not determine a constructor"),
        ("[" * 500 + "]" * 500, "document 1 (line 1, column 65): nested too deeply"),
        ("[" * 5000 + "]" * 5000, "nest"),  # some libyaml ends it first, in words of its own
        ("just text", "document 1 (line 1): 'just text' is not a resource"),
        ("kind: Pod\napiVersion: v1", "document 1 (line 1): kind 'Pod' of apiVersion 'v1' is not"),
        ("metadata: {name: a}", "kind (nothing) of apiVersion (nothing) is not supported"),
        (
            "kind: SpiderIPPool\napiVersion: spiderpool.spidernet.io/v1",
            "document 1 (line 2): kind 'SpiderIPPool' of apiVersion 'spiderpool.spidernet.io/v1'",
        ),
        (f"{HEAD}spec: {{}}\n", "document 1 (line 1): metadata: is required"),
        (f"{HEAD}metadata: {{}}\nspec: {{}}", "document 1 (line 3): metadata.name: is required"),
        (f"{HEAD}metadata: {{name: ''}}\nspec: {{}}", "(line 3): metadata.name: '' is not a name"),
        (f"{HEAD}metadata: {{name: 7}}\nspec: {{}}", "metadata.name: 7 is wrong: expected `str`"),
        (f"{HEAD}metadata: {{name: a}}", "spec: is required"),
        (f"{HEAD}metadata: {{name: a}}\nspec: 7", "(line 4): spec: 7 is wrong: expected `object`"),
        (f"{HEAD}data: {{}}\nmetadata: {{name: a}}\nspec: {{}}", "(line 3): field data: unknown"),
        (spec("  vlan: 3"), "document 1 (line 5): field spec.vlan: unknown"),
        (spec("  nodeName: n"), "spec.nodeName: 'n' is wrong: expected `array`, got `str`"),
        (spec("  podAffinity: {labels: {}}"), "field spec.podAffinity.labels: unknown"),
        (
            spec("  nodeAffinity:\n    matchLabels:\n      a: 1"),
            "spec.nodeAffinity.matchLabels: {'a': 1} is wrong: expected `str`, got `int`",
        ),
        (
            spec("  podAffinity:\n    matchExpressions:\n      - {key: a}"),
            "(line 7): spec.podAffinity.matchExpressions[0].operator: is required",
        ),
        (spec("  default: 'yes'"), "spec.default: 'yes' is wrong: expected `bool`, got `str`"),
        (spec("  ips: 10.6.0.1"), "spec.ips: '10.6.0.1' is wrong: expected `array`, got `str`"),
        (spec("  ips:\n  - 10.6"), "document 1 (line 6): spec.ips[0]: 10.6 is wrong"),
        (spec("  routes: [{dst: 10.9.0.0/16}]"), "spec.routes[0].gw: is required"),
        (spec("  routes: [{dst: a, gw: b, mtu: 1}]"), "field spec.routes[0].mtu: unknown"),
        (spec("  subnet: a\n  subnet: b"), "field spec.subnet: is there twice"),
    ],
)
def test_what_is_wrong_is_one_error_with_its_place(text: str, message: str) -> None:
    assert error(text).startswith("f.yaml: document 1 (line ")
    assert message in error(text)


def test_the_documents_before_one_that_is_no_yaml_are_kept() -> None:
    good, bad = parse(spec("  subnet: 10.6.0.0/16\n---\na: b: c\n"), "f.yaml")

    assert isinstance(good, Manifest)
    assert str(bad).startswith("f.yaml: document 2 (line 7, column 5): not YAML")


def test_a_refusal_by_the_engine_gets_the_line_of_the_field_it_names() -> None:
    (manifest,) = parse(spec("  ips:\n    - 10.6.0.1\n    - 10.6.0.2\n  gateway: x\n"), "f.yaml")
    assert isinstance(manifest, Manifest)

    places = {
        field: str(manifest.refused(field, "no")).partition("(")[2].partition(")")[0]
        for field in ("spec.ips[1]", "spec.gateway", "spec.subnet", "")
    }

    assert places == {
        "spec.ips[1]": "line 7",
        "spec.gateway": "line 8",
        "spec.subnet": "line 4",
        "": "line 1",
    }


def test_an_error_names_the_resource_as_far_as_it_can_be_read() -> None:
    (unknown,) = parse("kind: Pod\nmetadata: {name: web}", "f.yaml")
    (malformed,) = parse("a: b: c", "f.yaml")

    assert isinstance(unknown, ManifestError)
    assert isinstance(malformed, ManifestError)
    assert (unknown.kind, unknown.name) == ("Pod", "web")
    assert (malformed.kind, malformed.name) == ("", "")
