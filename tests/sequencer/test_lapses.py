"""How long a worker that let leases end waits for the same task."""

from __future__ import annotations

from sequencer.lapses import MAX_LEASES_WAITED, Lapses

TASK, OTHER_TASK, WORKER, OTHER = b"t" * 32, b"u" * 32, b"w" * 32, b"x" * 32


def test_two_leases_are_free_and_then_the_wait_doubles_up_to_a_bound() -> None:
    lapses, waits = Lapses(), []
    for _ in range(12):
        lapses.note(TASK, WORKER, slot=1_000)
        free_at = lapses.free_at(TASK, WORKER, lease_slots=10)
        waits.append(free_at and free_at - 1_000)
    assert waits == [0, 10, 20, 40, 80, 160, 320, 640, 640, 640, 640, 640]
    assert waits[-1] == MAX_LEASES_WAITED * 10


def test_nobody_else_waits_and_no_other_task_is_meant() -> None:
    lapses = Lapses()
    for _ in range(5):
        lapses.note(TASK, WORKER, slot=1_000)
    assert lapses.free_at(TASK, OTHER, 10) == 0
    assert lapses.free_at(OTHER_TASK, WORKER, 10) == 0


def test_what_is_over_is_forgotten() -> None:
    lapses = Lapses()
    lapses.note(TASK, WORKER, 1)
    lapses.note(OTHER_TASK, WORKER, 1)
    lapses.forget_all_but({OTHER_TASK})
    assert len(lapses) == 1
