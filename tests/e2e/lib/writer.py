# SPDX-License-Identifier: GPL-3.0-or-later
"""The writing guest (tests/guest/writer.S): building it, and reading what it prints.

Moving it takes its time, since it has filled its memory and goes on writing there. Its count shows that it was neither
lost nor doubled nor set back. That its memory is whole is a question of its own (`whole` below): TCG of QEMU 7.2 loses
writes during a slow migration, which is none of the program's business, and which writer.S knows to prevent.
"""
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from .serial import Serial
from .wait import Failure, Skip, check_equal, wait_until

_SOURCE = Path(__file__).resolve().parents[2] / "guest" / "writer.S"
_LINE = re.compile(r"n=([0-9a-f]{8}) lost=([0-9a-f]{8})")
_ROM = 0xFFFF0000  # where the image lies in the guest's memory
LINES_A_SECOND = 20


def build_writer(folder, mebibytes=64, pages=100):
    """Assembles the guest in `folder` and returns the image's path.

    It writes over the `mebibytes` from 1 MiB on, so QEMU's -m must be larger, and writes `pages` of them, 20 times a
    second, again: 100 pages are 8 MiB a second. The test is skipped where there are no GNU binutils.
    """
    base = Path(folder) / f"writer-{mebibytes}-{pages}"
    image = base.with_suffix(".bin")
    if image.exists():
        return image
    assembler = (os.environ.get("QML_GUEST_AS") or "as --32").split()
    for tool in (assembler[0], "ld", "objcopy"):
        if not shutil.which(tool):
            raise Skip(f"the writing guest cannot be assembled here: no {tool}")
    numbers = ["--defsym", f"MEBIBYTES={mebibytes}", "--defsym", f"PAGES={pages}"]
    if "clang" in assembler[0]:
        numbers = [word for name, value in zip(numbers[::2], numbers[1::2]) for word in ("-Wa," + name, "-Wa," + value)]
    made, whole = base.with_suffix(".o"), base.with_suffix(".elf")
    for words in (
        [*assembler, *numbers, "-I", _SOURCE.parent, "-o", made, _SOURCE],
        ["ld", "-m", "elf_i386", "-z", "noexecstack", "--build-id=none", f"-Ttext={_ROM:#x}", "-o", whole, made],
        ["objcopy", "-O", "binary", "-j", ".text", whole, base.with_suffix(".tmp")],
    ):
        result = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False)
        if result.returncode:
            raise Failure(f"the writing guest: {words[0]}: {result.stderr.strip()}")
    check_equal(base.with_suffix(".tmp").stat().st_size, 65536, "size of the writing guest's image")
    base.with_suffix(".tmp").rename(image)
    return image


@dataclass
class WriterLine:
    """One line of the guest."""

    number: int  # the counter, from 1
    lost: int  # pages that no longer held what the guest wrote there


def parse(text):
    """A WriterLine of the guest's text without its end of line; None when it is not a whole one."""
    found = _LINE.fullmatch(text)
    return found and WriterLine(int(found[1], 16), int(found[2], 16))


def _check(texts, what, whole):
    for expected, text in enumerate(texts, 1):
        line = parse(text)
        if line is None:
            raise Failure(f"{what}: not a line of the guest: {text!r}")
        if line.number != expected:
            raise Failure(f"{what}: n={line.number} where {expected} was due")
        if whole and line.lost:
            raise Failure(f"{what}: at n={line.number} the guest has lost {line.lost} pages of its memory")


class WriterSerial(Serial):
    """The file that a writing guest's COM1 is written to."""

    def lines(self):
        """Every whole WriterLine so far."""
        return [line for line in map(parse, self.text().split("\r\n")[:-1]) if line]

    def numbers(self):
        """The counts of the whole lines."""
        return [line.number for line in self.lines()]

    def advances(self, lines=3, timeout=3):
        """Whether the guest writes so many lines more within the time: it runs."""
        try:
            self.wait_more(lines, timeout)
        except Failure:
            return False
        return True

    def check_monotonic(self, first=1, whole=True):
        """The count goes up by one, from 1 on; whole: and no memory was lost; else Failure."""
        check_equal(first, 1, "first line")
        _check(self.text().split("\r\n")[:-1], self.path.name, whole)

    def check_continues(self, *earlier, whole=True):
        """As Serial.check_continues: the files `earlier` and this one, put together, have one count from 1 on."""
        texts = "".join(part.text() for part in (*earlier, self)).split("\r\n")[:-1]
        _check(texts, " + ".join(part.path.name for part in (*earlier, self)), whole)


def check_one_life(*serials):
    """No count was reached in two of the files: no part of the guest's life was lived twice, one after the other or at
    once; else Failure."""
    seen = {}
    for serial in serials:
        numbers = serial.numbers()
        if len(numbers) != len(set(numbers)):
            raise Failure(f"{serial.path.name}: the guest was set back: a count comes twice")
        for number in numbers:
            if number in seen:
                raise Failure(f"the guest lived twice: {seen[number]} and {serial.path.name} both have n={number}")
            seen[number] = serial.path.name


def wait_running(serial, timeout=20):
    """Waits until the guest has begun to count."""
    return wait_until(lambda: serial.lines(), timeout, f"line of the writing guest in {serial.path.name}")
