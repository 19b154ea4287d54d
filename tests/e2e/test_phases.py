# SPDX-License-Identifier: GPL-3.0-or-later
"""The writing guest, and the watcher of lib/phases.py, on bare QEMUs: what tests of faults stand on."""
from lib.harness import Failure, Qemu, check, check_equal, migrate_bare, test, wait_until
from lib.phases import PHASES, Look, Watch, monitor, overlap
from lib.proxy import Proxy
from lib.writer import WriterSerial, build_writer, check_one_life, wait_running

MEMORY = 80  # MiB of the guest, which writes over 64 of them


class Writer(Qemu):
    """A bare QEMU with a writing guest and a monitor for Watch."""

    def __init__(self, t, name, qemu, **options):
        self.watched = t.dir / f"{name}.watched"
        super().__init__(t, name, *monitor(self.watched), binary=qemu, memory=MEMORY, **options)
        self.serial = WriterSerial(self.serial.path)


def writers(t, one, other, accel="tcg", cpu="max", **guest):
    """A source that runs and a destination that waits."""
    kept, t._counter = t._counter, build_writer(t.dir, **guest)
    try:
        options = {"accel": accel, "cpu": cpu}
        source = Writer(t, "a", one, **options)
        destination = Writer(t, "b", other, incoming=True, paused=True, **options)
    finally:
        t._counter = kept
    wait_running(source.serial)
    return source, destination


