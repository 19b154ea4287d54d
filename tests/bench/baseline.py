# SPDX-License-Identifier: GPL-3.0-or-later
"""The baseline of many hosts: bench_baseline.c (the decision alone), the `baseline` command with as many files, and libvirt's
`virsh hypervisor-cpu-baseline` with as many CPUs, asked of a daemon of our own."""
import json
import os
import random
import shutil
import subprocess
import xml.etree.ElementTree as ET

from lib.harness import wait_until
from measure import Run, Unable, cpu_seconds, helper, interleave, median
from report import goal, note, table

SIZES = (2, 10, 100, 500, 1000)


def unsigned_profile(t, host):
    path = t.dir / "one.profile"
    host.run("profile", "--accel", "tcg", "--machine", "q35", "--qemu", t.qemu_path, "--unsigned", "-o", path, check=0)
    return path


def fewer(features, chance):
    """As bench_baseline.c does it: of a third of them each is missing on one in ten hosts."""
    return [one for number, one in enumerate(features) if number % 3 or chance.randrange(10)]


def profiles(t, path):
    """As many files of hosts as are needed, each a real profile with another name and some features fewer."""
    chance = random.Random(1)
    original = json.loads(path.read_text())
    files = []
    for number in range(max(SIZES)):
        made = {**original, "cpu": {**original["cpu"], "host": f"host{number}"}}
        made["cpu"]["available"] = fewer(original["cpu"]["available"], chance)
        files.append(t.dir / f"host{number}.profile")
        files[-1].write_text(json.dumps(made))
    return files


def decision(program, path):
    """bench_baseline.c prints a table of its own."""
    words = [program, path]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    heads, *lines = done.stdout.splitlines()
    rows = [line.split() for line in lines]
    for row in rows:
        row.append(f"{float(row[1]) / int(row[0]) * 1e3:.1f}")
    heads = ["profiles", "median ms", "most ms", "held MiB", "peak RSS MiB", "features", "losses", "us a profile"]
    table("baseline: the decision and each host's -cpu, without reading; medians of 9 runs", heads, rows)


# libvirt


class Libvirt:
    """A libvirtd of our own: its configuration, socket and state are in the test's folder as far as it lets us choose."""

    def __init__(self, t):
        for program in ("libvirtd", "virsh"):
            if not shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin"):
                raise Unable(f"no {program} (Debian: libvirt-daemon-system, libvirt-daemon-driver-qemu, libvirt-clients)")
        if os.geteuid() != 0:
            raise Unable("libvirtd wants root")
        self.t = t
        self.folder = t.dir / "libvirt"
        self.folder.mkdir()
        config = self.folder / "libvirtd.conf"
        config.write_text(f'unix_sock_dir = "{self.folder}"\nauth_unix_rw = "none"\nauth_unix_ro = "none"\n')
        path = shutil.which("libvirtd", path=f"{os.environ['PATH']}:/usr/sbin")
        self.daemon = t.start(path, "--config", config, "--pid-file", self.folder / "pid", name="libvirtd")
        self.socket = self.folder / "libvirt-sock"
        wait_until(lambda: self.socket.exists() or not self.daemon.alive(), 20, "libvirtd's socket")
        done = t.run(*self.virsh("version", "--daemon"), timeout=60)
        if done.returncode:
            raise Unable(f"libvirtd does not answer: {done.stderr.strip()[-300:]} {self.daemon.stderr()[-300:]}")
        self.version = done.stdout.strip().splitlines()[-1]

    def virsh(self, *words):
        return ["virsh", "-q", "-c", f"qemu+unix:///system?socket={self.socket}", *map(str, words)]

    def cpus(self):
        """Files with as many <cpu> as there are hosts: what libvirt itself says of this QEMU's host model, with features
        fewer."""
        words = self.virsh("domcapabilities", "--virttype", "qemu", "--arch", "x86_64", "--machine", "q35")
        done = self.t.run(*words, timeout=60, check=0)
        model = ET.fromstring(done.stdout).find("./cpu/mode[@name='host-model']")
        if model is None or model.find("model") is None:
            raise Unable("libvirt knows no host model under TCG here")
        chance = random.Random(1)
        features = [one.get("name") for one in model.findall("feature") if one.get("policy") == "require"]
        files = {}
        for size in SIZES:
            text = ""
            for _ in range(size):
                text += f"<cpu mode='custom' match='exact'><model>{model.find('model').text}</model>"
                vendor = model.find("vendor")
                text += f"<vendor>{vendor.text}</vendor>" if vendor is not None else ""
                text += "".join(f"<feature policy='require' name='{one}'/>" for one in fewer(features, chance)) + "</cpu>"
            files[size] = self.folder / f"{size}.xml"
            files[size].write_text(text)
        return files

    def baseline(self, path):
        """(ms, ms of CPU of virsh and of the daemon)"""
        words = ["hypervisor-cpu-baseline", "--virttype", "qemu", "--arch", "x86_64", "--machine", "q35", path]
        before = cpu_seconds(self.daemon.pid)
        run = Run(self.virsh(*words))
        return run.seconds * 1e3, (run.cpu + cpu_seconds(self.daemon.pid) - before) * 1e3


