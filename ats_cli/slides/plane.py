"""Which plane of a file is shown, by one rule for all readers.

Of focal planes the middle one; of time points the first. One channel is shown as grey, three channels of 8 bits as red,
green and blue. Of other channels the user must name one, which is shown as grey.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

from ats_cli.errors import AtsError, SlideError

NAMES = {"z": "focal plane", "c": "channel", "t": "time point", "series": "series"}
_MOST_NAMED = 8


@dataclass(frozen=True)
class Plane:
    """The plane that the user asks for, counted from 0. None: by the rule."""

    z: int | None = None
    c: int | None = None
    t: int | None = None
    series: int | None = None

    def __str__(self) -> str:
        """Return the text that `parse_plane` reads.

        >>> str(Plane(c=1, series=0))
        'c=1,series=0'
        """
        return ",".join(f"{axis}={index}" for axis, index in self.requested.items())

    @property
    def requested(self) -> dict[str, int]:
        """The axes for which the user names an index, with the index."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {axis: index for axis, index in values.items() if index is not None}


def parse_plane(text: str) -> Plane:
    """Parse text like "z=1,c=0". Raises AtsError for anything else."""
    found: dict[str, int] = {}
    for part in text.split(","):
        axis, _, value = (piece.strip() for piece in part.partition("="))
        if axis not in NAMES or axis in found or not (value.isascii() and value.isdigit()):
            raise AtsError(
                f"--plane {text}: not a plane. Give any of z, c, t and series, each once with a number from 0: "
                "--plane z=1,c=0."
            )
        found[axis] = int(value)
    return Plane(**found)


def check(axis: str, index: int, count: int) -> int:
    """Return `index`. Raises SlideError if a file with `count` planes along `axis` has none of that index."""
    if index < count:
        return index
    what = NAMES[axis] if count == 1 or axis == "series" else NAMES[axis] + "s"
    raise SlideError(f"{count} {what}, counted from 0, so there is no {axis}={index}. Give another --plane.")


def pick(sizes: Mapping[str, int], plane: Plane | None) -> dict[str, int]:
    """Return the focal plane and the time point to show.

    sizes: the number of planes along "z" and "t", 1 if left out.
    Raises SlideError if `plane` asks for one that the file does not have.
    """
    z, t = sizes.get("z", 1), sizes.get("t", 1)
    wanted = {"z": z // 2, "t": 0} | (plane or Plane()).requested
    return {"z": check("z", wanted["z"], z), "t": check("t", wanted["t"], t)}


def pick_channel(count: int, eight_bits: bool, plane: Plane | None, channels: Sequence[str] = ()) -> int | None:
    """Return the channel to show as grey; None if the file has three, and they are red, green and blue.

    eight_bits: whether three channels may be red, green and blue (`channels.are_red_green_blue`).
    channels: the names of the channels in the file.
    Raises SlideError if `plane` must name a channel and names none, or one that the file does not have.
    """
    if plane is not None and plane.c is not None:
        return check("c", plane.c, count)
    if count == 1:
        return 0
    if count == 3 and eight_bits:
        return None
    raise SlideError(
        f"{count} channels{_listed(channels)} that are not red, green and blue. Name the one to show as grey, "
        f"--plane c=0 to c={count - 1}."
    )


def _listed(channels: Sequence[str]) -> str:
    """Return the first names of channels, in brackets."""
    named = [channel for channel in channels if channel]
    more = ", ..." if len(named) > _MOST_NAMED else ""
    return f" ({', '.join(named[:_MOST_NAMED])}{more})" if named else ""


def only_one(plane: Plane | None) -> None:
    """Check the plane asked of a file that has only one. Raises SlideError if it is another."""
    for axis, index in (plane or Plane()).requested.items():
        check(axis, index, 1)


def plane_text(sizes: Mapping[str, int], shown: Mapping[str, int]) -> str | None:
    """Return the plane shown, as text, along each axis with several; None if there is only one plane.

    >>> plane_text({"z": 5, "c": 3, "t": 1}, {"z": 2, "t": 0})
    'z=2 of 5'
    """
    return ", ".join(f"{axis}={shown[axis]} of {n}" for axis, n in sizes.items() if n > 1 and axis in shown) or None
