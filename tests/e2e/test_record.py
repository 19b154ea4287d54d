# SPDX-License-Identifier: GPL-3.0-or-later
"""contrib/record-host: what it records of a QEMU is what profile --from-qmp reads."""
import json
from pathlib import Path

from lib.harness import check, check_equal, check_in, test

RECORD = Path(__file__).resolve().parents[2] / "contrib" / "record-host"


@test()
def host(t):
    """a recorded host has the features that a profile made on it has, and baseline takes it beside that"""
    a = t.host("a")
    said = t.run(RECORD, "--qemu", t.qemu_path, "--accel", "tcg", "--name", "far", check=0)
    (t.dir / "far.json").write_text(said.stdout)
    a.run("profile", "--from-qmp", t.dir / "far.json", "-o", t.dir / "far.profile", check=0)
    a.run("profile", "--unsigned", "--accel", "tcg", "--machine", "q35", "-o", t.dir / "near.profile", check=0)
    far, near = (json.loads((t.dir / f"{name}.profile").read_text()) for name in ("far", "near"))
    check_equal((far["cpu"]["host"], far["qemu"]["version"]), ("far", near["qemu"]["version"]), "host, and version of its QEMU")
    check_equal(set(near["cpu"]["available"]) - set(far["cpu"]["available"]), set(), "features that were not recorded")
    both = a.run("baseline", "--json", "--cpu-form", "base", t.dir / "far.profile", t.dir / "near.profile", check=0)
    check_equal([one["name"] for one in json.loads(both.stdout)["hosts"]], ["far", near["cpu"]["host"]], "hosts of the baseline")


@test()
def what_it_cannot(t):
    """a QEMU that does not start, and none at all: status 1, and one line of its own"""
    wrong = t.run(RECORD, "--qemu", t.qemu_path, "--accel", "tcg", "--machine", "abacus", check=1)
    check_in("does not start", wrong.stderr.splitlines()[-1], "its last line")
    missing = t.run(RECORD, "--qemu", t.dir / "none", check=1)
    check_equal(missing.stderr, f"{t.dir}/none: No such file or directory\n", "what it says")
    check(not wrong.stdout and not missing.stdout, "there is a document")
