"""Names of streams and subjects, and what may stand in them."""

from __future__ import annotations

import pytest

from ipledger.events import names


def test_a_realm_has_one_stream_and_one_subject() -> None:
    assert names.stream("default") == "IPLEDGER_default"
    assert names.log_subject("default") == "ipledger.default.log"
    assert names.admin_command("default", "apply-pool") == "ipledger.default.cmd.admin.apply-pool"
    assert names.query("default", "pools") == "ipledger.default.query.pools"


@pytest.mark.parametrize("node", ["n1", "worker-1.example.com", "a.b-c.d"])
def test_a_nodes_name_comes_back_from_its_subject(node: str) -> None:
    subject = names.node_command("default", node, "allocate")
    tokens = subject.split(".")
    assert tokens[:4] == ["ipledger", "default", "cmd", "node"]
    assert len(tokens) == 6
    assert names.node_of(tokens[4]) == node


@pytest.mark.parametrize("realm", ["default", "a", "A-1", "x" * 63])
def test_a_realm_that_can_stand_in_a_subject_is_accepted(realm: str) -> None:
    assert names.check_realm(realm) == realm


@pytest.mark.parametrize("realm", ["", "a.b", "a b", "*", ">", "-a", "a_b", "x" * 64, "a\n", "é"])
def test_a_realm_that_cannot_stand_in_a_subject_is_an_error_that_names_it(realm: str) -> None:
    with pytest.raises(ValueError, match="realm") as error:
        names.check_realm(realm)
    assert repr(realm) in str(error.value)


@pytest.mark.parametrize("node", ["n1", "worker-1.example.com", "N1", "x" * 253])
def test_a_nodes_name_that_can_stand_in_a_subject_is_accepted(node: str) -> None:
    assert names.check_node(node) == node


@pytest.mark.parametrize(
    "node", ["", "a_b", "a b", "*", ">", ".", "a.", "-a", "a-", "x" * 254, "a\n"]
)
def test_a_nodes_name_that_is_none_is_an_error_that_names_it(node: str) -> None:
    with pytest.raises(ValueError, match="node") as error:
        names.check_node(node)
    assert repr(node) in str(error.value)


def test_a_nodes_name_with_an_empty_label_is_an_error() -> None:
    """Kubernetes node names are DNS subdomains: no label is empty."""
    with pytest.raises(ValueError, match="node"):
        names.check_node("a..b")
