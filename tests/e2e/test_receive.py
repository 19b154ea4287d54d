# SPDX-License-Identifier: GPL-3.0-or-later
"""receive: a VM that was started long ago comes to a host that has its agreement, or can prove that it fits."""
import json
import shlex
import signal
import time

from lib.harness import check, check_equal, check_in, test, wait_until
from lib.pair import VM, Launched, guest_args
from lib.process import free_port
from lib.serial import Serial


class Site:
    """Hosts, each with an agent, which trust each other.

        site = Site(t, "abc")
        a = site.launch("a", "b", "c")
        b = site.receive("b", "a")
        site.migrate("a")
    """

    def __init__(self, t, names, more=None, qemu=None, env=None):
        self.t = t
        self.hosts = {name: t.host(name) for name in names}
        for host in self.hosts.values():
            host.env.update(env or {})
        self.ports = {name: free_port() for name in names}
        self.qemu = {name: (qemu or {}).get(name, t.qemu_path) for name in names}
        self.agents = {}
        for name in names:
            self.config(name, (more or {}).get(name, ""))
        for name, host in self.hosts.items():
            for other in self.hosts.values():
                if other is not host:
                    host.trust(other, address=f"127.0.0.1:{self.ports[other.name]}")
        for name in names:
            self.serve(name)

    def __getitem__(self, name):
        return self.hosts[name]

    def config(self, name, more=""):
        """Writes a host's config.ini; the port for a guardian is one that no other test uses."""
        port = free_port()
        self.hosts[name].write_config(
            f"[host]\nname = {name}\n[listen]\nmigration-ports = {port}-{port}\n[qemu]\nbinary = {self.qemu[name]}\n{more}"
        )

    def serve(self, name):
        """Starts a host's agent, and waits until it answers."""
        words = ("serve", "--listen", f"127.0.0.1:{self.ports[name]}")
        self.agents[name] = self.hosts[name].start(*words, name=f"{name}-agent")
        self.agents[name].wait_output("serving")

    def stop(self, name):
        """Ends a host's agent."""
        self.agents[name].signal(15)
        self.agents[name].expect_status(0, 20)

    def guest(self, name, serial=None, **how):
        """QEMU's path and arguments; `serial` names the guest's files."""
        return [self.qemu[name], *guest_args(self.t, serial or name, **how)]

    def launch(self, name, *peers, guest=None, options=()):
        """Starts the VM there with these hosts as parties."""
        words = [word for peer in peers for word in ("--peer", peer)]
        process = self.hosts[name].start("--vm", VM, *words, *options, "--", *(guest or self.guest(name)))
        return Launched(self.hosts[name], process, name)

    def receive(self, name, source, guest=None, options=(), file=False):
        """Becomes the destination there, by arguments behind -- or, with file, by its vms/VM.args."""
        words = ["receive", VM, "--from", source, *options]
        words += [] if file else ["--", *(guest or self.guest(name))]
        process = self.hosts[name].start(*words, name=f"{name}-receive")
        return Launched(self.hosts[name], process, name)

    def refused(self, name, source, status, *words, guest=None, options=()):
        """receive there ends with this status and says all of the words; what it said is returned."""
        host = self.hosts[name]
        done = host.run("receive", VM, "--from", source, *options, "--", *(guest or self.guest(name)), check=status)
        for word in words:
            check_in(word, done.stderr, f"what receive on {name} says")
        return done

    def migrate(self, name, *options):
        """Moves the VM away from there."""
        return self.hosts[name].run("migrate", VM, *options, timeout=60, check=0)

    def record(self, name):
        """The VM's record there."""
        return json.loads((self.hosts[name].home / "state" / "vms" / f"{VM}.json").read_text())

    def table(self, name):
        """The agreement's table there."""
        return self.hosts[name].run("agreement", "show", VM, "--cpuid", check=0).stdout

    def digest(self, name):
        """The agreement's digest there."""
        return json.loads(self.hosts[name].run("agreement", "show", VM, "--json", check=0).stdout)["digest"]