def whole_life(t, one, other, **options):
    """The guest is moved, slowly, and has lost nothing."""
    source, destination = writers(t, one, other, **options)
    source.qmp.command("migrate-set-parameters", max_bandwidth=32 << 20)
    source.qmp.command("migrate-set-capabilities", capabilities=[{"capability": "return-path", "state": True}])
    destination.qmp.command("migrate-set-capabilities", capabilities=[{"capability": "return-path", "state": True}])
    migrate_bare(source, destination, f"unix:{t.dir}/migration")
    total = source.qmp.command("query-migrate")["total-time"]
    check(total > 1500, f"it took only {total} ms")
    check_equal(destination.serial.text(), "", "what the guest wrote before it was to run")
    destination.qmp.command("cont")
    destination.serial.wait_more(30)
    destination.serial.check_continues(source.serial)
    check_one_life(source.serial, destination.serial)
    # A whole round over its memory, so that each page was looked at.
    destination.serial.wait_more(64 * 256 // 100, 30)
    check_equal(destination.serial.last().lost, 0, "pages that the guest has lost")


def register(name, one, other, accel, cpu):
    """One test of the guest."""

    def function(t):
        if accel == "kvm":
            t.need_kvm()
        paths = {"own": lambda: t.qemu_path, "other": lambda: t.second_qemu_path}
        whole_life(t, paths[one](), paths[other](), accel=accel, cpu=cpu)

    function.__name__ = f"test_writer_{name}"
    function.__module__ = __name__
    function.__doc__ = f"the writing guest moves from {one} QEMU to {other}, {accel}, for two seconds and loses nothing"
    test()(function)


for pair_of in (("own", "own"), ("own", "other"), ("other", "own")):
    register("_to_".join(pair_of), *pair_of, "tcg", "max")
register("kvm", "own", "other", "kvm", "qemu64")


@test()
def damage_shows(t):
    """a guest that is set back, changed or doubled is found out"""
    source, _ = writers(t, t.qemu_path, t.qemu_path, pages=3000)
    source.serial.wait_lines(5)
    text = source.serial.text()
    for name, changed in (
        ("back", text + "n=00000002 lost=00000000\r\n"),
        ("gap", "n=00000001 lost=00000000\r\nn=00000003 lost=00000000\r\n"),
        ("lost", "n=00000001 lost=00000000\r\nn=00000002 lost=00000001\r\n"),
        ("garbled", "n=00000001 lost=00000000\r\nn=0000000\r\n"),
    ):
        path = t.dir / f"{name}.serial"
        path.write_text(changed, newline="")
        try:
            WriterSerial(path).check_continues()
        except Failure:
            pass
        else:
            raise Failure(f"{name} is not found out")
        if name == "lost":
            WriterSerial(path).check_continues(whole=False)
    for serials in ((source.serial, WriterSerial(t.dir / "gap.serial")), (WriterSerial(t.dir / "back.serial"),)):
        try:
            check_one_life(*serials)
        except Failure:
            continue
        raise Failure("two lives are not found out")
    check(not WriterSerial(t.dir / "gap.serial").advances(1, 0.1), "a file that nobody writes advances")


@test()
def phases(t):
    """each phase of a bare migration through a slow network is seen, in its order, and what is to happen then does"""
    source, destination = writers(t, t.qemu_path, t.second_qemu_path, mebibytes=24)
    record = t.dir / "record.json"
    watch = Watch({"a": source.watched, "b": destination.watched}, "a", "b", record)
    seen = []
    destination.qmp.command("migrate-set-capabilities", capabilities=[{"capability": "return-path", "state": True}])
    names = ("return-path", "pause-before-switchover")
    capabilities = [{"capability": name, "state": True} for name in names]
    source.qmp.command("migrate-set-capabilities", capabilities=capabilities)
    source.qmp.command("migrate-set-parameters", max_bandwidth=16 << 20)
    destination.qmp.command("migrate-incoming", uri="tcp:127.0.0.1:0")
    address = destination.qmp.command("query-migrate")["socket-address"][0]
    with Proxy(int(address["port"])) as proxy:
        for phase in PHASES:
            watch.at(phase, lambda phase=phase: seen.append(phase))
        watch.at("mid-copy", lambda: proxy.delay(0.15))
        watch.start()
        source.qmp.command("migrate", uri=f"tcp:{proxy.address}")
        watch.wait("pre-switchover")
        source.qmp.command("migrate-continue", state="pre-switchover")
        watch.wait("completed")
        check_equal(watch.running(), [], "who runs")
        record.write_text('{"place":"told"}')
        watch.wait("told")
        wait_until(lambda: destination.status() == "paused", 10, "loaded destination")
        destination.qmp.command("cont")
        watch.wait("resumed")
        check_equal(watch.running(), ["b"], "who runs")
    check_equal(tuple(seen), PHASES, f"phases: {watch.story()}")
    device = watch.fired["completed"] - watch.fired["device"]
    check(device > 0.25, f"the phase device lasted only {device:.2f} s")
    destination.serial.wait_more()
    destination.serial.check_continues(source.serial)
    watch.check_never_two()
    # And now somebody starts the source's guest again.
    source.qmp.command("cont")
    source.serial.wait_more()
    wait_until(lambda: len([look for look in watch.looks[-20:] if look.status == "running"]) > 15, 10, "both to run")
    watch.stop()
    for find in (watch.check_never_two, lambda: check_one_life(source.serial, destination.serial)):
        try:
            find()
        except Failure:
            continue
        raise Failure(f"two guests ran, and it was not found out: {watch.story()}")
    check_equal(watch.looks[-1].status, "running", "last look")


@test()
def gone_and_mute(t):
    """a QEMU that is stopped or has ended is no running guest, and does not hold up the other side's looks"""
    source, destination = writers(t, t.qemu_path, t.qemu_path, mebibytes=2)
    watch = Watch({"a": source.watched, "b": destination.watched}, "a", "b", t.dir / "none", timeout=0.3).start()
    check_equal(watch.running(), ["a"], "who runs")
    t.run("kill", "-STOP", source.process.pid, check=0)
    wait_until(lambda: watch.newest("a").status == "mute", 5, "look without an answer")
    count = len([look for look in watch.looks if look.side == "b"])
    wait_until(lambda: len([look for look in watch.looks if look.side == "b"]) > count + 20, 5, "looks at the other")
    t.run("kill", "-CONT", source.process.pid, check=0)
    wait_until(lambda: watch.running() == ["a"], 5, "running guest")
    source.process.kill()
    wait_until(lambda: watch.newest("a").status == "gone", 5, "look at no QEMU")
    check_equal(watch.running(), [], "who runs")
    watch.stop()
    watch.check_never_two()


@test()
def overlap_of_looks(t):
    """two guests at once: only what is certain counts, and all that is certain"""

    def looks(*words):
        return [Look(side, began, ended, status, "", 0) for side, began, ended, status in words]

    run, stop = "running", "paused"
    moved = looks(("a", 0, 1, run), ("b", 2, 3, stop), ("a", 4, 5, stop), ("b", 6, 7, run), ("a", 8, 9, stop))
    check_equal(overlap(moved), None, "a guest that moved")
    # It may have stopped after the answer.
    once = looks(("a", 0, 1, run), ("b", 2, 3, run), ("a", 4, 5, stop), ("b", 6, 7, run))
    check_equal(overlap(once), None, "one look")
    crossed = looks(("a", 0, 3, run), ("b", 2, 4, run), ("a", 5, 6, stop))
    check_equal(overlap(crossed), None, "looks at the same time")
    two = looks(("a", 0, 1, run), ("b", 2, 3, run), ("a", 4, 5, run))
    check_equal(overlap(two), tuple(two), "two guests")
    check_equal(overlap(list(reversed(two))), tuple(two), "two guests, in no order")
    # Both are always asked at the same moments.
    step = [(side, at + begin, at + begin + 2, run) for at in (0, 20, 40) for side, begin in (("a", 0), ("b", 1))]
    check_equal(overlap(looks(*step)), tuple(looks(step[0], step[1], step[3], step[2])), "two guests, in step")
    check_equal(overlap(looks(*step[:3])), None, "two guests, in step, when it is not certain yet")
    turn = looks(("a", 0, 1, run), ("a", 2, 3, run), ("a", 4, 9, stop), ("b", 3, 4, run), ("b", 5, 6, run))
    check_equal(overlap(turn), None, "one after the other")
    touch = looks(("a", 0, 1, run), ("b", 3, 4, run), ("a", 4, 5, run), ("b", 6, 7, run), ("a", 7, 8, stop))
    check(overlap(touch), "a short time of two guests is not found")
    late = looks(("a", 0, 1, run), ("a", 2, 3, run), ("b", 2.5, 9, run), ("a", 4, 5, run), ("b", 9, 10, run))
    check_equal(overlap(late), None, "an answer that took long")
    late += looks(("a", 11, 12, run))
    check(overlap(late), "two guests are not found")
    between = looks(("a", 0, 1, run), ("a", 2, 3, "gone"), ("b", 4, 5, run), ("a", 6, 7, run))
    check_equal(overlap(between), None, "one that did not run between")
