# SPDX-License-Identifier: GPL-3.0-or-later
"""The virtio guest (tests/guest/virtio.c), which accepts all features that its devices offer: building it, and reading
what it prints."""
import os
import re
import shutil
import subprocess
from collections import namedtuple
from dataclasses import dataclass, field
from pathlib import Path

from .serial import Serial
from .wait import Failure, Skip, check_equal, wait_until

_SOURCE = Path(__file__).resolve().parents[2] / "guest"
_COMPILE = """-m32 -march=i386 -Os -std=gnu11 -ffreestanding -fno-pic -fno-pie -fno-stack-protector -mgeneral-regs-only
-fno-asynchronous-unwind-tables -fcf-protection=none""".split()
_LINE = re.compile(
    r"(?P<now>now )?virtio (?P<place>[0-9a-f]{2}\.[0-7]) (?P<id>1af4:10[0-9a-f]{2})"
    r" offered (?P<offered>[0-9a-f]{16}) accepted (?P<accepted>[0-9a-f]{16})(?P<refused> refused)?"
    r"|devices (?P<count>[0-9a-f]{2})|tick (?P<tick>[0-9a-f]{8})"
)
KINDS = {0x1000: "net", 0x1001: "blk", 0x1003: "console", 0x1004: "scsi", 0x1005: "rng"}  # transitional ids
MODERN = {1: "net", 2: "blk", 3: "console", 4: "rng", 8: "scsi", 19: "vsock"}  # 0x1040 + these


def build_negotiator(folder):
    """Builds the guest in `folder` and returns the image's path. The test is skipped where there is no compiler."""
    base = Path(folder) / "negotiator"
    image = base.with_suffix(".bin")
    if image.exists():
        return image
    compiler = (os.environ.get("QML_GUEST_CC") or "gcc").split()
    for tool in (compiler[0], "ld", "objcopy"):
        if not shutil.which(tool):
            raise Skip(f"the virtio guest cannot be built here: no {tool}")
    objects = [base.with_suffix(".start.o"), base.with_suffix(".o")]
    whole, partial = base.with_suffix(".elf"), base.with_suffix(".tmp")
    for words in (
        [*compiler, "-m32", "-c", "-I", _SOURCE, "-o", objects[0], _SOURCE / "virtio_start.S"],
        [*compiler, *_COMPILE, "-c", "-o", objects[1], _SOURCE / "virtio.c"],
        ["ld", "-m", "elf_i386", "-z", "noexecstack", "--build-id=none", "-T", _SOURCE / "virtio.ld", "-o", whole, *objects],
        ["objcopy", "-O", "binary", "-j", ".text", whole, partial],
    ):
        result = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False)
        if result.returncode:
            raise Failure(f"the virtio guest: {words[0]}: {result.stderr.strip()}")
    check_equal(partial.stat().st_size, 65536, "size of the virtio guest's image")
    partial.rename(image)
    return image


Device = namedtuple("Device", "id offered accepted")


def kind(device):
    """What a Device is: net, blk, rng …"""
    number = int(device.id[5:], 16)
    return KINDS.get(number) or MODERN.get(number - 0x1040) or device.id


@dataclass
class Boot:
    """The guest from one reset to the next, wherever it ran."""

    negotiated: dict = field(default_factory=dict)  # {place: Device} as it negotiated them
    now: dict = field(default_factory=dict)  # {place: Device} as it saw them last
    changes: list = field(default_factory=list)  # [(place, Device)] that it found to be another one at a tick
    ready: bool = False  # it has negotiated all
    ticks: int = 0

    def accepted(self):
        """{kind: accepted features}: what must be the same wherever and whenever it negotiates. One of each kind."""
        return {kind(device): device.accepted for device in self.negotiated.values()}

    def offered_now(self):
        """{kind: features that it is offered where it runs now}."""
        return {kind(device): device.offered for device in self.now.values()}


class NegotiatorSerial(Serial):
    """The file that a virtio guest's COM1 is written to. `earlier` are those (oldest first) that the guest wrote to before
    it came here: what they have belongs to the same life."""

    earlier = ()

    def follow(self, *earlier):
        """The guest comes here from there; returns itself."""
        self.earlier = earlier
        return self

    def boots(self):
        """[Boot], oldest first; Failure when the count is not unbroken in one of them, or a device refused."""
        found = [Boot()]
        text = "".join(part.text() for part in (*self.earlier, self))
        for line in text.split("\r\n")[:-1]:
            match = _LINE.fullmatch(line)
            if not match:
                raise Failure(f"{self.path.name}: not a line of the guest: {line!r}")
            boot = found[-1]
            if match["tick"]:
                boot.ticks += 1
                check_equal(int(match["tick"], 16), boot.ticks, f"count of the guest in {self.path.name}")
                continue
            if match["count"]:
                check_equal(int(match["count"], 16), len(boot.negotiated), "devices of the guest")
                boot.ready = True
                continue
            if match["refused"]:
                raise Failure(f"{self.path.name}: a device does not take what it offers: {line!r}")
            device = Device(match["id"], int(match["offered"], 16), int(match["accepted"], 16))
            if match["now"]:
                boot.changes.append((match["place"], device))
            elif boot.ready:
                boot = Boot()
                found.append(boot)
            boot.now[match["place"]] = device
            if not match["now"]:
                boot.negotiated[match["place"]] = device
        return found

    def wait_boot(self, number=1, ticks=2, timeout=20):
        """Waits until the guest has begun for the `number`-th time and ticked so often since; returns that Boot."""
        boots = wait_until(
            lambda: (found := self.boots()) and len(found) >= number and found[number - 1].ticks >= ticks and found,
            timeout,
            f"boot {number} and tick {ticks} of the guest in {self.path.name}",
        )
        check_equal(len(boots), number, f"times that the guest began in {self.path.name}")
        return boots[-1]

    def wait_here(self, timeout=20):
        """Waits until the guest goes on here, and has looked at its devices here; returns its Boot."""
        before = self.text().count("tick ")
        wait_until(lambda: self.text().count("tick ") >= before + 3, timeout, f"ticks of the guest in {self.path.name}")
        return self.boots()[-1]