@test(timeout=150)
def it_goes_around(t):
    """a → b → c → a: the count goes on, the agreement stays, agents are restarted in between"""
    site = Site(t, "abc")
    a = site.launch("a", "b", "c")
    a.serial.wait_lines(3)
    digest, table = site.digest("a"), site.table("a")
    for name in "bc":
        check_equal(site.digest(name), digest, f"agreement on {name}")
        check_equal(site.record(name)["place"], "elsewhere", f"place on {name}")
        check_equal(site.record(name)["peer"], "a", f"where {name} says it lives")
        done = site[name].run("--vm", VM, "--peer", "a", "--", *site.guest(name), check=14)
        check_in("receive web1 --from a", done.stderr, f"what a launch on {name} says")
    b = site.receive("b", "a")
    check_equal(site.record("a")["peer"], "b", "the peer in a's record")
    check(site.record("a")["guarded"] and site.record("a")["peer_port"] > 0, "a was not told of the guardian")
    site.stop("a")
    site.serve("a")
    site.migrate("a")
    b.serial.wait_more()
    a.process.wait()
    site["b"].run("verify", VM, check=0)
    site.refused("c", "a", 14, "has moved to b")
    folder = site["c"].home / "config" / "vms"
    folder.mkdir()
    (folder / f"{VM}.args").write_text("# c's own\n" + " \\\n  ".join(shlex.quote(word) for word in site.guest("c")) + "\n")
    site.stop("b")
    site.serve("b")
    c = site.receive("c", "b", file=True)
    site.migrate("b")
    c.serial.wait_more()
    back = site.receive("a", "c", guest=site.guest("a", serial="a2"))
    site.stop("c")
    site.serve("c")
    site.migrate("c", "--to", "a")
    back.serial.wait_more()
    site["a"].run("verify", VM, check=0)
    back.serial.check_continues(a.serial, b.serial, c.serial)
    for name in "abc":
        check_equal(site.digest(name), digest, f"agreement on {name} in the end")
        check_equal(site.table(name), table, f"table on {name} in the end")
        site[name].run("agreement", "check", VM, check=0)
    # A restart where it is now keeps the CPU, too, and nobody else starts it.
    back.process.kill()
    back.process.wait()
    again = site.launch("a", guest=site.guest("a", serial="a3"))
    check_equal(again.argv[again.argv.index("-cpu") + 1], back.argv[back.argv.index("-cpu") + 1], "-cpu after a restart")
    again.serial.wait_lines(2)
    check_equal(site.digest("a"), digest, "agreement after a restart")
    site["b"].run("--vm", VM, "--", *site.guest("b"), check=14)


@test(timeout=90)
def a_command_line_is_proposed(t):
    """without arguments: the source's, with this host's paths and QEMU, no secrets, quoted; saved, it works"""
    where = t.dir / "images of b"
    where.mkdir()
    site = Site(t, "ab", more={"b": f"[map]\n{t.dir} = {where}\n{t.counter} = {t.counter}\n"})
    guest = site.guest("a") + ["-object", "secret,id=s,data=hush", "-fw_cfg", "opt/x,string=hush", "-name", "it's; a $HOME"]
    a = site.launch("a", "b", guest=guest)
    a.serial.wait_lines(2)
    done = site["b"].run("receive", VM, "--from", "a", check=64)
    lines = done.stdout.splitlines()
    check_equal(len(lines), 1, "lines of the proposal")
    words = shlex.split(lines[0])
    check_equal(words[0], site.qemu["b"], "the QEMU of the proposal")
    check("hush" not in done.stdout + done.stderr, "a secret was told")
    check_in("-object (all of it)", done.stderr, "what is said of secrets")
    check_in(f"file:{where}/a.serial", words, "the serial line of the proposal")
    check_in("it's; a $HOME", words, "the name of the proposal")
    check_equal(words[words.index("-bios") + 1], str(t.counter), "the longest path of [map]")
    check_in(str(site["b"].home / "config" / "vms" / "web1.args"), done.stderr, "where to save it")
    told = json.loads(site["b"].run("receive", VM, "--from", "a", "--json", check=64).stdout)
    check_equal(told["proposal"], words, "the proposal as JSON")
    check_equal((told["vm"], told["from"]), (VM, "a"), "whose it is")
    folder = site["b"].home / "state" / "vms"
    folder.mkdir(exist_ok=True)
    (folder / "web1.args").write_text(done.stdout)
    b = site.receive("b", "a", file=True)
    site.migrate("a")
    b.serial.wait_more()
    b.serial.check_continues(a.serial)


