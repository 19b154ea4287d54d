# SPDX-License-Identifier: GPL-3.0-or-later
"""trust pair HOST, over real sshds of hosts in network namespaces, and over things that are no ssh."""
import json
import shlex
import shutil
import signal
import subprocess

from lib.fleet import Fleet
from lib.harness import check, check_equal, check_in, test, wait_until

PIN = "sha256//" + "B" * 42 + "A="  # of nobody


def strangers(t, names="ab"):
    """A fleet with sshd, whose hosts have no identities and trust nobody."""
    fleet = Fleet(t, names)
    fleet.start_sshd()
    for host in fleet.hosts.values():
        shutil.rmtree(host.home / "config" / "trust.d")
        for name in ("identity.key", "identity.crt"):
            (host.home / "config" / name).unlink()
    return fleet


def pair(fleet, name, host, *options, ssh=None, **how):
    """trust pair on one of the hosts."""
    return fleet[name].run("trust", "pair", host, "--ssh", ssh or fleet.ssh_words(), *options, **{"timeout": 100, **how})


def entries(host):
    """{name: entry} of its trust.d."""
    folder = host.home / "config" / "trust.d"
    return {path.stem: json.loads(path.read_text()) for path in folder.glob("*.json")} if folder.exists() else {}


def at_terminal(fleet, name, *words):
    """The Process of the program on a host, at a terminal of its own."""
    line = f"stty cols 200; exec {shlex.join(map(str, fleet[name].argv(*words)))}"
    argv = ["script", "--quiet", "--return", "--flush", "--command", line, "/dev/null"]
    env = {**fleet[name].env, "TERM": "xterm", "SHELL": "/bin/sh"}
    return fleet.t.start(*argv, name="terminal", stdin=subprocess.PIPE, env=env)


def type_in(process, text):
    process.stdin.write(text.encode())
    process.stdin.flush()


def fake_ssh(t, text):
    """A command that is called as ssh is, and is none."""
    path = t.dir / "fake ssh".replace(" ", "-")
    path.write_text(f"#!/bin/bash\n{text}\n")
    path.chmod(0o755)
    return path


@test(timeout=180)
def both_ways(t):
    """neither has an identity: both have one, and an entry of the other that is reached by its address; once more: nothing
    changes, nobody is asked; an agreement between the two comes about"""
    fleet = strangers(t)
    a, b = fleet.hosts.values()
    done = pair(fleet, "a", "root@b", "--yes", check=0)
    pins = {host.name: host.identity_pin() for host in (a, b)}
    check_equal(done.stdout.split(), ["b", pins["b"]], "what it prints")
    check_equal(entries(a), {"b": {"version": 1, "name": "b", "pins": [pins["b"]], "address": b.address}}, "trust of a")
    check_equal(entries(b), {"a": {"version": 1, "name": "a", "pins": [pins["a"]], "address": a.address}}, "trust of b")
    before = [(host.home / "config" / "trust.d" / f"{other}.json").stat() for host, other in ((a, "b"), (b, "a"))]
    again = pair(fleet, "a", "b", "--json", "--yes", check=0)
    expected = {"here": {"name": "a", "pin": pins["a"]}, "there": {"name": "b", "pin": pins["b"]}}
    check_equal(json.loads(again.stdout), expected, "its document")
    after = [(host.home / "config" / "trust.d" / f"{other}.json").stat() for host, other in ((a, "b"), (b, "a"))]
    check_equal([file.st_ino for file in after], [file.st_ino for file in before], "files that were not written again")
    b.start_agent()
    words = ["launch", "--vm", "web1", "--peer", "b", "--dry-run", "--", "qemu-system-x86_64", *fleet.guest_args()]
    check_in("agreed with b", a.run(*words, timeout=60, check=0).stderr, "a launch")
    pair(fleet, "b", "a", "--yes", check=0)  # from the other side it is there, too


