# SPDX-License-Identifier: GPL-3.0-or-later
"""The profiles of contrib/apparmor, on emulated hosts whose kernels enforce them."""
import re
import shutil
from pathlib import Path

from lib.harness import Serial, check, check_equal, check_in, test
from lib.hosts import HOSTS_TIMEOUT, Hosts

PROFILES = Path(__file__).resolve().parents[2] / "contrib" / "apparmor" / "qemu-migrate-launch"
FEATURES = Path("/usr/share/apparmor-features/features")  # of Debian's kernel
LAUNCH, AGENT = "qemu-migrate-launch (enforce)", "qemu-migrate-launch-agent (enforce)"


@test(timeout=HOSTS_TIMEOUT, lane="hosts")
def apparmor(t):
    """agents, launch, receive, a guardian and migrate, all confined, do their work, and what is none of it is refused"""
    parser = shutil.which("apparmor_parser", path="/usr/sbin:/sbin:/usr/bin")
    if not parser or not FEATURES.exists():
        t.skip("no apparmor_parser")
    hosts = Hosts(t, "rich", "poor")
    # For the kernel over there: this machine's may have less, or no AppArmor at all.
    t.run(parser, "-Q", "-K", "-M", FEATURES, "-o", hosts.share / "profiles", PROFILES, check=0)
    out = hosts.run("apparmor", kernel="apparmor=1 security=apparmor audit=1")

    def read(name, what):
        path = out / name / what
        return path.read_text(errors="replace").strip() if path.exists() else ""

    labels = {name: dict(line.split(" ", 1) for line in read(name, "labels").splitlines()) for name in "ab"}
    both = {"worker": AGENT, "network": AGENT}
    check_equal(labels["a"], {**both, "launched": "unconfined"}, f"labels on a, which says {read('a', 'log')[-600:]}")
    check_equal(labels["b"], {**both, "received": "unconfined", "guardian": LAUNCH}, "labels on b")
    for name in "ab":
        check_equal(set(read(name, "profiles").splitlines()), {LAUNCH, AGENT}, f"profiles on {name}")
        check_equal(read(name, "audit"), "", f"what was refused on {name}, though it was needed")
    source, destination = Serial(out / "a" / "web1.0.serial"), Serial(out / "b" / "web1.1.serial")
    check(source.last() and destination.last(), f"the guest did not print: {read('a', 'web1.1.migrate')[-600:]}")
    destination.check_continues(source)
    check_in("web1: 1 vCPU as agreed", read("b", "web1.1.verify"), "verify")
    for name in "ab":
        refused = read(name, "refused")
        for what in ("write", "start", "agent-write", "agent-read", "agent-home"):
            status = re.search(rf"^{what} (\d+)$", read(name, "forbidden"), re.M)
            check(status and status[1] != "0", f"{what} on {name}: {read(name, 'forbidden')}")
            check_in("Permission denied", read(name, f"forbidden.{what}"), f"{what} on {name}")
        for path in ("/etc/cron.d/", "/bin/dash", "/root/", "/etc/ssh/sshd_config"):
            check_in(f'name="{path}', refused.replace("/usr/bin/", "/bin/"), f"what was refused on {name}")
