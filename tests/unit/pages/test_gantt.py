"""The scale of a Gantt chart: what is idle for long is cut, and nothing changes its order."""

import pytest

from dama.pages.gantt import GAP, WIDTH, Scale


@pytest.mark.parametrize(
    ("busy", "gaps"),
    [
        ([], []),  # nothing ran: as it is
        ([(0, 100)], []),
        ([(0, 10), (90, 100)], [(10, 90)]),
        ([(40, 60)], [(0, 40), (60, 100)]),
        ([(50, 60), (0, 55)], [(60, 100)]),  # beside each other, in any order
        ([(-50, 10), (12, 200)], []),  # begun before and ending after what is shown
    ],
)
def test_idle_time_is_cut_and_the_order_of_times_is_kept(busy, gaps):
    scale = Scale(0, 100, busy, is_true=False)

    places = [scale(second) for second in range(101)]

    assert scale.gaps == gaps
    assert places == sorted(places)
    assert (places[0], places[-1]) == (0, pytest.approx(WIDTH))
    for begin, end in gaps:
        assert scale(end) - scale(begin) == pytest.approx(GAP)
    assert Scale(0, 100, busy, is_true=True).gaps == []


def test_short_idle_time_is_never_cut():
    assert Scale(0, 2, [(0, 0.1), (1.9, 2)], is_true=False).gaps == []
