"""What a cluster says around an ADD, in the short text of the scenarios: namespaces, nodes.

    namespace NAME [labels=K=V,…] [default-ipv4=POOL,…] [default-ipv6=POOL,…] [@KEY=TEXT]…
    node NAME labels=K=V,…

`@KEY` is the annotation `ipam.spidernet.io/KEY`, or KEY itself where it has a prefix.
"""

from __future__ import annotations

import json
import shlex

import msgspec

from ipledger.engine.commands import Allocate

_PREFIX = "ipam.spidernet.io/"


def annotation_key(text: str) -> str:
    """`@ippool` in full; a text without `@` as it is."""
    if not text.startswith("@"):
        return text
    return text[1:] if "/" in text else _PREFIX + text[1:]


def take_annotations(given: dict[str, str]) -> dict[str, str]:
    """The annotations among the words given, which they are taken out of."""
    keys = [key for key in given if key.startswith("@")]
    return {annotation_key(key): given.pop(key) for key in keys}


def labels(text: str) -> dict[str, str]:
    """Labels written `app=web,tier=gold`."""
    pairs = (pair.partition("=") for pair in text.split(",") if pair)
    return {key: value for key, _, value in pairs}


class Surroundings:
    """The namespaces and nodes that a scenario has defined."""

    def __init__(self) -> None:
        self._namespaces: dict[str, tuple[dict[str, str], dict[str, str]]] = {}
        self._nodes: dict[str, dict[str, str]] = {}

    def define(self, kind: str, text: str) -> None:
        """Define a namespace or a node, anew if it was defined before."""
        name, *words = shlex.split(text)
        given = {key: value for key, _, value in (word.partition("=") for word in words)}
        marked = labels(given.pop("labels", ""))
        if kind == "node":
            self._nodes[name] = marked
        else:
            self._namespaces[name] = marked, _defaults(given) | take_annotations(given)
        assert not given, f"unknown words in {kind} {text!r}: {given}"

    def around(self, add: Allocate) -> Allocate:
        """The ADD with what is known of its namespace and its node."""
        marked, annotations = self._namespaces.get(add.pod.namespace, ({}, {}))
        return msgspec.structs.replace(
            add,
            namespace_labels=marked,
            namespace_annotations=annotations,
            node_labels=self._nodes.get(add.node, {}),
        )


def _defaults(given: dict[str, str]) -> dict[str, str]:
    words = {"default-ipv4": "default-ipv4-ippool", "default-ipv6": "default-ipv6-ippool"}
    return {
        _PREFIX + key: json.dumps(given.pop(word).split(","))
        for word, key in words.items()
        if word in given
    }
