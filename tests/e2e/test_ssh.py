# SPDX-License-Identifier: GPL-3.0-or-later
"""contrib/ssh-launch and contrib/ssh-migrate, over real sshds of hosts in network namespaces."""
import os
import shlex
import signal
import subprocess
from pathlib import Path

from lib.fleet import CONTRIB, Fleet
from lib.harness import check, check_equal, check_in, test, wait_until
from lib.writer import WriterSerial, build_writer

VM = "web1"


def pair(t, **how):
    """Hosts a and b with sshd."""
    fleet = Fleet(t, "ab", **how)
    fleet.start_sshd()
    return fleet


def launch(fleet, *options, check=0, **guest):
    """contrib/ssh-launch from a to b; the guest counts at a."""
    result = fleet.contrib(
        "ssh-launch", *options, VM, "a", "b", "--", "qemu-system-x86_64", *fleet.guest_args(**guest), check=check
    )
    if check == 0:
        fleet["a"].serial().wait_lines(3)
    return result


def placed(fleet):
    """Where the records say it is, on a and on b."""
    return [(fleet[name].record(VM) or {}).get("place") for name in "ab"]


def running(fleet, name):
    """The pid of the VM's QEMU on a host, when its record's pid is alive; or None."""
    record = fleet[name].record(VM)
    pid = record["pid"] if record else None
    return pid if pid and Path(f"/proc/{pid}").exists() else None


@test(timeout=60)
def hosts_in_namespaces(t):
    """three hosts with addresses, names and sshds of their own, which reach each other and nothing else"""
    fleet = Fleet(t, "abc")
    fleet.start_sshd()
    for name, host in fleet.hosts.items():
        check_equal(fleet.ssh(name, "hostname", check=0).stdout.strip(), name, "name")
        for other in fleet.hosts.values():
            host.run_here("bash", "-c", f": </dev/tcp/{other.address}/22", check=0)
        outside = host.run_here("ip", "route", "get", "192.0.2.1")
        check(outside.returncode != 0, f"a way out: {outside.stdout}")
        check_equal(fleet.ssh(name, "command -v qemu-migrate-launch", check=0).stdout.strip(), str(host.bin / "qemu-migrate-launch"), "program")
        (host.home / "mine").write_text(name)
        check_equal(fleet.ssh(name, "cat", f"{fleet.here}/mine", check=0).stdout, name, "a file of its own at one path")
    own = t.run(t.qemu_path, "-version", check=0).stdout.splitlines()[0]
    check_in(own, fleet.ssh("b", "qemu-system-x86_64 -version").stdout, "QEMU of b")
    fleet["b"].set_qemu(t.second_qemu_path)
    check_in("QEMU emulator version 10.", fleet.ssh("b", "qemu-system-x86_64 -version").stdout, "QEMU of b, upgraded")


@test(timeout=90)
def pair_at_once(t):
    """ssh-launch, and ssh-migrate: the guest counts on at b, both QEMUs outlive the ssh sessions; run again, both say that
    there is nothing to do"""
    fleet = pair(t)
    launched = launch(fleet)
    check_in("a: web1: agreed with b", launched.stderr, "what ssh-launch says")
    check_in("b: web1 waits here for 'migrate web1' on a", launched.stderr, "what ssh-launch says")
    check_equal(placed(fleet), ["here", "incoming"], "places")
    source, destination = running(fleet, "a"), running(fleet, "b")
    for pid in (source, destination):
        check_equal(os.getsid(pid), pid, "its session")
    check_in("runs on a already", launch(fleet).stderr, "ssh-launch again")
    moved = fleet.contrib("ssh-migrate", VM, "a", "b", check=0)
    check_in("a QEMU waits for web1 on b already", moved.stderr, "what ssh-migrate says")
    check_in("web1 has moved to b", moved.stderr, "what ssh-migrate says")
    check_in("web1: 1 vCPU as agreed", moved.stdout, "its result")
    wait_until(lambda: not running(fleet, "a"), 10, "end of QEMU on a")
    check_equal(running(fleet, "b"), destination, "QEMU on b")
    fleet["b"].serial().wait_lines(3)
    fleet["b"].serial().check_continues(fleet["a"].serial())
    again = fleet.contrib("ssh-migrate", VM, "a", "b", check=0)
    check_in("web1 is on b already", again.stderr, "ssh-migrate again")
    check_in("web1: 1 vCPU as agreed", again.stdout, "its result")
    there = launch(fleet, check=14)
    check_in("has a QEMU on b already", there.stderr, "ssh-launch, when it has moved")