@test()
def a_proposal_that_reads_otherwise(t):
    """a source whose command line turns the direction of writing, or has control characters: nothing of it is shown, 65"""
    for name in ("web\u202e1", "web\x1b[8m1", "web\u200b1"):
        kept, t.dir = t.dir, t.dir / str(ord(name[3]))
        t.dir.mkdir()
        site = Site(t, "ab")
        a = site.launch("a", "b", guest=site.guest("a") + ["-name", name])
        t.dir = kept
        done = site["b"].run("receive", VM, "--from", "a", check=65)
        check_in("has characters that cannot be shown", done.stderr, "what is said")
        check_equal(done.stdout, "", "what is shown")
        check(name not in done.stderr, f"it is shown all the same: {done.stderr}")
        a.process.kill()


@test(timeout=90)
def what_differs_is_named(t):
    """other devices, memory or vCPUs than at the source: 10, each by name; --dry-run says what would be done"""
    site = Site(t, "ab")
    site.launch("a", "b", guest=[*site.guest("a"), "-smp", "2"])
    other = [*site.guest("b", memory=32), "-device", "virtio-rng-pci"]
    said = site.refused(
        "b",
        "a",
        10,
        "-m is 16 on a and 32 on b",
        "-smp is 2 on a and 1 on b",
        "-device virtio-rng-pci is on b and not on a",
        guest=other,
    ).stderr
    check(".serial" not in said and ".qmp" not in said, f"a path counts: {said}")
    check_equal(site.record("b")["place"], "elsewhere", "place after a refusal")
    good = [*site.guest("b"), "-smp", "2"]
    dry = site["b"].run("receive", VM, "--from", "a", "--dry-run", "--", *good, check=0)
    words = shlex.split(dry.stdout)
    check_equal(words[words.index("-incoming") + 1], "defer", "-incoming")
    argv = json.loads(site["b"].run("receive", VM, "--from", "a", "--dry-run", "--json", "--", *good, check=0).stdout)["argv"]
    check_equal(argv[0], words[0], "the same as JSON")
    check_equal(site.record("b")["place"], "elsewhere", "place after --dry-run")
    check(not site.record("a")["guarded"], "a dry run told a of a destination")
    site.refused("b", "a", 64, "receive adds -incoming itself", guest=[*good, "-incoming", "defer"])


@test(timeout=90)
def who_is_asked_and_what_is_there(t):
    """a VM that is not there, a peer that is no peer, an agent that is not up, a record that forbids it"""
    site = Site(t, "abc")
    site.refused("b", "a", 10, "a: there is no VM web1 here")
    site.refused("b", "x", 77, "no trust entry is named x")
    done = site["b"].run("receive", VM, check=64)
    check_in("--from PEER", done.stderr, "what receive says without --from")
    a = site.launch("a", "b")
    site.refused("b", "c", 10, "c: there is no VM web1 here")
    site.refused("a", "b", 14, "web1 runs here already")
    b = site.receive("b", "a")
    site.refused("b", "a", 14, "web1 waits here already")
    site.refused("c", "b", 14, "b: web1 waits here to come from a")
    b.process.signal(9)
    b.process.wait()
    a.process.signal(9)
    a.process.wait()
    site.refused("b", "a", 14, "a: web1 does not run here")
    site.stop("a")
    site.refused("b", "a", 69, options=("--timeout", "3"))


@test(timeout=120)
def a_host_that_never_agreed(t):
    """receives when its table equals; one whose policy forbids a feature does not: 12"""
    site = Site(t, "abcd", more={"d": "[policy]\ndeny = aes\n"})
    a = site.launch("a", "b")
    a.serial.wait_lines(2)
    site.refused("d", "a", 12, "aes is gone on d (policy)", "d cannot give web1 what was agreed on")
    c = site.receive("c", "a")
    check_in("no party to the agreement", c.process.stderr(), "what c says")
    site.migrate("a")
    c.serial.wait_more()
    c.serial.check_continues(a.serial)
    site["c"].run("verify", VM, check=0)
    site["c"].run("agreement", "check", VM, check=0)
    # From c, who has not signed it, to b, who has.
    b = site.receive("b", "c")
    check_in("not signed by c", b.process.stderr(), "what b says")
    site.migrate("c")
    b.serial.wait_more()
    b.serial.check_continues(a.serial, c.serial)


