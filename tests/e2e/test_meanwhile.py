# SPDX-License-Identifier: GPL-3.0-or-later
"""What people, guests and full disks do while a guest is moved, and what the records say afterwards."""
import signal
import subprocess

from lib.harness import check, check_equal, check_in, test, wait_until
from lib.pair import VM, Launched, Pair, guest_args

SLOW = ("--bandwidth", "10K")  # a guest of 16 MiB, most of it zeros, is 150 KB or more


def underway(pair, source, *options):
    """A slow `migrate` that copies."""
    process = pair.a.start("migrate", VM, *SLOW, *options, name="a-migrate")
    wait_until(lambda: source.qmp.command("query-migrate").get("ram", {}).get("transferred", 0) > 1000, 15, "copy")
    return process


def quicken(source):
    """Let the copy end."""
    source.qmp.command("migrate-set-parameters", **{"max-bandwidth": 1 << 30})


@test(timeout=60)
def stopped_meanwhile(t):
    """somebody stops the guest while it is copied: it arrives, and stays stopped; on the way back it is continued"""
    pair = Pair(t)
    source, destination = pair.launch()
    process = underway(pair, source)
    source.qmp.command("stop")
    wait_until(lambda: "web1 was stopped meanwhile" in process.stderr(), 5, "word of it")
    quicken(source)
    process.expect_status(0, 40)
    check_equal(destination.status(), "paused", "the destination")
    check_equal(pair.record(pair.b)["place"], "here", "the destination's record")


@test(timeout=60)
def continued_meanwhile(t):
    """and the other way round: a paused guest that is continued on the way runs at the destination"""
    pair = Pair(t)
    source, destination = pair.launch()
    source.serial.wait_lines(2)
    source.qmp.command("stop")
    process = underway(pair, source)
    source.qmp.command("cont")
    wait_until(lambda: "web1 was continued meanwhile" in process.stderr(), 5, "word of it")
    quicken(source)
    process.expect_status(0, 40)
    destination.serial.wait_lines(2)
    check_equal(destination.status(), "running", "the destination")


@test(timeout=60)
def stopped_and_interrupted(t):
    """stopped on the way, then Ctrl-C: it stays stopped here"""
    pair = Pair(t)
    source, _ = pair.launch()
    process = underway(pair, source)
    source.qmp.command("stop")
    wait_until(lambda: "web1 was stopped meanwhile" in process.stderr(), 5, "word of it")
    process.signal(signal.SIGINT)
    process.expect_status(13, 20)
    check_in("stays paused here: interrupted", process.stderr(), "what it says")
    check_in("--incoming --agreement", process.stderr(), "what it says of the next try")
    check_equal(source.status(), "paused", "the source")


@test(timeout=60)
def shut_down_meanwhile(t):
    """a guest that shuts down on the way is not brought back to life, here or there"""
    pair = Pair(t)
    words = ("-no-reboot", "-no-shutdown")
    guests = {name: [pair.qemu[name], *guest_args(t, name), *words] for name in ("a", "b")}
    source, destination = pair.launch(guest_a=guests["a"], guest_b=guests["b"])
    process = underway(pair, source)
    source.qmp.command("system_reset")
    process.expect_status(13, 30)
    check_in("is 'shutdown' here: the guest has come to an end on the way", process.stderr(), "what it says")
    check_equal(source.status(), "shutdown", "the source")
    wait_until(lambda: not destination.process.alive(), 10, "end of the destination")
    check_equal(destination.serial.lines(), [], "what ran at the destination")


@test(timeout=90)
def settings_after_a_kill(t):
    """a killed `migrate` leaves nothing set in the source's QEMU: the watcher puts it back"""
    pair = Pair(t)
    source, _ = pair.launch()

    def settings():
        parameters = source.qmp.command("query-migrate-parameters")
        capabilities = source.qmp.command("query-migrate-capabilities")
        return parameters, sorted(one["capability"] for one in capabilities if one["state"])

    before = settings()
    process = underway(pair, source, "--downtime", "77", "--auto-converge")
    check(settings() != before, "nothing was set")
    process.kill()
    wait_until(lambda: pair.record(pair.a)["place"] == "here", 30, "the watcher's end")
    wait_until(lambda: settings() == before, 5, "the settings as they were")
    check_equal(source.status(), "running", "the source")


@test(timeout=60)
def reader_that_goes(t):
    """`migrate --json | head -1`: the guest moves all the same; --json >/dev/full: 73, and it is said where it is"""
    pair = Pair(t)
    source, destination = pair.launch()
    words = " ".join(pair.a.argv("migrate", VM, "--json"))
    done = subprocess.run(["sh", "-c", f"{words} | head -c 1"], capture_output=True, timeout=50, check=False)
    wait_until(lambda: not source.process.alive(), 20, "end of the source")
    check_equal(destination.status(), "running", f"the destination: {done.stderr}")


@test(timeout=60)
def result_that_cannot_be_written(t):
    """--json >/dev/full: 73, but it is said where the guest is now"""
    pair = Pair(t)
    pair.launch()
    with open("/dev/full", "w") as full:
        words = pair.a.argv("migrate", VM, "--json")
        done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, timeout=50, check=False)
    check_equal(done.returncode, 73, f"status: {done.stderr}")
    check_in("web1 has moved to b all the same", done.stderr, "what it says")


@test(timeout=60)
def not_started_where_it_was_to_come(t):
    """--agreement without --incoming on the destination's host, which never had the guest: 14; with --renegotiate --here
    it starts"""
    pair = Pair(t)
    pair.dry_run()
    kept = pair.b.home / "state" / "agreements" / f"{VM}.json"
    words = ("--vm", VM, "--agreement", kept)
    refused = pair.b.run(*words, "--", *pair.guest("b"))
    check_equal(refused.returncode, 14, f"status: {refused.stderr}")
    check_in("agreed to be started elsewhere", refused.stderr, "what it says")
    process = pair.b.start(*words, "--renegotiate", "--here", "--", *pair.guest("b"), name="b-again")
    check_equal(Launched(pair.b, process, "b").status(), "running", "the guest")
