# SPDX-License-Identifier: GPL-3.0-or-later
"""Three emulated hosts whose CPUs and QEMUs differ."""
import json

from lib.harness import MACHINE, Serial, check, check_equal, check_in, test
from lib.hosts import HOSTS_TIMEOUT, Hosts

XSAVE = 1 << 26  # leaf 1 ECX
CPUS = ("rich", "mid@trixie", "poor")


@test(timeout=HOSTS_TIMEOUT, lane="hosts", full=True)
def meet(t):
    """rich, mid and poor, one with QEMU 10.0: their guests' CPUs differ, all reach all; one is cut off, one ends"""
    hosts = Hosts(t, *CPUS)
    out = hosts.run("meet", status=125)

    folders = {"a": out / "a", "b": out / "a" / "of-b", "c": out / "c"}

    def read(name, what):
        path = folders[name] / what
        return path.read_text() if path.exists() else ""

    for name, version in hosts.versions.items():
        check_in(f"version {version}.", read(name, "qemu"), f"QEMU of host {name}")
    flags = {name: set(read(name, "flags").split()) for name in "abc"}
    check(all("svm" in found for found in flags.values()), "not all have svm")
    has = {name: [flag for flag in ("avx2", "xsave", "sse4a") if flag in flags[name]] for name in "abc"}
    check_equal(has, {"a": ["avx2", "xsave", "sse4a"], "b": ["xsave", "sse4a"], "c": ["sse4a"]}, "flags")
    tables = {read(name, "table") for name in "abc"}
    check(len(tables) == 3 and all(json.loads(table)["cpuid"] for table in tables), "guests see the same CPU on two hosts")

    reached = {step: {name: read(name, step).split() for name in "abc"} for step in ("met", "cut", "healed", "lost")}
    everywhere = {"a": ["host-b", "host-c"], "b": ["host-a", "host-c"], "c": ["host-a", "host-b"]}
    check_equal(reached["met"], everywhere, "reached")
    check_equal(reached["cut"], {"a": ["host-b"], "b": ["host-a"], "c": []}, "reached when c is cut off")
    check_equal(reached["healed"], everywhere, "reached when c is back")
    check_equal(reached["lost"], {"a": ["host-c"], "b": [], "c": ["host-a"]}, "reached when b has ended")
    check(not (out / "b" / "log").exists(), "the host that ended has left something")


VM = "web1"
MOVES = (("a", "b"), ("b", "c"), ("c", "a"))


@test(timeout=HOSTS_TIMEOUT, lane="hosts")
def around(t):
    """agents on rich (7.2), mid (10.0) and poor (7.2): launch on a with both, a → b → c → a under KVM, agents restarted"""
    out = Hosts(t, *CPUS).run("around")

    def read(name, what):
        path = out / name / f"{VM}.{what}"
        return path.read_text(errors="replace").strip() if path.exists() else ""

    serials = [Serial(out / name / f"{VM}.{number}.serial") for number, name in enumerate("abca")]
    check(all(serial.last() for serial in serials), f"not on all hosts did the guest print: {read('a', '0.err')[-600:]}")
    serials[-1].check_continues(*serials[:-1])
    first = serials[0].last()
    for name, serial in zip("bca", serials[1:]):
        check_equal((serial.last().leaves, serial.last().xcr0), (first.leaves, first.xcr0), f"CPUID on {name}")
    # Of what some have, nothing is left that one lacks: so it is not just that all hosts are the same.
    check_equal(first.leaves["1"].ecx & XSAVE, 0, "XSAVE, which poor lacks")

    for number, (source, destination) in enumerate(MOVES, 1):
        what = f"move {number}, {source} to {destination}"
        check_in(f"{VM}: 1 vCPU as agreed", read(destination, f"{number}.verify"), f"{what}: verify")
        argv = read(destination, f"{number}.argv").splitlines()
        check_equal(argv[argv.index("-incoming") + 1][:5], "defer", f"{what}: -incoming")
        check_in(MACHINE, argv[argv.index("-machine") + 1], f"{what}: -machine")
    kept = {(name, number): read(name, f"{number}.agreement") for name in "abc" for number in range(4)}
    check(kept["a", 0] and len(set(kept.values())) == 1, "not all hosts keep one agreement all the time")
    tables = {read(name, f"{number}.table") for name in "abc" for number in range(4)}
    check(len(tables) == 1 and "".join(tables), "the table is not the same on all hosts all the time")
    for name in "abc":
        said = (out / name / "agent.log").read_text()
        check_equal(said.count("serving"), 2, f"starts of the agent of {name}, which says {said[-600:]}")
        check_in("what was agreed", read(name, "check"), f"agreement check on {name}")