@test(timeout=90)
def drift(t):
    """a party whose policy has changed since: 12 at check, at receive and in the agent's log, with the cause"""
    site = Site(t, "ab")
    site.launch("a", "b")
    site["b"].run("agreement", "check", VM, check=0)
    site.stop("b")
    site.config("b", "[policy]\ndeny = aes\n")
    site.serve("b")
    cause = "[policy] denies aes now: aes is gone on b (policy)"
    done = site["b"].run("agreement", "check", VM, check=12)
    check_in(cause, done.stdout, "what check says")
    site.refused("b", "a", 12, cause, "though it has promised to")
    wait_until(lambda: f"web1: drift: {cause}" in site.agents["b"].stderr(), 20, "drift in the agent's log")
    check_equal(site.record("b")["place"], "elsewhere", "place after a refusal")


@test(timeout=90)
def the_state_was_lost(t):
    """a party without its files gets the agreement anew; `agreement check` needs no record"""
    site = Site(t, "ab")
    a = site.launch("a", "b")
    digest = site.digest("a")
    state = site["b"].home / "state"
    (state / "vms" / f"{VM}.json").unlink()
    site["b"].run("agreement", "check", VM, check=0)
    (state / "agreements" / f"{VM}.json").unlink()
    b = site.receive("b", "a")
    check_equal(site.digest("b"), digest, "agreement on b")
    site.migrate("a")
    b.serial.wait_more()
    b.serial.check_continues(a.serial)


@test(timeout=120)
def a_key_that_was_changed(t):
    """the source has another key since: what the agreement was signed with is told, and it moves all the same"""
    site = Site(t, "ab")
    a = site.launch("a", "b")
    old = site["a"].identity_pin()
    for name in ("identity.key", "identity.crt"):
        (site["a"].home / "config" / name).unlink()
    new = site["a"].identity_pin()
    check(old != new, "the key is the same")
    site.stop("a")
    site.serve("a")
    site.refused("b", "a", 77)
    site["b"].run("trust", "remove", "a", check=0)
    site["b"].run("trust", "add", "a", new, "--address", f"127.0.0.1:{site.ports['a']}", check=0)
    b = site.receive("b", "a")
    check_in(f"a signed the agreement with a key that is not trusted here ({old})", b.process.stderr(), "what b says")
    check_in("the agreement is not signed by a, which hands it over", b.process.stderr(), "what b says of that")
    site.migrate("a")
    b.serial.wait_more()
    b.serial.check_continues(a.serial)
    site["b"].run("verify", VM, check=0)


@test(timeout=120)
def another_agreement(t):
    """one that is kept is replaced by a newer one that this host has signed, and by nothing else"""
    site = Site(t, "abc")
    a = site.launch("a", "b")
    first = (site["b"].home / "state" / "agreements" / f"{VM}.json").read_text()
    digest = site.digest("b")
    a.process.kill()
    a.process.wait()
    time.sleep(1.1)  # agreements are dated in seconds
    # Without b: what b keeps is another one, and b has not signed the new one.
    a = site.launch("a", "c", guest=site.guest("a", serial="a2"), options=["--renegotiate"])
    said = site.refused("b", "a", 10, "another agreement about web1 is kept here", "is no party to that").stderr
    check_in(f"{site['b'].home}/state/agreements/{VM}.json", said, "what to remove")
    check_equal(site.digest("b"), digest, "agreement on b")
    a.process.kill()
    a.process.wait()
    time.sleep(1.1)
    # With b, whose files come back from an old copy.
    a = site.launch("a", "b", guest=site.guest("a", serial="a3"), options=["--renegotiate"])
    newest = site.digest("b")
    check(newest != digest, "it was not agreed anew")
    (site["b"].home / "state" / "agreements" / f"{VM}.json").write_text(first)
    (site["b"].home / "state" / "vms" / f"{VM}.json").unlink()
    b = site.receive("b", "a", options=["--timeout", "20"])
    check_in("is replaced by a newer one", b.process.stderr(), "what b says")
    check_equal(site.digest("b"), newest, "agreement on b")
    site.migrate("a")
    b.serial.wait_more()
    b.serial.check_continues(a.serial)


