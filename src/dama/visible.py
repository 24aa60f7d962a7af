"""Visible text: what a terminal would act on, or a reader would not see, written as an escape.

Data comes from programs, payloads and other people. Written raw it could move the cursor, hide a
part of a line, turn its direction around, or answer for the person at the terminal.
"""

from __future__ import annotations

import re

# C0 but for tabs and ends of lines, DEL, C1; marks of direction; separators of lines; what has no
# width; halves of surrogate pairs; tags. Joiners stay: scripts and emoji are written with them.
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b\u200e\u200f"
    "\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb\ud800-\udfff"
    "\U000e0000-\U000e0fff]"
)
_ENDS = {"\n": "\\n", "\t": "\\t"}


def visible(text: str) -> str:
    r"""A text with escapes such as `\\u001b`, which JSON has as well; lines and tabs stay."""
    return _HIDDEN.sub(_escape, text)


def on_one_line(text: str) -> str:
    """A text with escapes, also for its ends of lines and tabs."""
    return re.sub("[\n\t]", lambda found: _ENDS[found[0]], visible(text))


def _escape(found: re.Match[str]) -> str:
    units = found[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))
