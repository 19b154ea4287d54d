# SPDX-License-Identifier: GPL-3.0-or-later
"""What QEMU answered before: a launch starts no QEMU to ask again, and asks again as soon as anything has changed."""
import json
import os
import re
import shutil
import time
from pathlib import Path

from lib.harness import check, check_equal, check_in, test
from lib.pair import VM, Pair

BEFORE = "was examined before"
FRESH = 2.2  # a file that changed less than 2 s ago is in doubt


def probes(host):
    """The files of the answers that a host keeps."""
    return sorted((host.home / "state" / "probes").glob("*.json"))


def asked(host, *options, run=(), **how):
    """How often QEMU is asked for a profile: 2 (what it is, and for its CPU), or less; and the profile."""
    words = host.argv("-v", "profile", "--accel", "tcg", *options)
    result = host.test.run(*run, *words, check=0, **how)
    return 2 - result.stderr.count(BEFORE), json.loads(result.stdout)


def own_host(t, name="a"):
    """A host that can sign."""
    host = t.host(name)
    host.identity_pin()
    host.write_config(f"[host]\nname = {name}\n")
    return host


def own_qemu(t):
    """A copy of QEMU in a folder of its own, old enough to be believed."""
    (t.dir / "usr" / "bin").mkdir(parents=True)
    for name in ("share", "lib"):
        (t.dir / "usr" / name).symlink_to(f"/usr/{name}")
    copy = t.dir / "usr" / "bin" / "qemu-system-x86_64"
    shutil.copy(os.path.realpath(t.qemu_path), copy)
    time.sleep(FRESH)
    return copy


def dry_run(pair, *options, status=0, **guests):
    """Both with -v --dry-run --json: (a's document, b's, how often a asked QEMU, how often b did)."""
    a, b = pair.dry_run("-v", "--json", *options, **guests)
    for process in (a, b):
        process.expect_status(status)
    documents = [json.loads(process.stdout()) if status == 0 else None for process in (a, b)]
    return *documents, *(2 - process.stderr().count(BEFORE) for process in (a, b))


@test(timeout=90)
def second_launch_asks_qemu_nothing(t):
    """the same launch again, and one with another -cpu: QEMU is not asked again on either side, and they agree on the same"""
    pair = Pair(t)
    first = dry_run(pair)
    check_equal(first[2:], (2, 2), "how often QEMU is asked at first")
    second = dry_run(pair)
    check_equal(second[2:], (0, 0), "how often QEMU is asked again")
    for name in ("features", "model", "machine", "hosts", "proof"):
        check_equal(second[0][name], first[0][name], name)
    guests = {f"guest_{name}": pair.guest(name, cpu="EPYC") for name in "ab"}
    one, _, *counts = dry_run(pair, **guests)
    check_equal((one["model"], counts), ("EPYC-v1", [0, 0]), "the model that an alias stands for")
    for _ in range(2):
        listener = pair.listen("--timeout", "2", guest=pair.guest("b", cpu="NoSuchModel"))
        connector = pair.connect("--timeout", "10", guest=pair.guest("a", cpu="NoSuchModel"))
        pair.refused(connector, 78, "does not know the CPU model NoSuchModel")
        listener.expect_status(78, 20)
    guests = {f"guest_{name}": pair.guest(name, machine="pc") for name in "ab"}
    check_equal(dry_run(pair, **guests)[2:], (1, 1), "how often QEMU is asked about another machine type")


@test(timeout=60)
def nothing_is_started(t):
    """with what is known, profile starts no process but one that asks vhost devices, if there are any, and no thread"""
    t.need_plain("looking for leaks takes a thread")
    probe = t.run("unshare", "-p", "-f", "--mount-proc", "true")
    if probe.returncode:
        t.skip(f"unshare -p: {probe.stderr.strip()}")
    host = own_host(t)

    def pids():
        script = '"$@" >/dev/null; sh -c "echo \\$\\$"; true'
        words = host.argv("profile", "--accel", "tcg", "--qemu", t.qemu_path)
        result = t.run("unshare", "-p", "-f", "--mount-proc", "sh", "-c", script, "sh", *words, check=0)
        return int(result.stdout) - 3

    check(pids() >= 2, "no QEMU was started at first")
    check_equal(pids(), 1 if list(Path("/dev").glob("vhost-*")) else 0, "processes and threads that were started")