@test(timeout=180)
def asked_at_a_terminal(t):
    """both pins and names are shown; "y" and the end of input are no; yes, in full, is; Ctrl-C is 130; no terminal is 64,
    before anything is done"""
    fleet = strangers(t)
    a, b = fleet.hosts.values()
    refused = pair(fleet, "a", "b", check=64)
    check_in("there is no terminal to show the pins at", refused.stderr, "what it says")
    check(not (a.home / "config" / "identity.key").exists(), "an identity was made")
    words = ("trust", "pair", "b", "--ssh", fleet.ssh_words())
    for typed, status in (("y\n", 77), ("\n", 77), ("\x04", 77), ("\x03", 130)):
        process = at_terminal(fleet, "a", *words)
        process.wait_output("(yes/no)", 60)
        type_in(process, typed)
        process.expect_status(status, 60)
        check_equal((entries(a), entries(b)), ({}, {}), f"entries after {typed!r}")
    process = at_terminal(fleet, "a", *words)
    process.wait_output("(yes/no)", 60)
    shown = process.stdout()
    for text in (a.identity_pin(), b.identity_pin(), "  a  ", "  b  ", f"trusted as 'b', at {b.address}", f"trusted as 'a', at {a.address}"):
        check_in(text, shown, "what is shown")
    type_in(process, "yes\n")
    process.expect_status(0, 60)
    check_equal((list(entries(a)), list(entries(b))), (["b"], ["a"]), "entries")
    process = at_terminal(fleet, "a", *words)
    process.expect_status(0, 60)
    check("yes/no" not in process.stdout(), "asked again")


@test(timeout=180)
def another_pin(t):
    """an entry with another pin, here or there, is never given a second one: 77, and how to go on; --as another name"""
    fleet = strangers(t)
    a, b = fleet.hosts.values()
    a.run("trust", "add", "b", PIN, check=0)
    refused = pair(fleet, "a", "b", "--yes", check=77)
    for word in ("b is trusted here with another pin", f"trust add b {b.identity_pin()}", "--as NAME"):
        check_in(word, refused.stderr, "what it says")
    check_equal((entries(a)["b"]["pins"], entries(b)), ([PIN], {}), "entries")
    pair(fleet, "a", "b", "--as", "b2", "--yes", check=0)
    check_equal((sorted(entries(a)), list(entries(b))), (["b", "b2"], ["a"]), "entries")
    b.run("trust", "remove", "a", check=0)
    b.run("trust", "add", "a", PIN, check=0)
    refused = pair(fleet, "a", "b", "--yes", check=77)
    check_in(f"b trusts a host a with another pin than this one's, {a.identity_pin()}", refused.stderr, "what it says")
    check_equal(entries(b)["a"]["pins"], [PIN], "pins of a on b")


@test(timeout=180)
def nothing_half_done(t):
    """the other side cannot add: its words, and nothing here; this side cannot: what was added there goes; both work later"""
    fleet = strangers(t)
    a, b = fleet.hosts.values()
    (b.home / "config" / "trust.d").mkdir(mode=0o755)
    lock = b.home / "config" / "trust.d" / ".lock"
    lock.mkdir()  # root writes everywhere, but not here
    failed = pair(fleet, "a", "b", "--yes", check=None)
    check_equal(failed.returncode, 73, failed.stderr)
    check_in("on b (status 73): ", failed.stderr, "what it says")
    check_equal(entries(a), {}, "entries of a")
    lock.rmdir()
    (a.home / "config" / "trust.d").mkdir(mode=0o755)
    lock = a.home / "config" / "trust.d" / ".lock"
    lock.mkdir()
    failed = pair(fleet, "a", "b", "--yes", check=73)
    check_in("nothing was changed on b", failed.stderr, "what it says")
    check_equal(entries(b), {}, "entries of b")
    lock.rmdir()
    pair(fleet, "a", "b", "--yes", check=0)
    check_equal((list(entries(a)), list(entries(b))), (["b"], ["a"]), "entries")


