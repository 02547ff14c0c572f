"""What every Kubernetes object has: its metadata, of which only the needed fields are kept.

Shapes let pass what they do not know: an API server of any version may add fields.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import msgspec

ENGINE_ANNOTATIONS = ("ipam.spidernet.io/", "ipledger.io/")
"""How the annotations begin that the engine reads."""

_KEPT_ANNOTATIONS = (
    *ENGINE_ANNOTATIONS,
    "k8s.v1.cni.cncf.io/networks",
    "v1.multus-cni.io/default-network",
    "kubernetes.io/config.mirror",
)
"""The others can be large (a whole manifest), and are of no use here."""


class Shape(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """Base of everything that is read from an API server."""


class Key(NamedTuple):
    """Which object of a kind. `namespace` is '' where the kind has none."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


class OwnerReference(Shape, frozen=True):
    """An owner of an object; of several, one at most is the controller."""

    api_version: str
    kind: str
    name: str
    uid: str
    controller: bool = False


class Metadata(Shape, frozen=True):
    """`metadata` of an object. Of the annotations only those are kept that somebody reads."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    owner_references: tuple[OwnerReference, ...] = ()
    finalizers: tuple[str, ...] = ()
    deletion_timestamp: str | None = None
    deletion_grace_period_seconds: int | None = None

    def __post_init__(self) -> None:
        if self.annotations:
            kept = kept_annotations(self.annotations)
            msgspec.structs.force_setattr(self, "annotations", kept)

    @property
    def key(self) -> Key:
        """Which object of its kind this is."""
        return Key(self.namespace, self.name)

    @property
    def controller(self) -> OwnerReference | None:
        """The controller among the owners."""
        return _controller_among(self.owner_references)

    @property
    def is_terminating(self) -> bool:
        """Whether somebody asked for the object's deletion."""
        return self.deletion_timestamp is not None


class Object(Shape, frozen=True):
    """Any object, with its metadata alone.

    Its `apiVersion` and `kind` are not kept: whoever asked for it knows them.
    """

    metadata: Metadata = Metadata()

    @property
    def key(self) -> Key:
        """Which object of its kind this is."""
        return self.metadata.key

    @property
    def uid(self) -> str:
        """The UID: another one under the same name is another object."""
        return self.metadata.uid


def kept_annotations(annotations: Mapping[str, str]) -> dict[str, str]:
    """The annotations that somebody reads."""
    return {k: v for k, v in annotations.items() if k.startswith(_KEPT_ANNOTATIONS)}


def _controller_among(owners: Iterable[OwnerReference]) -> OwnerReference | None:
    return next((owner for owner in owners if owner.controller), None)