@test(timeout=90)
def an_older_agreement(t):
    """the source's files come back from an old copy, and it runs under what they say: 10 here, and what is kept stays"""
    site = Site(t, "ab")
    state = site["a"].home / "state"
    a = site.launch("a", "b")
    a.process.kill()
    a.process.wait()
    older = {path: path.read_text() for path in (state / "agreements" / f"{VM}.json", state / "vms" / f"{VM}.json")}
    time.sleep(1.1)  # agreements are dated in seconds
    a = site.launch("a", "b", guest=site.guest("a", serial="a2"), options=["--renegotiate"])
    a.process.kill()
    a.process.wait()
    digest = site.digest("b")
    for path, text in older.items():
        path.write_text(text)
    site.launch("a", guest=site.guest("a", serial="a3"))
    site.refused("b", "a", 10, "that is not newer than the one that is kept here")
    check_equal(site.digest("b"), digest, "agreement on b")


@test(timeout=150)
def qemu_is_upgraded(t):
    """7.2 becomes 10.0 on a party: what 10.0 lacks is named with its cause; when all was agreed for both, it receives"""
    site = Site(t, "abc", qemu={"c": t.second_qemu_path, "b": t.dir / "qemu-system-x86_64"})
    link = t.dir / "qemu-system-x86_64"

    def become(path):
        new = t.dir / "qemu-new"
        new.symlink_to(path)
        new.rename(link)

    become(t.qemu_path)
    a = site.launch("a", "b")
    become(t.second_qemu_path)
    line = next(line for line in site["b"].run("agreement", "check", VM, check=12).stdout.splitlines() if "pcommit" in line)
    check(line.startswith("QEMU 7.2.") and " -> 10.0." in line, f"not with its cause: {line}")
    site.refused("b", "a", 12, "pcommit is gone on b (qemu)")
    a.process.kill()
    a.process.wait()
    become(t.qemu_path)
    a = site.launch("a", "b", "c", guest=site.guest("a", serial="a2"), options=["--renegotiate"])
    a.serial.wait_lines(2)
    become(t.second_qemu_path)
    b = site.receive("b", "a")
    site.migrate("a")
    b.serial.wait_more()
    c = site.receive("c", "b")
    site.migrate("b")
    c.serial.wait_more()
    back = site.receive("a", "c", guest=site.guest("a", serial="a3"))
    site.migrate("c")
    back.serial.wait_more()
    back.serial.check_continues(a.serial, b.serial, c.serial)
    site["a"].run("verify", VM, check=0)


@test(timeout=90)
def nobody_listens_when_it_waits(t):
    """the source's agent ends while the destination is being proven: what to say there is told, and works"""
    site = Site(t, "ab")
    a = site.launch("a", "b")
    a.serial.wait_lines(2)
    slow = t.dir / "slow-qemu"
    begun, end = t.dir / "begun", t.dir / "go on"
    slow.write_text(f'#!/bin/sh\n: >"{begun}"\nwhile ! [ -e "{end}" ]; do sleep 0.1; done\nexec {t.qemu_path} "$@"\n')
    slow.chmod(0o755)
    guest = site.guest("b")
    words = ["receive", VM, "--from", "a", "--", slow, *guest[1:]]
    process = site["b"].start(*words, name="b-receive")
    wait_until(begun.exists, 10, "QEMU on b")
    site.stop("a")
    end.touch()
    b = Launched(site["b"], process, "b")
    said = b.process.stderr()
    port = site.record("b")["guardian_port"]
    check_in("a could not be told that web1 waits here", said, "what b says")
    check_in(f"migrate web1 --to b:{port}", said, "what to do")
    site.migrate("a", "--to", f"127.0.0.1:{port}")
    b.serial.wait_more()
    b.serial.check_continues(a.serial)


@test(timeout=90)
def one_that_was_adopted(t):
    """a guest that plain QEMU ran before anybody knew of b: adopted on a, received on b, moved, verified, moved back"""
    site = Site(t, "ab")
    own = t.dir / "plain.qmp"
    words = site.guest("a")
    plain = t.start(*words, "-qmp", f"unix:{own},server=on,wait=off", name="plain")
    serial = Serial(t.dir / "a.serial")
    serial.wait_lines(3)
    site["a"].run("adopt", VM, "--qmp", own, check=0)
    b = site.receive("b", "a", guest=site.guest("b"))
    check_in("no party to the agreement", b.process.stderr(), "what b says")
    site.migrate("a")
    b.serial.wait_more()
    plain.wait()
    site["b"].run("verify", VM, check=0)
    back = site.receive("a", "b", guest=site.guest("a", serial="a2"))
    site.migrate("b")
    back.serial.wait_more()
    back.serial.check_continues(serial, b.serial)


