# SPDX-License-Identifier: GPL-3.0-or-later
"""A host for the walk through README.md: a tree of files of its own, which it has as /, in namespaces of its own (network,
mounts, processes, name), with a real sshd. Nothing of it is left when its processes have ended.
"""
import json
import os
import shutil
import subprocess
from pathlib import Path

from .fleet import ip, own_network
from .wait import Failure, Skip, wait_until

TOP = Path(__file__).resolve().parents[3]
SOURCE = "/root/qemu-migrate-launch"  # where a host has the source, and where commands are typed
NETWORK = "10.77.0"
# In namespaces that are new: NAME TREE [PROGRAM SOURCE SHARED]. With these, the tree has this machine's /usr, the program
# as if it had been installed, the source, and a folder at the same path as here.
BEGIN = """
set -e
name=$1 tree=$2
mount --make-rprivate /
mount --bind "$tree" "$tree"
if [ $# -gt 2 ]; then
    mount --bind /usr "$tree/usr"
    mount -o remount,bind,ro "$tree/usr"
    mount -t tmpfs -o mode=755 tmpfs "$tree/usr/local"
    mkdir "$tree/usr/local/bin"
    cp "$3" "$tree/usr/local/bin/qemu-migrate-launch"
    mount --bind "$4" "$tree/root/qemu-migrate-launch"
    mount -o remount,bind,ro "$tree/root/qemu-migrate-launch"
    mount --bind "$5" "$tree$5"
fi
mount -t proc proc "$tree/proc"
mount --rbind /sys "$tree/sys"
mount --rbind /dev "$tree/dev"
mount -t tmpfs -o mode=755 tmpfs "$tree/run"
mkdir "$tree/run/sshd"
hostname "$name"
echo ready
exec chroot "$tree" sleep infinity
"""
LIGHT = ("usr", "etc/ssh", "var/lib", "var/log", "var/tmp", "tmp", "root/.ssh", "run", "proc", "sys", "dev", "srv")
OF_ETC = ("passwd", "group", "nsswitch.conf", "ld.so.cache", "alternatives", "debian_version", "login.defs", "qemu")


def light_tree(tree):
    """A tree for a host that has this machine's /usr, and all else for itself."""
    for folder in (*LIGHT, SOURCE[1:]):
        (tree / folder).mkdir(parents=True, exist_ok=True)
    for name in ("bin", "lib", "lib64", "sbin"):
        (tree / name).symlink_to(f"usr/{name}")
    for name in OF_ETC:
        path = Path("/etc") / name
        if path.is_dir():
            shutil.copytree(path, tree / "etc" / name, symlinks=True)
        elif path.exists():
            shutil.copy(path, tree / "etc" / name)
    (tree / "etc/shadow").write_text("root:*:19000::::::\n")  # no password, and not locked
    (tree / "tmp").chmod(0o1777)
    (tree / "root").chmod(0o700)
    return tree


