# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading what the counter guest (tests/guest/counter.S) prints."""
import re
from collections import namedtuple
from dataclasses import dataclass, field
from pathlib import Path

from .wait import Failure, wait_until

Registers = namedtuple("Registers", "eax ebx ecx edx")

_LINE = re.compile(
    r"n=[0-9a-f]{8}( vendor=.{12})?( (1|7|d1|d0|80000001|80000008)=[0-9a-f]{8}(,[0-9a-f]{8}){3}){6}"
    r" xcr0=([0-9a-f]{8}|ud|gp) lost=[0-9a-f]{8}"
)


@dataclass
class Line:
    """One line of the guest."""

    number: int  # the counter, from 1
    vendor: str | None  # only in the first line after a reset
    leaves: dict = field(repr=False)  # {"1" | "7" | "d1" | "d0" | "80000001" | "80000008": Registers}
    xcr0: int | None  # None: the CPU no longer takes it
    lost: int  # pages that no longer held what the guest wrote there
    text: str = field(repr=False)


def parse(text):
    """A Line of the guest's text without its end of line; None when it is not a whole one."""
    if not _LINE.fullmatch(text):
        return None
    vendor = re.search(r" vendor=(.{12})", text)
    leaves = {
        name: Registers(*(int(number, 16) for number in values.split(",")))
        for name, values in re.findall(r" (\w+)=([0-9a-f]{8},\S+)", text)
    }
    xcr0 = re.search(r" xcr0=(\S+)", text).group(1)
    return Line(
        number=int(text[2:10], 16),
        vendor=vendor.group(1) if vendor else None,
        leaves=leaves,
        xcr0=None if xcr0 in ("ud", "gp") else int(xcr0, 16),
        lost=int(text[-8:], 16),
        text=text,
    )


def _check(texts, what, first):
    """Every text is a whole line, its number one more than the last one's, and nothing was lost."""
    expected = first
    for text in texts:
        line = parse(text)
        if line is None:
            raise Failure(f"{what}: not a line of the guest: {text!r}")
        if expected is not None and line.number != expected:
            kind = "started again" if line.number == 1 else "is not one more than the last"
            raise Failure(f"{what}: n={line.number} where {expected} was due: the guest's count {kind}")
        if line.lost:
            raise Failure(f"{what}: at n={line.number} the guest has lost {line.lost} pages of its memory")
        expected = line.number + 1


class Serial:
    """The file that a counter guest's COM1 is written to (`-serial file:PATH`). It need not exist yet."""

    def __init__(self, path):
        self.path = Path(path)

    def text(self):
        """All there is, with an unfinished line at the end and, at a destination, the rest of one at the start."""
        try:
            return self.path.read_bytes().decode("ascii", "replace")
        except FileNotFoundError:
            return ""

    def _whole(self):
        return self.text().split("\r\n")[:-1]

    def lines(self):
        """Every whole Line so far. Of a line that began at a source the destination's file has only the end."""
        return [line for line in map(parse, self._whole()) if line is not None]

    def last(self):
        """The newest whole Line, or None."""
        lines = self.lines()
        return lines[-1] if lines else None

    def wait_lines(self, count, timeout=15):
        """Waits until there are at least `count` whole lines, and returns them."""
        return wait_until(
            lambda: (lines := self.lines()) and len(lines) >= count and lines,
            timeout,
            f"{count} lines of the guest in {self.path.name}",
        )

    def wait_more(self, count=2, timeout=15):
        """Waits for `count` whole lines more than there are now (the guest runs), and returns all."""
        return self.wait_lines(len(self.lines()) + count, timeout)

    def check_monotonic(self, first=1):
        """The count goes up by one from `first` on and no memory was lost, else Failure. first=None: from anywhere."""
        texts = self._whole()
        if first is None and texts and parse(texts[0]) is None:
            texts = texts[1:]  # the end of a line that began elsewhere
        _check(texts, self.path.name, first)

    def check_continues(self, *earlier):
        """The guest wrote to the files `earlier` (Serial, oldest first) and goes on in this one: put together, byte for
        byte, the count goes up by one from 1 on, so it was neither lost nor doubled nor started again, else Failure."""
        whole = "".join(part.text() for part in (*earlier, self))
        _check(whole.split("\r\n")[:-1], " + ".join(part.path.name for part in (*earlier, self)), 1)
