# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts for what is written for people: each in namespaces of its own, known to the others by its name, with an /etc,
/var/lib, /run and /srv in which root's files are where the manual says. KVM is not there: what honours CPUID masks is TCG.
Needs root; without it, tests are skipped.
"""
import os
import re
from pathlib import Path

from .fleet import ip, own_network
from .wait import Failure, Skip, check, wait_until

NETWORK = "10.78.0"
BEGIN = """
set -e
mount --make-rprivate /
cp -a /etc "$1/etc"
rm -rf "$1/etc/qemu-migrate-launch"
cat "$2/hosts" >>"$1/etc/hosts"
mount --bind "$1/etc" /etc
for folder in /run /var/lib; do mount -t tmpfs -o mode=755 tmpfs "$folder"; done
mount --bind "$2" /srv
mkdir "$1/dev"
mount -t tmpfs -o mode=755 tmpfs "$1/dev"
cp -a /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty "$1/dev"
ln -s /proc/self/fd "$1/dev/fd"
mkdir -m 1777 "$1/dev/shm"
mount --bind "$1/dev" /dev
hostname "$3"
ip link set lo up
echo ready
exec sleep infinity
"""
# What a command says that goes on and waits for others.
LASTS = re.compile(r"waiting for a peer|serving with key")


class StageHost:
    """One host: .name, .address; run and start take the words of a program there."""

    def __init__(self, stage, name, number):
        self.stage, self.t, self.name = stage, stage.t, name
        self.address = f"{NETWORK}.{number}"
        self.home = self.t.dir / name
        (self.home / "bin").mkdir(parents=True)
        for link, target in (("qemu-migrate-launch", self.t.program), ("qemu-system-x86_64", self.t.qemu_path)):
            (self.home / "bin" / link).symlink_to(target)
        self.env = {
            "PATH": f"{self.home}/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            **{name: None for name in ("HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "NOTIFY_SOCKET")},
        }
        words = ["unshare", "--net", "--mount", "--uts", "sh", stage.begin, self.home, stage.shared, name]
        self.holder = self.t.start(*words, name=f"{name}-holder")
        try:
            self.holder.wait_output("ready")
        except Failure as failure:
            raise Skip(f"no namespaces here: {failure}: {self.holder.stderr().strip()}") from None
        cable = f"to-{name}"
        for step in (
            ("link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", self.holder.pid),
            ("link", "set", cable, "master", "bridge0", "up"),
        ):
            done = ip(*step)
            if done.returncode:
                raise Skip(f"no network between namespaces here: ip {' '.join(map(str, step))}: {done.stderr.strip()}")
        self.run("ip", "addr", "add", f"{self.address}/24", "dev", "eth0")
        self.run("ip", "link", "set", "eth0", "up")

    def enter(self):
        """The words that run what follows on this host, in the folder of all."""
        there = ["sh", "-c", 'cd "$0" && exec "$@"', self.stage.folder]  # who enters a mount namespace is in its /
        return ["nsenter", f"--target={self.holder.pid}", "--net", "--mount", "--uts", "--", *there]

    def run(self, *words, check=0, **options):
        return self.t.run(*self.enter(), *words, env=self.env, cwd=self.stage.folder, check=check, **options)

    def start(self, *words, **options):
        return self.t.start(*self.enter(), *words, env=self.env, cwd=self.stage.folder, **options)

    def program(self, *words, **options):
        """qemu-migrate-launch, to its end."""
        return self.run("qemu-migrate-launch", *words, **options)

    def write(self, path, text):
        """A file of root's there."""
        self.run("sh", "-c", 'umask 077; mkdir -p "${1%/*}"; cat >"$1"', "sh", path, input=text)

    def pin(self):
        """Its pin; the identity is made at the first call."""
        self.run("sh", "-c", "test -e /etc/qemu-migrate-launch/identity.key || qemu-migrate-launch identity init")
        return self.program("identity", "show").stdout.strip()

    def serve(self):
        """An agent."""
        agent = self.start("qemu-migrate-launch", "serve", name=f"{self.name}-agent")
        agent.wait_output("serving with key")

    def become(self, *words):
        """A launch or receive, until it waits for a peer, or is QEMU."""
        return self.stage.settle(self.start("qemu-migrate-launch", *words, name=f"{self.name}-launch"))


class Stage:
    """Some hosts. .folder: where all commands run, the same for all, as if each file were copied to the others; .shared:
    /srv of all."""

    def __init__(self, t, *names):
        self.t = t
        self.shared, self.folder, self.begin = t.dir / "srv", t.dir / "work", t.dir / "begin"
        t.program  # or the test is skipped, before anything is made
        own_network()
        for step in (("link", "set", "lo", "up"), ("link", "add", "bridge0", "type", "bridge"), ("link", "set", "bridge0", "up")):
            done = ip(*step)
            if done.returncode:
                raise Skip(f"no bridge here: ip {' '.join(step)}: {done.stderr.strip()}")
        self.shared.mkdir()
        self.folder.mkdir()
        (self.shared / "web1.img").write_bytes(b"\0")
        os.truncate(self.shared / "web1.img", 1 << 20)
        (self.shared / "hosts").write_text("".join(f"{NETWORK}.{number} {name}\n" for number, name in enumerate(names, 1)))
        self.begin.write_text(BEGIN)
        self.hosts = {name: StageHost(self, name, number) for number, name in enumerate(names, 1)}
        self.lasting = []

    def __getitem__(self, name):
        return self.hosts[name]

    def trust(self):
        """Everybody trusts everybody, by name."""
        for host in self.hosts.values():
            for other in self.hosts.values():
                if other is not host:
                    host.program("trust", "add", other.name, other.pin(), "--address", other.name)

    def settle(self, process, timeout=60):
        """Waits until it is QEMU, or waits for others; Failure if it ends."""
        self.lasting.append(process)

        def settled():
            check(process.alive(), f"{process.name} ended with {process.poll()}: {process.stderr()[-600:]}")
            return self.is_qemu(process) or LASTS.search(process.stderr())

        wait_until(settled, timeout, f"end of the beginning of {process.name}")
        return process

    def is_qemu(self, process):
        """Whether it has become QEMU, whose sockets are there (those of its host: a host has one QEMU)."""
        try:
            sockets = Path(f"/proc/{process.pid}/net/unix").read_text()
            exe = os.path.realpath(f"/proc/{process.pid}/exe")
        except OSError:
            return False
        return exe == os.path.realpath(self.t.qemu_path) and sockets.count(" /run/qemu-migrate-launch/") >= 2

    def settle_all(self, timeout=60):
        """Waits until each that waited for a peer is QEMU; agents stay what they are."""
        for process in self.lasting:
            if "waiting for a peer" in process.stderr():
                wait_until(lambda: self.is_qemu(process) or not process.alive(), timeout, f"QEMU instead of {process.name}")


def run_lasting(host, text, name):
    """A command line of a person's in the background, until it has settled."""
    return host.stage.settle(host.start("bash", "-c", text, name=name))