@test(timeout=60)
def words_are_quoted(t):
    """arguments with quotes, dollars and blanks arrive as they are; options and names that would be ssh's are refused"""
    fleet = pair(t)
    odd = "it's $HOME \"x\" `id`; a\\b *"
    launch(fleet, "--option", "--wait", check=64)  # no number
    serial = fleet.here / odd.replace("/", "")
    args = [word.replace(f"{fleet.here}/guest.serial", str(serial)) for word in fleet.guest_args()]
    fleet.contrib("ssh-launch", VM, "a", "b", "--", "qemu-system-x86_64", *args, check=0)
    check((fleet["a"].home / serial.name).exists(), "no such file on a")
    for words in (("web1; id", "a", "b"), (VM, "-oProxyCommand=id", "b"), (VM, "a", "a"), (VM, "a"), ("--port", VM, "a", "b")):
        result = fleet.contrib("ssh-migrate", *words, check=64)
        check("uid=" not in result.stdout + result.stderr, "a word was run")


@test(timeout=60)
def by_sudo_with_other_names(t):
    """--sudo runs the program by sudo -n; --remote-command names it; --peer, --from and --to, where ssh has other names"""
    fleet = pair(t)
    for host in fleet.hosts.values():
        sudo = host.bin / "sudo"
        sudo.write_text(f'#!/bin/sh\n[ "$1" = -n ] || exit 1\nshift\necho "$1" >>{host.home}/sudo.log\nexec "$@"\n')
        sudo.chmod(0o755)
        (host.bin / "qemu-migrate-launch").rename(host.bin / "the program's")
    with open(fleet.ssh_config, "a") as config:
        for name in "ab":
            host = fleet[name]
            config.write(f"Host {name}-by-ssh\n HostName {host.address}\n HostKeyAlias {name}\n")
    common = ("--sudo", "--remote-command", "the program's")
    words = ("--", "qemu-system-x86_64", *fleet.guest_args())
    fleet.contrib("ssh-launch", *common, "--peer", "b", VM, "root@a-by-ssh", "b-by-ssh", *words, check=0)
    moved = fleet.contrib("ssh-migrate", *common, "--from", "a", "--to", "b", VM, "root@a-by-ssh", "b-by-ssh", check=0)
    check_in("web1 has moved to b", moved.stderr, "what it says")
    for host in fleet.hosts.values():
        check_equal(set((host.home / "sudo.log").read_text().splitlines()), {"the program's"}, f"what sudo ran on {host.name}")


@test(timeout=60)
def what_is_missing(t):
    """a host that ssh cannot reach: 69; no program there: 78; no such VM: the program's 64; all say on which host"""
    fleet = pair(t)
    nobody = fleet.contrib("ssh-migrate", VM, "a", "c", check=69)
    check_in("no answer from c by ssh", nobody.stderr, "what it says")
    missing = fleet.contrib("ssh-migrate", "--remote-command", "/nowhere/x y", VM, "a", "b", check=78)
    check_in("b has no /nowhere/x y", missing.stderr, "what it says")
    check_in("a: no VM web1 was launched here", fleet.contrib("ssh-migrate", VM, "a", "b", check=64).stderr, "what it says")
    usage = fleet.contrib("ssh-migrate", "--help", check=0)
    check_in("--remote-command", usage.stdout, "help")
    check_equal(subprocess.run([CONTRIB / "ssh-launch"], capture_output=True, check=False).returncode, 64, "no words")


@test(timeout=90)
def launch_that_fails(t):
    """one side cannot: its status and words, and nothing is left waiting on the other"""
    fleet = pair(t)
    fleet.configure(fleet["b"], more="[policy]\nrequire = smap\n")
    fleet.configure(fleet["a"], deny="smap")
    failed = launch(fleet, check=10)
    check_in("smap", failed.stderr, "what it says")
    wait_until(lambda: not running(fleet, "a") and not running(fleet, "b"), 5, "end of both")
    # The source has no QEMU: its status comes at once, and the destination does not wait for the rest of a minute.
    fleet.configure(fleet["a"]), fleet.configure(fleet["b"])
    (fleet["a"].bin / "qemu-system-x86_64").unlink()
    (fleet["a"].bin / "qemu-system-x86_64").symlink_to("/bin/false")
    failed = launch(fleet, "--timeout", "50", check=None)
    check(failed.returncode not in (0, 255), f"status {failed.returncode}")
    wait_until(lambda: not running(fleet, "b"), 5, "end of what waited on b")