@test(timeout=90)
def another_binary(t):
    """a binary that is touched, replaced, or has a new neighbour is asked again; one that has just changed each time"""
    qemu = own_qemu(t)
    host = own_host(t)

    def count():
        return asked(host, "--qemu", qemu)[0]

    check_equal((count(), count()), (2, 0), "at first, and again")
    os.utime(qemu, (1, 1))
    check_equal((count(), count()), (2, 2), "with a binary that has just been touched")
    time.sleep(FRESH)
    check_equal((count(), count()), (2, 0), "later")
    shutil.copy(os.path.realpath(t.qemu_path), f"{qemu}.new")
    os.rename(f"{qemu}.new", qemu)
    time.sleep(FRESH)
    check_equal((count(), count()), (2, 0), "with a replaced binary, and again")
    (qemu.parent / "something").write_text("")
    time.sleep(FRESH)
    check_equal((count(), count()), (2, 0), "with another file beside it, and again")
    check_equal(asked(host, "--qemu", t.qemu_path)[0], 2, "another path")


@test(timeout=90)
def second_qemu_in_its_place(t):
    """another version in the same place: its own answers, not those of the one that was there"""
    script = t.dir / "qemu-system-x86_64"
    script.symlink_to(t.qemu_path)
    host = own_host(t)
    first = asked(host, "--qemu", script)
    check_equal((first[0], asked(host, "--qemu", script)[0]), (2, 0), "at first, and again")
    script.unlink()
    script.symlink_to(t.second_qemu_path)
    count, profile = asked(host, "--qemu", script)
    check_equal(count, 2, "with the other one")
    check(profile["payload"] != first[1]["payload"], "the profile is the same")


@test(timeout=60)
def environment_that_loads_something(t):
    """LD_PRELOAD, LD_LIBRARY_PATH, GLIBC_TUNABLES, QEMU_MODULE_DIR: asked again with another value; HOME does not matter"""
    t.need_plain("they want to be preloaded themselves")
    host = own_host(t)
    library = re.search(r"/\S*libm\.so\.6", t.run("ldd", t.qemu_path, check=0).stdout).group()
    check_equal((asked(host)[0], asked(host)[0]), (2, 0), "at first, and again")
    check_equal(asked(host, env={"HOME": "/nowhere"})[0], 0, "with another HOME")
    for name, value in (
        ("LD_PRELOAD", library),
        ("LD_LIBRARY_PATH", "/usr/local/lib"),
        ("GLIBC_TUNABLES", "glibc.malloc.check=0"),
        ("QEMU_MODULE_DIR", "/nowhere"),
    ):
        counts = asked(host, env={name: value})[0], asked(host, env={name: value})[0]
        check_equal(counts, (2, 0), f"with {name}={value}, and again")
    check_equal(asked(host)[0], 0, "as at first")


@test(timeout=60)
def kvm_that_goes(t):
    """/dev/kvm is another device, or not there, than when QEMU was asked: asked again"""
    t.need_kvm()
    probe = t.run("unshare", "-m", "true")
    if probe.returncode:
        t.skip(f"unshare -m: {probe.stderr.strip()}")
    host = own_host(t)
    hidden = ("unshare", "-m", "sh", "-c", 'mount --bind /dev/null /dev/kvm && exec "$@"', "sh")
    check_equal((asked(host)[0], asked(host)[0]), (2, 0), "at first, and again")
    check_equal(asked(host, run=hidden)[0], 2, "with another /dev/kvm")
    check_equal(asked(host)[0], 0, "as at first")


@test(timeout=60)
def kvm_answers_are_kept_too(t):
    """with KVM: not asked again, and the profile is the same but for its times: its serial stays"""
    t.need_kvm()
    host = own_host(t)
    serials = set()
    for wanted in (2, 0):
        result = host.run("-v", "profile", "--accel", "kvm", check=0)
        check_equal(2 - result.stderr.count(BEFORE), wanted, "how often QEMU is asked")
        serials.add((host.home / "state" / "profile-serial.json").read_text())
    check_equal(len(serials), 1, "serials, with the digest of what they are for")
    (host.home / "state" / "profile-serial.json").write_text("{}\n")
    refused = host.run("profile", "--accel", "kvm", check=65)
    check_in("profile-serial.json: the last serial: missing member: digest: put it back", refused.stderr, "what it says of a damaged one")


@test(timeout=60)
def script_is_asked_each_time(t):
    """a QEMU behind a script, whether it becomes QEMU or waits for it, is asked each time, and nothing is kept"""
    host = own_host(t)
    for word in ("", "exec "):
        path = t.dir / f"script-{len(word)}"
        path.write_text(f'#!/bin/sh\n{word}{t.qemu_path} "$@"\n')
        path.chmod(0o755)
        time.sleep(FRESH)
        check_equal((asked(host, "--qemu", path)[0], asked(host, "--qemu", path)[0]), (2, 2), f"with {word!r}")
    check_equal(probes(host), [], "answers that are kept")