@test(timeout=180)
def lost_half_way(t):
    """the connection is lost while the other side adds, or somebody presses Ctrl-C then: said, nothing here; a second try
    finds where things stand"""
    fleet = strangers(t)
    a, b = fleet.hosts.values()
    real = t.program
    for end, status, word in (("kill -9 $PPID $(cat /proc/$PPID/stat | cut -d' ' -f4)", 69, "was lost"), ('touch "$0.waits"; sleep 60', 130, "interrupted")):
        wrapper = b.bin / "the program"
        wrapper.write_text(f'#!/bin/sh\n[ "$1 $2" != "trust add" ] || {{ {real} "$@"; {end}; }}\nexec {real} "$@"\n')
        wrapper.chmod(0o755)
        if status == 69:
            failed = pair(fleet, "a", "b", "--yes", "--remote-command", wrapper, check=status)
        else:
            process = fleet["a"].start("trust", "pair", "b", "--ssh", fleet.ssh_words(), "--yes", "--remote-command", wrapper)
            wait_until((b.bin / "the program.waits").exists, 60, "the other side that adds")
            process.signal_group(signal.SIGINT)
            process.expect_status(status, 60)
            failed = subprocess.CompletedProcess([], status, "", process.stderr())
        check_in(word, failed.stderr, "what it says")
        check_in("there 'trust remove a'", failed.stderr, "what it says")
        check_equal((entries(a), list(entries(b))), ({}, ["a"]), "entries")
        pair(fleet, "a", "b", "--yes", check=0)
        check_equal((list(entries(a)), list(entries(b))), (["b"], ["a"]), "entries after a second try")
        shutil.rmtree(a.home / "config" / "trust.d")
        shutil.rmtree(b.home / "config" / "trust.d")


@test(timeout=180)
def any_login_shell(t):
    """a login shell that is none of POSIX's, and one that prints before it begins, run the same; --sudo and
    --remote-command with blanks and quotes"""
    fleet = strangers(t)
    a, b = fleet.hosts.values()
    odd = b.bin / "the program's"
    (b.bin / "qemu-migrate-launch").rename(odd)
    sudo = b.bin / "sudo"
    sudo.write_text(f'#!/bin/sh\n[ "$1" = -n ] || exit 1\nshift\necho "$1" >>{b.home}/sudo.log\nexec "$@"\n')
    sudo.chmod(0o755)
    # sshd gives the command to the login shell in one word: as here to a shell that only looks names up.
    shell = t.dir / "login-shell"
    shell.write_text('#!/usr/bin/env python3\nimport os, sys\nprint("Welcome!\\n\\x1b[31m", flush=True)\n'
                     'assert sys.argv[1] == "-c" and sys.argv[2].isalnum(), sys.argv\nos.execlp(sys.argv[2], sys.argv[2])\n')
    shell.chmod(0o755)
    wrapped = fake_ssh(t, f'words=("$@"); n=${{#words[@]}}\n[[ " $* " != *" -G "* ]] || exec {fleet.ssh_words()} "$@"\n'
                          f'exec {fleet.ssh_words()} "${{words[@]:0:n-1}}" "{shell} -c ${{words[n-1]}}"')
    pair(fleet, "a", "b", "--sudo", "--remote-command", "the program's", "--yes", ssh=str(wrapped), check=0)
    check_equal(set((b.home / "sudo.log").read_text().splitlines()), {"the program's"}, "what sudo ran")
    check_equal((list(entries(a)), list(entries(b))), (["b"], ["a"]), "entries")


