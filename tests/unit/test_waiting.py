"""What waits is bounded, a node's part of it too; and a sender is told only so often."""

from __future__ import annotations

from ipledger.engine.patience import Patience
from ipledger.engine.waiting import Waiting, places


def test_what_came_first_is_taken_first_whosever_it_is() -> None:
    waiting: Waiting[int] = Waiting()
    for number, node in enumerate(("a", "b", "a", "")):
        assert waiting.put(number, node)
    assert [waiting.take() for _ in range(4)] == [0, 1, 2, 3]
    assert len(waiting) == 0


def test_a_node_has_its_part_and_the_others_have_the_rest() -> None:
    waiting: Waiting[int] = Waiting(queue_max=10, node_max=3)
    assert [waiting.put(n, "flooding") for n in range(5)] == [True] * 3 + [False] * 2
    assert waiting.put(5, "other")
    waiting.take()
    assert waiting.put(6, "flooding")
    assert not waiting.put(7, "flooding")


def test_all_together_have_no_more_than_there_is() -> None:
    waiting: Waiting[int] = Waiting(queue_max=4, node_max=3)
    assert all(waiting.put(n, f"node-{n}") for n in range(4))
    assert not waiting.put(4, "node-4")


def test_what_comes_from_no_node_leaves_half_to_the_nodes() -> None:
    waiting: Waiting[int] = Waiting(queue_max=4)
    assert [waiting.put(n, "") for n in range(3)] == [True, True, False]
    assert waiting.put(3, "node")


def test_what_is_put_back_is_taken_next_and_counts() -> None:
    waiting: Waiting[int] = Waiting(node_max=2)
    waiting.put(0, "a")
    waiting.put(1, "a")
    waiting.put_back(waiting.take(), "a")
    assert not waiting.has_room("a")
    assert waiting.take() == 0


def test_what_came_in_a_long_message_takes_several_places() -> None:
    waiting: Waiting[int] = Waiting(queue_max=600, node_max=256)
    long = places(b"x" * 1024 * 1024)
    assert places(b"x" * 4095) == 1
    assert waiting.put(0, "a", long)
    assert not waiting.put(1, "a")
    assert waiting.put(2, "b", long)
    waiting.put_back(waiting.take(), "a", long)
    assert waiting.put(3, "c", long)
    assert not waiting.put(4, "d")
    assert [waiting.take() for _ in range(3)] == [0, 2, 3]
    assert waiting.put(5, "a")


def test_a_sender_is_told_so_often_a_second_and_others_are_not_less() -> None:
    now = 5.0
    patience = Patience(lambda: now, answers_a_second=2)
    assert [patience.allows(b"a") for _ in range(3)] == [True, True, False]
    assert patience.allows(b"b")
    now = 6.1
    assert patience.allows(b"a")


def test_a_sender_that_was_told_so_often_is_not_heard_in_the_rest_of_the_second() -> None:
    now = 5.0
    patience = Patience(lambda: now, answers_a_second=2)
    assert patience.allows(b"a")
    assert not patience.is_over(b"a")
    assert patience.allows(b"a")
    assert patience.is_over(b"a")
    assert not patience.is_over(b"b")
    now = 6.1
    assert not patience.is_over(b"a")
    assert patience.allows(b"a")


def test_a_long_refusal_counts_as_several() -> None:
    patience = Patience(lambda: 0.0)
    assert patience.allows(b"a", b"x" * 1024 * 1024)
    assert patience.is_over(b"a")