@test(timeout=90)
def answers_that_are_damaged(t):
    """an entry that is cut, empty, nonsense, writable for others, or has no sense in it: asked again; it heals"""
    host = own_host(t)
    first = asked(host)[1]["payload"]
    check_equal(len(probes(host)), 2, "answers")
    good = {path: path.read_text() for path in probes(host)}
    for path in good:
        check_equal((path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777), (0o600, 0o700), "modes")

    def with_answer(change):
        def text(entry):
            document = json.loads(entry)
            change(document["answer"])
            return json.dumps(document)

        return text

    for damage in (
        lambda entry: "",
        lambda entry: entry[: len(entry) // 2],
        lambda entry: '{"garbage": 1}',
        lambda entry: " " * 3000000 + entry,
        with_answer(lambda answer: answer.clear()),
        with_answer(lambda answer: answer.update(more=1)),
        with_answer(lambda answer: answer.update(dict.fromkeys(answer, 5))),
    ):
        for path, entry in good.items():
            path.write_text(damage(entry))
        check_equal((asked(host)[0], asked(host)[0]), (2, 0), f"after {damage(entry)[:60]!r}, and again")
        for path, entry in good.items():
            check_equal(json.loads(path.read_text())["answer"], json.loads(entry)["answer"], "what is kept")
    for path in good:
        path.chmod(0o666)
    check_equal(asked(host)[0], 2, "when others can write it")
    shutil.rmtree(host.home / "state" / "probes")
    check_equal((asked(host)[0], asked(host)[0]), (2, 0), "without the folder, and again")
    shutil.rmtree(host.home / "state" / "probes")
    (host.home / "state" / "probes").write_text("in the way")
    check_equal(asked(host)[0], 2, "where nothing can be kept")
    check(first, "no profile")


def lie(host, change):
    """Changes what the host believes that QEMU said of its CPU under TCG; returns how many answers that are."""
    count = 0
    for path in probes(host):
        document = json.loads(path.read_text())
        offer = document["answer"].get("offer")
        if offer and offer["accel"] == "tcg":
            change(offer)
            path.write_text(json.dumps(document))
            count += 1
    return count


@test(timeout=120)
def checks_ask_qemu_itself(t):
    """agreement check and profile --unsigned ask QEMU each time and keep nothing, whatever is kept"""
    pair = Pair(t)
    a, b = pair.launch()
    for found in (a, b):
        found.process.kill()
    for host in (pair.a, pair.b):
        check_equal(lie(host, lambda offer: offer["available"].remove("smap")), 1, "answers about the CPU")
    kept = {path: path.stat().st_mtime_ns for path in probes(pair.b)}
    told = pair.b.run("-v", "agreement", "check", VM, check=0)
    check(BEFORE not in told.stderr, f"it went by what was kept: {told.stderr}")
    plain = pair.b.run("-v", "profile", "--accel", "tcg", "--unsigned", check=0)
    check(BEFORE not in plain.stderr, f"it went by what was kept: {plain.stderr}")
    check_in("smap", json.loads(plain.stdout)["cpu"]["available"], "features")
    check_equal({path: path.stat().st_mtime_ns for path in probes(pair.b)}, kept, "what is kept")
    shutil.rmtree(pair.b.home / "state" / "probes")
    pair.b.run("agreement", "check", VM, check=0)
    pair.b.run("profile", "--accel", "tcg", "--unsigned", check=0)
    check(not (pair.b.home / "state" / "probes").exists(), "something was kept")


@test(timeout=90)
def lie_is_found_by_the_proof(t):
    """a kept answer that promises what QEMU cannot give: the proof finds it, and no guest gets it"""
    pair = Pair(t)
    dry_run(pair)
    for host in (pair.a, pair.b):
        lie(host, lambda offer: offer["available"].append("avx512f") or offer["available"].sort())
    one, other, *counts = dry_run(pair)
    check_equal(counts, [0, 0], "how often QEMU is asked")
    for document in (one, other):
        check("avx512f" not in document["features"], "it was agreed on")
        check_in("avx512f", document["proof"]["masked"], "what the proof found")
    a, b = pair.launch()
    check_equal((a.features()["avx512f"], b.features()["avx512f"]), (False, False), "in the guest")