@test(timeout=180)
def hosts_that_are_options(t):
    """a HOST that ssh or a shell would take for something else is refused before ssh is started: 64"""
    host = t.host("a")
    ssh = fake_ssh(t, f"touch {t.dir}/started")
    for bad in ("-oProxyCommand=id", "root@-oProxyCommand=id", "b;id", "b id", "$(id)", "`id`", "b\nid", "", "a@b@c", "ssh://b:0", "ssh://[::1]x", "ssh://b/x", "b:22"):
        refused = host.run("trust", "pair", "--ssh", ssh, "--yes", "--", bad)
        check_equal(refused.returncode, 64, f"status of {bad!r}: {refused.stderr}")
        refused = host.run("trust", "pair", bad, "--ssh", ssh, "--yes")
        check_equal(refused.returncode, 64, f"status of {bad!r}: {refused.stderr}")
    refused = host.run("trust", "pair", "fe80::1", "--ssh", ssh, "--yes", check=64)
    check_in("give --as NAME", refused.stderr, "what it says of an address")
    for words, said in (([], "needs one HOST"), (["b", "c"], "needs one HOST"), (["b", "--expires", "2020-01-31"], "that day is over")):
        refused = host.run("trust", "pair", *words, "--ssh", ssh, "--yes", check=64)
        check_in(said, refused.stderr, f"what it says of {words}")
    refused = host.run("trust", "pair", "b", "--ssh", t.dir / "no-ssh", "--yes", check=78)
    check_in("no such program: install ssh, or give --ssh COMMAND", refused.stderr, "what it says of an ssh that is not there")
    check(not (t.dir / "started").exists(), "ssh was started")
    check_in("are for 'trust pair HOST'", host.run("trust", "list", "--yes", check=64).stderr, "options of another command")


@test(timeout=180)
def what_is_no_answer(t):
    """ssh that is missing, that fails, that is refused; a host without the program, or an older one, or garbage for a pin,
    a list or a shell's words: each its status, and nothing is trusted"""
    host = t.host("a")
    program = 'read_line() { IFS= read -r line; nonce=${line#*\\\\n}; nonce=${nonce%% *}; }\n'
    answer = program + 'while read_line; do printf "\\n%s begin\\n%s\\n%s %s\\n%s\\n%s end\\n" "$nonce" "$out" "$nonce" "$status" "$err" "$nonce"; next; done\n'
    g = '[[ " $* " != *" -G "* ]] || { echo "hostname b"; exit 0; }\n'
    cases = {
        "ssh fails": (g + "echo refused >&2; exit 255", 69, "no answer from b by ssh"),
        "no shell there": (g + "exit 127", 78, "no POSIX shell"),
        "silent end": (g + "head -n 1 >/dev/null", 69, "no answer from b"),
        "no program": (g + "status=127 err='sh: 1: qemu-migrate-launch: not found'\nnext() { :; }\n" + answer, 78, "has no qemu-migrate-launch in the PATH"),
        "older": (g + "status=0 out=" + PIN + "\nnext() { status=64 err='qemu-migrate-launch: trust: what?'; }\n" + answer, 64, "on b (status 64): trust: what?"),
        "garbage for a pin": (g + "status=0 out=$'sha256//\\e[31mA'\nnext() { :; }\n" + answer, 65, "where its pin should stand"),
        "two pins": (g + f"status=0 out=$'{PIN}\\n{PIN}'\nnext() {{ :; }}\n" + answer, 65, "where its pin should stand"),
        "garbage for a list": (g + "status=0 out=" + PIN + "\nnext() { out='{\"peers\":[{\"name\":\"../x\",\"pins\":[]}]}'; }\n" + answer, 65, "whom it trusts"),
        "garbage for a status": (g + "status=x out=" + PIN + "\nnext() { :; }\n" + answer, 65, "no answer"),
        "without end": (g + "yes", 65, "it has no end"),
        "not text": (g + "head -c 100 /dev/zero; sleep 60", 65, "it is not text"),
    }
    for name, (text, status, word) in cases.items():
        failed = host.run("trust", "pair", "b", "--ssh", fake_ssh(t, text), "--yes", check=None)
        check_equal(failed.returncode, status, f"status of {name}: {failed.stderr}")
        check_in(word, failed.stderr, name)
        check("\x1b" not in failed.stderr, f"{name}: an escape sequence is shown")
        check_equal(entries(host), {}, f"entries after {name}")
    missing = host.run("trust", "pair", "b", "--ssh", "/nowhere/ssh", "--yes", check=78)
    check_in("/nowhere/ssh", missing.stderr, "ssh that is missing")
    own = host.identity_pin()
    itself = host.run("trust", "pair", "b", "--ssh", fake_ssh(t, g + f"status=0 out={own}\nnext() {{ :; }}\n" + answer), "--yes", check=64)
    check_in("it is this host", itself.stderr, "this host itself")
