from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segx_serve.arena import Arena, attach
from segx_serve.job import Wait, Work

ROOT = Path(__file__).parents[2]
SIZE = 64

steps = st.lists(st.tuples(st.booleans(), st.integers(1, 40)), max_size=60)
"""(take, bytes) or (give, which of those held)."""


@given(steps)
@settings(deadline=None, derandomize=True)
def test_places_are_the_lowest_that_fit_and_never_overlap(sequence: list[tuple[bool, int]]) -> None:
    arena = Arena(SIZE)
    taken = np.zeros(SIZE, bool)  # the oracle: one flag a byte
    held: list[tuple[int, int]] = []
    for take, number in sequence:
        if take:
            fits = [start for start in range(SIZE - number + 1) if not taken[start : start + number].any()]
            start = arena.take(number)
            assert start == (fits[0] if fits else None)
            if start is not None:
                taken[start : start + number] = True
                held.append((start, number))
        elif held:
            start, size = held.pop(number % len(held))
            arena.give(start, size)
            taken[start : start + size] = False
    for start, size in held:
        arena.give(start, size)
    # All that was given back has become one stretch again.
    assert arena.take(SIZE) == 0


def test_what_is_written_in_one_place_is_not_seen_in_another() -> None:
    arena = Arena(4096)
    first, second = arena.take(12), arena.take(8)
    assert (first, second) == (0, 12)
    arena.array(0, (2, 2, 3))[:] = 7
    arena.array(12, (2, 2), np.uint16)[:] = 500
    assert (arena.array(0, (12,)) == 7).all()
    assert (arena.array(12, (2, 2), np.uint16) == 500).all()
    assert arena.array(0, (2, 2, 3)).shape == (2, 2, 3)


def test_a_full_arena_says_so_and_has_room_again() -> None:
    arena = Arena(10)
    assert arena.take(11) is None
    assert arena.take(10) == 0
    assert arena.take(1) is None
    arena.give(0, 10)
    assert arena.take(1) == 0


def works(arena: Arena, *offsets: int) -> list[Work]:
    """Pictures of 2x2 pixels at these places."""
    found = []
    for offset in offsets:
        work = Work(Wait(None), 0.0)
        work.picture, work.offset = arena.array(offset, (2, 2, 3)), offset
        found.append(work)
    return found


def test_neighbours_of_one_shape_are_a_batch_without_a_copy() -> None:
    arena = Arena(4096)
    places = [arena.take(12) for _ in range(3)]
    pictures = works(arena, *(place for place in places if place is not None))
    for number, one in enumerate(pictures):
        one.picture[:] = number
    batch = arena.together(pictures)
    assert batch is not None
    assert batch.shape == (3, 2, 2, 3)
    assert [int(one.max()) for one in batch] == [0, 1, 2]
    assert np.shares_memory(batch, pictures[0].picture)
    batch[1] = 9
    assert (pictures[1].picture == 9).all()


@given(st.lists(st.integers(0, 20), min_size=1, max_size=6))
@settings(deadline=None, derandomize=True)
def test_a_batch_is_a_view_only_of_pictures_in_a_row(numbers: list[int]) -> None:
    arena = Arena(4096)
    arena.array(0, (4096,))[:] = np.arange(4096) % 251
    pictures = works(arena, *(12 * number for number in numbers))
    batch = arena.together(pictures)
    in_a_row = numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert (batch is not None) is in_a_row
    if batch is not None:
        np.testing.assert_array_equal(batch, np.stack([one.picture for one in pictures]))


@pytest.mark.parametrize("shared", [False, True])
def test_memory_goes_back_to_the_system_once_nothing_is_held(shared: bool) -> None:
    size = 96 * 2**20
    arena = Arena(size, shared=shared)
    small = arena.take(4096)
    large = arena.take(80 * 2**20)
    assert (small, large) == (0, 4096)
    arena.array(0, (4096 + 80 * 2**20,))[:] = 1
    arena.give(4096, 80 * 2**20)
    assert arena.array(0, (64 * 2**20,))[-1] == 1  # something is still held: nothing is let go of
    arena.give(0, 4096)
    if shared and sys.platform == "linux":
        assert os.fstat(arena.fd).st_blocks * 512 <= 33 * 2**20
    whole = arena.array(0, (size,))
    assert (whole[: 32 * 2**20] == 1).all()  # what is kept for the next pictures
    assert not whole[32 * 2**20 :].any()  # given back, and read as zeros
    arena.close()
    assert arena.take(size) == 0


def test_another_process_sees_the_same_bytes_through_the_descriptor() -> None:
    arena = Arena(8192, shared=True)
    arena.array(100, (4,))[:] = (1, 2, 3, 4)
    program = (
        "import sys; from segx_serve.arena import attach\n"
        "seen = attach(int(sys.argv[1]), 8192)\n"
        "print(list(map(int, seen[100:104]))); seen[200] = 77"
    )
    paths = os.pathsep.join(str(ROOT / part) for part in (".", "core", "serve"))
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, str(arena.fd)],
        env={**os.environ, "PYTHONPATH": paths},
        pass_fds=[arena.fd],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "[1, 2, 3, 4]\n"), done.stderr
    assert arena.array(200, (1,))[0] == 77
    arena.close()
    assert arena.fd == -1
    arena.close()
    assert arena.array(200, (1,))[0] == 77  # the memory outlives the descriptor


def test_a_descriptor_that_promises_too_much_is_refused_and_closed() -> None:
    arena = Arena(4096, shared=True)
    fd = os.dup(arena.fd)
    with pytest.raises(ValueError, match="size"):
        attach(fd, 2**20)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
    arena.close()