class WalkHost:
    """light: the tree is one of light_tree."""

    def __init__(self, t, name, tree, number, env, light=True):
        self.t, self.name, self.tree, self.env = t, name, tree, env
        self.address = f"{NETWORK}.{number}"
        self.number = 0
        more = []
        if light:
            (tree / str(t.dir)[1:]).mkdir(parents=True, exist_ok=True)
            more = [t.program, TOP, t.dir]
        begin = t.dir / "begin-walk-host"
        begin.write_text(BEGIN)
        spaces = ["--net", "--mount", "--uts", "--pid", "--fork", "--kill-child"]
        self.holder = t.start("unshare", *spaces, "sh", begin, name, tree, *more, name=f"{name}-holder")
        try:
            self.holder.wait_output("ready")
        except Failure as failure:
            raise Skip(f"no namespaces here: {failure}: {self.holder.stderr().strip()}") from None
        children = Path(f"/proc/{self.holder.pid}/task/{self.holder.pid}/children").read_text().split()
        self.pid = int(children[0])

    def enter(self, network=True):
        """The words that run what follows on this host, with its network or that of who asks."""
        spaces = ["--mount", "--uts", "--pid", "--root", "--wd", *(["--net"] if network else [])]
        words = [f"{name}={value}" for name, value in self.env.items()]
        return ["nsenter", f"--target={self.pid}", *spaces, "--", "env", "-i", *words]

    def run(self, *argv, network=True, timeout=60, check=0, input=None):
        return self.t.run(*self.enter(network), *argv, timeout=timeout, check=check, input=input)

    def start_typed(self, command, network=True, asks=False):
        """A command, as it was typed to a shell in the source's folder; both its outputs go where its output does. One that
        asks something has a terminal, which reads what is written to the process."""
        self.number += 1
        words = ["sh", "-c", 'cd "$1" && exec bash -c "$2" 2>&1', "sh", SOURCE, command]
        more = {}
        if asks:
            words[2] = 'cd "$1" && exec script --quiet --return --flush --command "$2" /dev/null'
            more["stdin"] = subprocess.PIPE
        return self.t.start(*self.enter(network), *words, name=f"{self.name}-typed-{self.number}", **more)

    def plug(self):
        """Into the bridge, by a cable whose ends are both in namespaces of ours."""
        cable = f"to-{self.name}"
        steps = [
            ("link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", self.pid),
            ("link", "set", cable, "master", "bridge0", "up"),
        ]
        for step in steps:
            done = ip(*step)
            if done.returncode:
                raise Skip(f"no network between namespaces here: ip {' '.join(map(str, step))}: {done.stderr.strip()}")
        inside = ["nsenter", f"--target={self.pid}", "--net", "ip"]
        for step in (
            ("link", "set", "lo", "up"),
            ("addr", "add", f"{self.address}/24", "dev", "eth0"),
            ("link", "set", "eth0", "up"),
        ):
            self.t.run(*inside, *step, check=0)

    def start_sshd(self, key, known_hosts):
        """With a key of its own, for whoever has the walk's key."""
        folder = self.tree / "etc/ssh"
        host_key = folder / "walk_host_key"
        self.t.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", host_key, check=0)
        (folder / "walk_config").write_text(
            f"ListenAddress {self.address}\nHostKey /etc/ssh/{host_key.name}\nPidFile none\nUsePAM no\n"
            "AuthorizedKeysFile /root/.ssh/authorized_keys\nStrictModes no\nPasswordAuthentication no\n"
            "KbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\nSubsystem sftp internal-sftp\n"
            f"SetEnv {' '.join(f'{name}={value}' for name, value in self.env.items())}\n"
        )
        mine = self.tree / "root/.ssh"
        mine.mkdir(mode=0o700, exist_ok=True)
        shutil.copy(key, mine / "id_ed25519")
        shutil.copy(f"{key}.pub", mine / "authorized_keys")
        sshd = self.t.start(*self.enter(), "/usr/sbin/sshd", "-D", "-e", "-f", "/etc/ssh/walk_config", name=f"{self.name}-sshd")
        sshd.wait_output("Server listening on")
        public = host_key.with_suffix(".pub").read_text().split()
        known_hosts.append(f"{self.name} {public[0]} {public[1]}\n")

    def vm(self, vm):
        """What `verify` says of a VM here: its document, or None while no QEMU of it answers."""
        said = self.run("qemu-migrate-launch", "verify", vm, "--json", check=None)
        try:
            return json.loads(said.stdout)
        except ValueError:
            return None

    def wait_vm(self, vm):
        wait_until(lambda: self.vm(vm), 30, f"QEMU of {vm} on {self.name}")


def connect(t, hosts):
    """The hosts get a network that reaches nothing else, sshds, and each other's names; this process joins it for good."""
    if not os.path.exists("/usr/sbin/sshd"):
        raise Skip("no sshd")
    own_network()
    for step in (
        ("link", "set", "lo", "up"),
        ("link", "add", "bridge0", "type", "bridge"),
        ("link", "set", "bridge0", "up"),
    ):
        done = ip(*step)
        if done.returncode:
            raise Skip(f"no bridge here: ip {' '.join(step)}: {done.stderr.strip()}")
    key = t.dir / "ssh-key"
    t.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key, check=0)
    names = "".join(f"{host.address} {host.name}\n" for host in hosts.values())
    known_hosts = []
    for host in hosts.values():
        host.plug()
        (host.tree / "etc/hosts").write_text(f"127.0.0.1 localhost\n{names}")
        host.start_sshd(key, known_hosts)
    for host in hosts.values():
        (host.tree / "root/.ssh/known_hosts").write_text("".join(known_hosts))
