# SPDX-License-Identifier: GPL-3.0-or-later
"""Three emulated hosts whose CPUs and QEMUs differ."""
import json

from lib.harness import check, check_equal, check_in, test
from lib.hosts import HOSTS_TIMEOUT, Hosts

CPUS = ("rich", "mid@trixie", "poor")


@test(timeout=HOSTS_TIMEOUT, alone=True)
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
