# SPDX-License-Identifier: GPL-3.0-or-later
"""contrib/demo is a test of its own: it ends with status 0 only when it showed both halves. Here it is run."""
import os
import re
from pathlib import Path

from lib.harness import check, check_equal, check_in, test
from lib.walk import block, says

DEMO = Path(__file__).resolve().parent.parent.parent / "contrib" / "demo"


def run_demo(t, *args):
    """The demo's output, after its status and what both ways of running it have in common."""
    t.counter  # skips where the guest cannot be assembled
    result = t.run(DEMO, "--program", t.program, "--qemu", t.qemu_path, *args, timeout=90, env={"TMPDIR": t.dir})
    check_equal(result.returncode, 0, f"status of the demo, which said {result.stdout[-1500:]!r} {result.stderr!r}")
    check_equal(result.stderr, "", "what it says to standard error")
    bare, ours = result.stdout.split("== 2.")
    check_in("The migration at a:                completed", bare, "first half")
    check_in("Features that the running guest lost on its way:", bare, "first half")
    check_in("smap", bare, "first half")
    check(re.search(r"warning: .*smap[^:]*\(b:\s[> ]*policy\)", ours), f"nobody said that b denies smap: {ours!r}")
    check_in("is the same before and after", ours, "second half")
    check_equal([line for line in result.stdout.splitlines() if len(line) > 80], [], "lines wider than a terminal")
    check_equal([command for _, command in t.alive()], [], "what it left running")
    check_equal(list(t.dir.glob("qml-demo-*")), [], "files that it left")
    return bare, result.stdout


@test(timeout=100)
def same_version(t):
    """contrib/demo: a site policy makes the difference; bare QEMU loses smap, the program does not"""
    run_demo(t)


@test(timeout=100)
def two_versions(t):
    """contrib/demo --second-qemu: host a has another QEMU, too, and more is lost; README.md shows what it prints"""
    bare, all_of_it = run_demo(t, "--second-qemu", t.second_qemu_path)
    check_in("sha-ni", bare, "first half")
    command, shown = block("demo").split("\n", 1)
    check_equal(command, '$ contrib/demo --second-qemu "$(tests/second-qemu)"', "command in README.md")
    # Where lines are broken depends on how long the numbers are.
    shown, printed = (" ".join(text.replace("\n  > ", " ").split()) for text in (shown, all_of_it))
    check(says([shown], f"{printed}\n"), f"README.md does not show what the demo prints: {printed!r}")


@test(timeout=100)
def it_says_when_it_cannot(t):
    """contrib/demo does not end with 0 when a half does not show what it says: here the program does nothing"""
    result = t.run(DEMO, "--program", "/bin/true", "--qemu", t.qemu_path, timeout=90, env={"TMPDIR": t.dir})
    check_equal(result.returncode, 1, "status")
    check_in("The demo could not show it", result.stderr, "reason")
    check_equal(t.run(DEMO, "--no-such-option").returncode, 64, "status after a wrong option")
    check("usage:" in t.run(DEMO, "--help", check=0).stdout, "--help")
    check(os.access(DEMO, os.X_OK), "it is not executable")