def commands(t, host, files, libvirt, rounds):
    """The command as people run it, all of it: start, files, JSON, decision, table."""
    theirs, refused = libvirt.cpus() if libvirt else {}, []
    ways = {}
    for size in SIZES:
        argv = host.argv("baseline", *files[:size])

        def ours(argv=argv):
            run = Run(argv)
            return run.seconds * 1e3, run.cpu * 1e3

        ways["ours", size] = ours
        if libvirt:
            try:
                libvirt.baseline(theirs[size])
                ways["theirs", size] = lambda path=theirs[size]: libvirt.baseline(path)
            except Unable:
                refused.append(size)
    samples = interleave(ways, rounds)
    rows = []
    for size in SIZES:
        of = lambda who, which, size=size: median([one[which] for one in samples[who, size]])
        argv = host.argv("baseline", *files[:size])
        peak = Run(argv, peak=True).peak_kib / 1024
        row = [size, f"{of('ours', 0):.1f}", f"{of('ours', 1):.1f}", f"{of('ours', 1) / size:.2f}", f"{peak:.1f}"]
        if ("theirs", size) in samples:
            row += [f"{of('theirs', 0):.1f}", f"{of('theirs', 1):.1f}", f"{of('ours', 1) / of('theirs', 1):.2f}"]
        else:
            row += ["-", "-", "-"]
        rows.append(row)
    each = lambda size: median([one[1] for one in samples["ours", size]]) / size
    goal("baseline: CPU for one of 1000 profiles beside one of 100 (linear)", each(1000) / each(100), 1.25)
    heads = ["profiles", "ms", "CPU ms", "a profile", "peak RSS MiB", "virsh ms", "virsh+daemon CPU ms", "CPU ratio"]
    table(f"baseline: the command, whole; medians of {rounds} rounds", heads, rows)
    if refused:
        words = t.run(*libvirt.virsh("hypervisor-cpu-baseline", "--virttype", "qemu", theirs[refused[0]]), timeout=60)
        note(f"libvirt refuses {', '.join(map(str, refused))}: {words.stderr.strip().splitlines()[-1]}")


def run(t, options):
    program = helper(t, options, "bench-baseline")
    t.fresh("base")
    host = t.host("desk")
    path = unsigned_profile(t, host)
    decision(program, path)
    libvirt = None
    try:
        libvirt = Libvirt(t)
        note(f"libvirt: {libvirt.version}")
    except Unable as reason:
        note(f"beside libvirt: skipped, {reason}")
    commands(t, host, profiles(t, path), libvirt, max(3, options.rounds // 2))
