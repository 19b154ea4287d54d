# SPDX-License-Identifier: GPL-3.0-or-later
"""Emulated hosts with nested KVM and different CPUs: tests/hosts, for tests. They take minutes: only with QML_HOSTS."""
import os
import re
import shutil
from pathlib import Path

from .wait import Skip, check, check_equal

FOLDER = Path(__file__).resolve().parent.parent.parent / "hosts"
BUILD_TIMEOUT = 900
RUN_TIMEOUT = 600  # for the scripts; a busy machine is three times as slow as a quiet one
BOOT_TIMEOUT = 300
HOSTS_TIMEOUT = BUILD_TIMEOUT + BOOT_TIMEOUT + RUN_TIMEOUT + 120  # of a test
VERSION = {"bookworm": "7.2", "trixie": "10.0"}


def print_guest(t):
    """tests/print-guest.c, built beside the program, or where bad-peer is."""
    places = [t.program.parent, Path(os.environ.get("QML_BAD_PEER") or t.program).parent]
    found = [place / "print-guest" for place in places if os.access(place / "print-guest", os.X_OK)]
    if not found:
        raise Skip("print-guest is neither beside the program nor beside QML_BAD_PEER")
    return found[0]


def keep_figures(lines):
    """Adds lines to the file that QML_FIGURES names, if it names one: how long things took."""
    if os.environ.get("QML_FIGURES"):
        with open(os.environ["QML_FIGURES"], "a", encoding="utf-8") as figures:
            figures.write("".join(f"{line}\n" for line in lines))


class Hosts:
    """Two or three hosts, a, b and c, that are not yet booted. cpus: CPU[@DEBIAN] of each, see tests/hosts/run.

    .share     the folder that all will see: programs, the guest, and the scripts of tests/hosts/scripts
    .work      what tests/hosts/build has made
    .versions  {name: version of QEMU}
    """

    def __init__(self, t, *cpus):
        if not os.environ.get("QML_HOSTS"):
            raise Skip("emulated hosts take minutes: give --hosts to tests/run, or set QML_HOSTS=1")
        t.need_plain("the hosts do not have their libraries")
        built = t.run(FOLDER / "build", timeout=BUILD_TIMEOUT)
        if built.returncode == 77:
            raise Skip(f"no emulated hosts here: {built.stderr.strip().splitlines()[-1]}")
        check_equal(built.returncode, 0, f"status of tests/hosts/build, which said {built.stderr[-800:]!r}")
        self.t = t
        self.cpus = cpus
        self.work = Path(built.stdout.strip())
        self.versions = {name: VERSION[cpu.partition("@")[2] or "bookworm"] for name, cpu in zip("abc", cpus)}
        self.share = t.dir / "share"
        shutil.copytree(FOLDER / "scripts", self.share)
        shutil.copy(t.program, self.share / "qemu-migrate-launch")
        shutil.copy(print_guest(t), self.share / "print-guest")
        shutil.copy(t.counter, self.share / "counter.bin")
        # The library whose soname is not the same in all suites.
        found = re.search(r"(libcpuid\.so\.\d+) => (/\S+)", t.run("ldd", t.program, check=0).stdout)
        check(found, "the program needs no libcpuid")
        (self.share / "lib").mkdir()
        shutil.copy(found[2], self.share / "lib" / found[1])

    def run(self, script, status=0, kernel=""):
        """Boots them, and all run this script; the folder with what they left. status: what it must come to; kernel: more
        parameters for the hosts' kernels."""
        out = self.t.dir / "out"
        run = self.t.start(
            *(FOLDER / "run", *self.cpus, "--share", self.share, "--script", script, "--out", out),
            *("--limit", RUN_TIMEOUT, f"--kernel={kernel}"),
            # Nothing is left, however this ends; and what they boot is not made anew in there.
            env={"TMPDIR": self.t.dir, "QML_HOSTS_WORK": self.work},
        )
        ended = run.wait(BOOT_TIMEOUT + RUN_TIMEOUT + 60)
        check_equal(ended, status, f"status of the hosts, which said {run.stdout()[-1500:]!r} {run.stderr()[-500:]!r}")
        keep_figures([f"{script}: {' '.join(self.cpus)}: {run.stdout().splitlines()[-1].removeprefix('[run] ')}"])
        return out