@test(timeout=90)
def refused_by_migrate(t):
    """machines that differ: 13, the guest runs on at a; what waited on b before stays and is named"""
    fleet = pair(t)
    launch(fleet)
    refused = fleet.contrib("ssh-migrate", VM, "a", "b", "--", "--bandwidth", "nonsense", check=64)
    check_in("is not a rate", refused.stderr, "what it says")
    check_in("web1 is still on a; the QEMU that waited for it on b before still does", refused.stderr, "what it says")
    check_equal(placed(fleet), ["here", "incoming"], "places")
    fleet["a"].serial().wait_more()


def begin_move(fleet, bandwidth="12M", terminal=False):
    """The writing guest is half-way from a to b; the Process of ssh-migrate, or of the terminal that it runs in."""
    image = build_writer(fleet.t.dir, 48)
    args = fleet.guest_args(memory=64, image=image)
    fleet.contrib("ssh-launch", VM, "a", "b", "--", "qemu-system-x86_64", *args, check=0)
    fleet["a"].serial(WriterSerial).wait_lines(3)
    words = fleet.contrib_argv("ssh-migrate", VM, "a", "b", "--", "--bandwidth", bandwidth)
    if terminal:
        line = f"stty cols 80; exec {shlex.join(map(str, words))}"
        words = ["script", "--quiet", "--return", "--flush", "--command", line, "/dev/null"]
        process = fleet.t.start(*words, name="desk", stdin=subprocess.PIPE, env={"TERM": "xterm", "SHELL": "/bin/sh"})
        process.wait_output("MiB/s")
    else:
        process = fleet.t.start(*words, name="desk")
        process.wait_output(" %,")
    return process


@test(timeout=90)
def interrupted(t):
    """SIGINT in mid-copy: status 13, the guest runs on at a, QEMU on b ends"""
    fleet = pair(t)
    process = begin_move(fleet)
    process.signal_group(signal.SIGINT)  # as a terminal does
    process.expect_status(13, 20)
    check_in("interrupted", process.stderr(), "what it says")
    check_in("web1 is still on a", process.stderr().splitlines()[-1], "its last line")
    wait_until(lambda: not running(fleet, "b"), 10, "end of QEMU on b")
    fleet["a"].serial(WriterSerial).wait_more()
    fleet["a"].serial(WriterSerial).check_monotonic(whole=False)


@test(timeout=90)
def interrupted_at_a_terminal(t):
    """the same by Ctrl-C at a terminal, where migrate draws its bar"""
    fleet = pair(t)
    process = begin_move(fleet, terminal=True)
    process.stdin.write(b"\x03")
    process.stdin.flush()
    process.expect_status(13, 20)
    check_in("\x1b[K", process.stdout(), "what it drew")
    check_in("web1 is still on a", process.stdout().splitlines()[-1], "its last line")
    wait_until(lambda: not running(fleet, "b"), 10, "end of QEMU on b")
    fleet["a"].serial(WriterSerial).wait_more()


@test(timeout=90)
def the_desk_is_lost(t):
    """ssh-migrate and its ssh are killed in mid-copy: the move goes on, and run again it finds the guest there"""
    fleet = pair(t)
    process = begin_move(fleet)
    process.signal_group(signal.SIGKILL)
    process.wait(5)
    check_equal(placed(fleet), ["moving", "incoming"], "places when the desk has gone")
    wait_until(lambda: placed(fleet) == ["moved", "here"], 40, f"end of the move, not {placed(fleet)}")
    check_in("web1 is on b already", fleet.contrib("ssh-migrate", VM, "a", "b", check=0).stderr, "run again")
    fleet["b"].serial(WriterSerial).wait_lines(3)
    fleet["b"].serial(WriterSerial).check_continues(fleet["a"].serial(WriterSerial), whole=False)


@test(timeout=90)
def taken_up(t):
    """migrate and its watcher are killed in mid-copy: ssh-migrate run again takes up what was left, or begins anew"""
    fleet = pair(t)
    process = begin_move(fleet)
    program = os.path.realpath(t.program)
    killed = []
    for pid, words in t.alive():
        try:
            here = os.readlink(f"/proc/{pid}/exe") == program and f"migrate {VM}" in words
        except OSError:
            continue
        if here:
            os.kill(pid, signal.SIGKILL)
            killed.append(words)
    check(killed, "nothing to kill")
    process.expect_status(137)
    check_in("run this again", process.stderr().splitlines()[-1], "its last line")
    check_equal(placed(fleet)[0], "moving", "place at a")
    again = fleet.contrib("ssh-migrate", VM, "a", "b")
    check_in("web1 is on its way already: going on", again.stderr, "run again")
    where = "b" if again.returncode == 0 else "a"
    check_equal(bool(running(fleet, where)), True, f"QEMU on {where}: {again.stderr}")
    fleet[where].serial(WriterSerial).wait_more()
