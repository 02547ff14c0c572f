"""The fold of watch events against a model: a cluster that changes, and what is heard of it.

Whatever is lost between a watch that broke and the list behind it, who hears the mirror's changes
knows what the cluster had at the moment of the list, and no object is added twice or deleted twice.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from support.heard import Heard

from ipledger.projections.cluster.metadata import Key, Metadata
from ipledger.projections.cluster.mirror import Change, Mirror
from ipledger.projections.cluster.pods import Pod

NAMES = st.sampled_from(["a", "b", "c", "d"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("create"), NAMES),
        st.tuples(st.just("change"), NAMES),
        st.tuples(st.just("delete"), NAMES),
        st.tuples(st.just("break"), st.just("")),
        st.tuples(st.just("list"), st.sampled_from(["1", "2", "9"])),
        st.tuples(st.just("half a list"), st.just("")),
    ),
    max_size=40,
)


class Cluster:
    """Pods, and a watch of them that is heard or is broken."""

    def __init__(self) -> None:
        self.pods: dict[str, Pod] = {}
        self.version = 0
        self.is_heard = True
        self.mirror: Mirror[Pod] = Mirror()
        self.heard = Heard()

    def hear(self, changes: tuple[Change[Pod], ...] | list[Change[Pod]]) -> None:
        for change in changes:
            self.heard.take(change)

    def write(self, name: str, uid: str) -> None:
        self.version += 1
        pod = Pod(Metadata(name, "ns", uid, str(self.version)))
        self.pods[name] = pod
        if self.is_heard:
            self.hear(self.mirror.put(pod))

    def step(self, what: str, name: str) -> None:
        if what == "create" and name not in self.pods:
            self.write(name, f"u{self.version}")
        elif what == "change" and name in self.pods:
            self.write(name, self.pods[name].uid)
        elif what == "delete" and name in self.pods:
            gone = self.pods.pop(name)
            if self.is_heard:
                self.hear(self.mirror.drop(gone.metadata, gone))
        elif what == "break":
            self.is_heard = False
        elif what == "list":
            self.list(int(name))
        elif what == "half a list" and not self.is_heard:
            self.mirror.begin_list()
            self.hear(self.mirror.put_page(list(self.pods.values())[:1]))

    def list(self, page_objects: int) -> None:
        self.mirror.begin_list()
        pods = sorted(self.pods.values(), key=lambda pod: pod.key)
        for start in range(0, len(pods), page_objects):
            self.hear(self.mirror.put_page(pods[start : start + page_objects]))
        self.hear(self.mirror.end_list())
        self.is_heard = True

    def check(self) -> None:
        assert self.heard.agrees_with(self.mirror)
        if self.is_heard:
            assert self.heard.objects == {pod.key: pod for pod in self.pods.values()}


@given(STEPS)
def test_whoever_hears_the_changes_knows_what_is_there(steps: list[tuple[str, str]]) -> None:
    cluster = Cluster()
    for what, name in steps:
        cluster.step(what, name)
        cluster.check()
    cluster.list(2)
    cluster.check()


@given(STEPS)
def test_an_event_told_twice_is_one_change(steps: list[tuple[str, str]]) -> None:
    cluster = Cluster()
    for what, name in steps:
        cluster.step(what, name)
        for pod in list(cluster.mirror):
            assert cluster.mirror.put(pod) == ()


def test_an_older_object_of_a_name_cannot_delete_a_newer_one() -> None:
    mirror: Mirror[Pod] = Mirror()
    mirror.put(Pod(Metadata("a", "ns", "new", "7")))
    assert mirror.drop(Metadata("a", "ns", "old", "8")) == ()
    assert [pod.uid for pod in mirror] == ["new"]
    assert mirror.get("ns", "a") is not None
    assert len(mirror) == 1


def test_what_a_list_has_and_cannot_read_is_neither_added_nor_deleted() -> None:
    mirror: Mirror[Pod] = Mirror()
    pod = Pod(Metadata("a", "ns", "u1", "7"))
    mirror.put(pod)
    mirror.begin_list()
    assert mirror.put_page([], [Key("ns", "a"), Key("ns", "b")]) == []
    assert mirror.end_list() == []
    assert list(mirror) == [pod]
