"""Which plane of several is shown: the text of --plane, and the rule that all readers share."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ats_cli.errors import AtsError, SlideError
from ats_cli.slides import Plane, parse_plane
from ats_cli.slides.plane import only_one, pick, pick_channel, plane_text

numbers = st.none() | st.integers(0, 999)


@given(numbers, numbers, numbers, numbers)
def test_a_plane_is_read_as_it_is_written(z: int | None, c: int | None, t: int | None, series: int | None) -> None:
    plane = Plane(z, c, t, series)
    if plane != Plane():
        assert parse_plane(str(plane)) == plane


def test_order_and_blanks_do_not_matter() -> None:
    assert parse_plane(" c=1, z = 04 ") == Plane(z=4, c=1)
    assert str(parse_plane("c=1,z=4")) == "z=4,c=1"


@pytest.mark.parametrize("text", ["", "z", "z=", "z=-1", "z=1.5", "y=1", "z=1,z=2", "z=1;c=0", "z=²", "3"])
def test_anything_else_is_told_how(text: str) -> None:
    with pytest.raises(AtsError, match=r"^--plane .*not a plane\. .* --plane z=1,c=0\.$"):
        parse_plane(text)


def test_the_middle_focal_plane_and_the_first_time_point() -> None:
    assert pick({"z": 5, "t": 4}, None) == {"z": 2, "t": 0}
    assert pick({}, None) == {"z": 0, "t": 0}
    assert pick({"z": 5, "t": 4}, Plane(t=3)) == {"z": 2, "t": 3}
    assert plane_text({"z": 5, "c": 3, "t": 1}, {"z": 2, "t": 0, "c": 1}) == "z=2 of 5, c=1 of 3"
    assert plane_text({"z": 1}, {"z": 0}) is None


def test_channels() -> None:
    assert pick_channel(1, False, None) == 0
    assert pick_channel(3, True, None) is None
    assert pick_channel(3, True, Plane(c=1)) == 1
    for count, eight_bits in ((3, False), (2, True), (5, True)):
        with pytest.raises(SlideError, match=rf"^{count} channels .* --plane c=0 to c={count - 1}\.$"):
            pick_channel(count, eight_bits, None)
        assert pick_channel(count, eight_bits, Plane(c=1)) == 1


def test_what_is_not_there_is_a_sentence() -> None:
    with pytest.raises(SlideError, match=r"^5 focal planes, counted from 0, so there is no z=5\. Give another"):
        pick({"z": 5}, Plane(z=5))
    with pytest.raises(SlideError, match=r"1 time point, .* no t=1"):
        pick({"z": 5}, Plane(t=1))
    with pytest.raises(SlideError, match=r"3 channels, .* no c=3"):
        pick_channel(3, True, Plane(c=3))
    with pytest.raises(SlideError, match=r"1 series, .* no series=1"):
        only_one(Plane(series=1))
    only_one(Plane(z=0, c=0, t=0, series=0))
    only_one(None)
