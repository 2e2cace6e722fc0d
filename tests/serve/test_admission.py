from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segx_serve.admission import Admission, FullError


def test_requests_beyond_the_bound_are_refused_and_places_come_back() -> None:
    admission = Admission(max_requests=1, max_bytes=100)
    with admission.ticket() as first:
        first.enter()
        assert admission.full
        with admission.ticket() as second, pytest.raises(FullError) as full:
            second.enter()
        assert full.value.reason == "requests"
    assert not admission.full
    assert admission.requests == 0


def test_a_ticket_gives_back_its_bytes_even_after_an_error() -> None:
    admission = Admission(max_requests=9, max_bytes=100)

    def overgrow() -> None:
        with admission.ticket() as ticket:
            ticket.grow(60)
            ticket.grow(41)

    with pytest.raises(FullError) as full:
        overgrow()
    assert full.value.reason == "bytes"
    assert admission.bytes == 0


@given(st.lists(st.lists(st.integers(0, 60), max_size=4), max_size=8))
@settings(deadline=None, derandomize=True)
def test_never_more_than_the_bound_is_held(wanted: list[list[int]]) -> None:
    admission = Admission(max_requests=5, max_bytes=100)
    tickets = []
    for sizes in wanted:
        ticket = admission.ticket()
        tickets.append(ticket)
        try:
            ticket.enter()
            for size in sizes:
                ticket.grow(size)
        except FullError:
            pass
        assert admission.requests <= 5
        assert admission.bytes <= 100
    for ticket in tickets:
        ticket.__exit__(None, None, None)
    assert (admission.requests, admission.bytes) == (0, 0)
