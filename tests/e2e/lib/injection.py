# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls of the program that are made to fail: the file that tests/faults/inject.c maps, and what it says of stacks.

    injection = Injection(t)
    injection.count(); t.run(..., env=injection.env)          # which calls there are
    for site in injection.sites():
        injection.fail(site, "ENOMEM"); t.run(..., env=injection.env)
        injection.fired()
"""
import errno
import mmap
import os
import random
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

from .wait import Skip

# As in tests/faults/inject.h.
CLASSES = ("alloc", "read", "write", "sync", "file", "open", "socket", "process", "wait")
FRAMES, ENTRIES = 40, 32768
OURS = 1 << 63
HEADER = struct.Struct(f"=IIQIIIiQQ{len(CLASSES)}Q")
ENTRY = struct.Struct(f"=QIIQ16s{FRAMES}Q")
# How calls of a class fail.
MODES = {
    "alloc": ("ENOMEM", "ENOMEM, for good"),
    "read": ("EIO", "EINTR", "short"),
    "write": ("ENOSPC", "EIO", "EINTR", "short"),
    "sync": ("EIO",),
    "file": ("EACCES", "ENOSPC"),
    "open": ("EMFILE", "EACCES", "EMFILE, for good"),
    "socket": ("EMFILE", "ECONNREFUSED", "EINTR"),
    "process": ("EAGAIN", "EPERM"),
    "wait": ("EINTR", "ENOMEM"),
}
LASTING = ", for good"
CAN_BE_SHORT = ("read", "pread", "pread64", "recv", "recvfrom", "write", "send", "sendto")


@dataclass(frozen=True)
class Site:
    """A stack that a call was seen with: innermost frame first."""

    hash: int
    kind: str
    function: str
    frames: tuple
    calls: int
    first: int

    @property
    def modes(self):
        """How it can fail."""
        return [mode for mode in MODES[self.kind] if mode != "short" or self.function in CAN_BE_SHORT]

    @property
    def own(self):
        """What it is called from in the program, whatever the libraries do between."""
        return (self.function, *(frame for frame in self.frames if frame & OURS))


class Injection:
    """The file, what is to fail, and the environment that has a program obey it."""

    def __init__(self, t):
        self.program = Path(os.path.realpath(t.program))
        places = [Path(os.environ.get(name) or "/nowhere").parent for name in ("QML_PROGRAM", "QML_BAD_PEER")]
        found = [place / "inject.so" for place in places if (place / "inject.so").exists()]
        if not found:
            raise Skip("inject.so is neither beside the program nor beside QML_BAD_PEER")
        self.path = t.dir / "injected"
        self.fresh = True  # False: what is said is for processes that run already
        self.env = {
            "LD_PRELOAD": str(found[0]),
            "QML_INJECT": str(self.path),
            "QML_INJECT_PROGRAM": str(self.program),
        }
        # A sanitizer does not like to come second, and says when memory lacks; what leaks is judged by what is reported,
        # for libraries leak, too (sanitizers.drop_leaks).
        if os.environ.get("QML_SANITIZED"):
            more = "verify_asan_link_order=0:allocator_may_return_null=1:exitcode=0"
            self.env["ASAN_OPTIONS"] = f"{t.environment()['ASAN_OPTIONS']}:{more}"

    def _write(self, armed, *what):
        """Makes the file anew, or, for processes that have it open, as new."""
        fresh = self.fresh
        header = HEADER.pack(armed, 0, *(what or [0] * 7), *([0] * len(CLASSES)))
        if fresh:
            self.path.unlink(missing_ok=True)
        with open(self.path, "wb" if fresh else "r+b", buffering=0) as file:
            if fresh:
                file.truncate(HEADER.size + ENTRIES * ENTRY.size)
            else:
                file.write(bytes(HEADER.size))  # nothing is looked at while the rest is changed
                file.write(bytes(ENTRIES * ENTRY.size))
            file.seek(4)
            file.write(header[4:])
            file.seek(0)
            file.write(header[:4])

    def count(self):
        """From now on calls are counted; none fails."""
        self._write(1)

    def rest(self):
        """From now on calls are as without all this."""
        self._write(0)

    def fail(self, site, mode, near=None):
        """From now on the first call with this stack fails: that one, or from then on all of its class.

        near: only calls whose number among those of their class is that near to what it was are looked at, which is
        faster.
        """
        name = mode.removesuffix(LASTING)
        number = -1 if name == "short" else getattr(errno, name)
        span = (max(site.first - near, 0), site.first + near) if near else (0, 0)
        self._write(1, site.hash, CLASSES.index(site.kind), 0, int(mode.endswith(LASTING)), number, *span)

    def fired(self):
        """How many calls have failed."""
        with open(self.path, "rb") as file:
            return HEADER.unpack(file.read(HEADER.size))[1]

    def totals(self):
        """{class: how many calls}"""
        with open(self.path, "rb") as file:
            return dict(zip(CLASSES, HEADER.unpack(file.read(HEADER.size))[9:]))

    def sites(self):
        """Every stack that was seen, in an order that is the same in each run."""
        result = []
        with open(self.path, "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as data:
            for number in range(ENTRIES):
                at = HEADER.size + number * ENTRY.size
                if data[at : at + 8] == bytes(8):
                    continue
                hashed, calls, kind, first, function, *frames = ENTRY.unpack_from(data, at)
                used = tuple(frame for frame in frames if frame)
                result.append(Site(hashed, CLASSES[kind], function.rstrip(b"\0").decode(), used, calls, first))
        return sorted(result, key=lambda site: (site.kind, site.function, site.frames))

    def where(self, site, most=7):
        """The functions of the program that the call came through, innermost first, for a person."""
        offsets = [hex((frame & ~OURS) - 1) for frame in site.frames if frame & OURS][:most]
        words = ["addr2line", "-s", "-f", "-e", str(self.program), *offsets]
        lines = subprocess.run(words, capture_output=True, text=True, check=False).stdout.splitlines()
        names = [f"{name} {line}" for name, line in zip(lines[::2], lines[1::2])]
        return f"{site.function} < " + " < ".join(names)


def by_own_frames(sites):
    """One site of those that differ only within libraries, the one with the fewest frames there."""
    found = {}
    for site in sites:
        kept = found.get(site.own)
        if not kept or len(site.frames) < len(kept.frames):
            found[site.own] = site
    return list(found.values())


def sample(sites, seed, most):
    """At most that many, the same for the same seed."""
    return random.Random(seed).sample(sites, min(most, len(sites)))