@test(timeout=60)
def a_long_command_line(t):
    """tens of thousands of bytes, not all of them ASCII, are told and compared; of what differs only the beginning is said"""
    site = Site(t, "ab")
    serial = "x" * 40000 + "é" * 5000

    def guest(name, more=""):
        return [*site.guest(name), "-smbios", f"type=1,serial={serial}{more}"]

    site.launch("a", "b", guest=guest("a"))
    site["b"].run("receive", VM, "--from", "a", "--dry-run", "--", *guest("b"), check=0)
    said = site.refused("b", "a", 10, "-smbios type=1: serial is xxx", guest=guest("b", "y")).stderr
    check(len(said) < 2000, f"{len(said)} characters are said")
    words = shlex.split(site["b"].run("receive", VM, "--from", "a", check=64).stdout)
    check_equal(words[-1], f"type=1,serial={serial}", "the end of the proposal")


@test(timeout=90)
def taken_back_while_it_runs_elsewhere(t):
    """a → b → c: who takes it back on a with --renegotiate --here is told by b that it went on, by c that it runs there"""
    site = Site(t, "abc")
    site.launch("a", "b", "c").serial.wait_lines(2)
    for source, destination in ("ab", "bc"):
        launched = site.receive(destination, source, guest=site.guest(destination, serial=f"{destination}1"))
        site.migrate(source)
        launched.serial.wait_lines(2)
    before = site.digest("b")
    for peer, words in (("b", "web1 lives on c, as far as b knows"), ("c", "web1 runs on c")):
        done = site["a"].run("--vm", VM, "--renegotiate", "--here", "--peer", peer, "--", *site.guest("a"), check=14)
        check_in(words, done.stderr, "what a is told")
    check_equal((site.digest("b"), site.record("b")["peer"]), (before, "c"), "what b knows")
    launched.serial.wait_more()


@test(timeout=90)
def lives_where_it_was_started(t):
    """a VM that was started on a and does not run: another party cannot have a's agent say that it lives elsewhere"""
    site = Site(t, "ab")
    a = site.launch("a", "b")
    a.process.kill()
    a.process.wait()
    before = site.digest("a")
    done = site["b"].run("--vm", VM, "--renegotiate", "--here", "--peer", "a", "--", *site.guest("b"), check=14)
    check_in("web1 lives on a, though it does not run", done.stderr, "what b is told")
    check_equal((site.digest("a"), site.record("a")["place"]), (before, "here"), "what a knows")
    site["a"].start("--vm", VM, "--dry-run", "--", *site.guest("a")).expect_status(0, 20)


@test(timeout=90)
def restarted_while_a_destination_waits(t):
    """the source's QEMU ends and is launched again: migrate still knows where the destination waits"""
    site = Site(t, "ab")
    a = site.launch("a", "b")
    b = site.receive("b", "a")
    a.process.kill()
    a.process.wait()
    again = site.launch("a", guest=site.guest("a", serial="a2"))
    again.serial.wait_lines(2)
    site.migrate("a")
    b.serial.wait_lines(2)


@test(timeout=90)
def interrupted(t):
    """Ctrl-C at any moment before receive is QEMU: 130, and nothing waits"""
    site = Site(t, "ab")
    site.launch("a", "b")
    for wait in (0.05, 0.1, 0.2, 0.3, 0.5):
        process = site["b"].start("receive", VM, "--from", "a", "--", *site.guest("b"), name="b-interrupted")
        time.sleep(wait)
        process.signal(signal.SIGINT)
        # Before it has begun it ends by the signal itself; for a shell that is 130, too.
        check_in(process.wait(20), (130, 0, -signal.SIGINT), f"status after {wait} s: {process.stderr()}")
        home = str(site["b"].home)
        wait_until(lambda: not [line for _, line in t.alive() if home in line and " serve " not in line], 10, "its end")
    site.receive("b", "a")
    site.migrate("a")
