# SPDX-License-Identifier: GPL-3.0-or-later
"""A bare QEMU that runs the counter guest, and a bare migration between two of them."""
from .qmp import QMP, QMPError, vcpu_features
from .serial import Serial
from .wait import Failure, wait_until

MACHINE = "pc-q35-7.2"  # known to every QEMU from 7.2 on


def counter_args(test, name, machine=MACHINE, cpu="max", accel="tcg", memory=16, image=None):
    """QEMU's arguments (without its name) for a counter guest, or the one in `image`, that writes to `name`.serial in the
    test's folder."""
    return [
        *("-machine", f"{machine},accel={accel}", "-cpu", cpu, "-m", str(memory)),
        *("-nodefaults", "-display", "none", "-bios", str(image or test.counter), "-serial", f"file:{test.dir / name}.serial"),
    ]


class Qemu:
    """A QEMU started without the program. Made by Test.qemu.

    .process (Process), .qmp (QMP), .serial (Serial), .name
    """

    def __init__(
        self, test, name, *extra, binary=None, paused=False, incoming=False, enter=(), env=None, serial=Serial, **guest
    ):
        self.name = name
        self.serial = serial(test.dir / f"{name}.serial")
        socket = test.dir / f"{name}.qmp"
        argv = [*enter, binary or test.qemu_path, *counter_args(test, name, **guest)]
        argv += ["-qmp", f"unix:{socket},server=on,wait=off"]
        argv += ["-S"] if paused else []
        argv += ["-incoming", "defer"] if incoming else []
        self.process = test.start(*argv, *extra, name=name, env=env)
        try:
            self.qmp = QMP(socket, alive=self.process.alive)
        except Exception as reason:
            raise Failure(f"QEMU {name} did not start: {reason}: {self.process.stderr().strip()[-300:]}") from None

    def status(self):
        """QEMU's run state: running, paused, inmigrate, postmigrate …"""
        return self.qmp.command("query-status")["status"]

    def migration(self):
        """The state of its migration: setup, active, completed, failed … or none."""
        return self.qmp.command("query-migrate").get("status", "none")

    def features(self):
        """{name: bool} of the first vCPU's bool properties."""
        return vcpu_features(self.qmp)

    def quit(self):
        """Ends it by QMP and waits for its end."""
        try:
            self.qmp.command("quit")
        finally:
            self.qmp.close()
            self.process.wait(10)


def migrate_bare(source, destination, uri, timeout=30):
    """Moves a guest as a person at two monitors would, without the program, and waits until both sides say completed.

    Failure when either says anything else in the end.
    """
    destination.qmp.command("migrate-incoming", uri=uri)
    source.qmp.command("migrate", uri=uri)

    def ended():
        state = source.migration()
        if state in ("failed", "cancelled"):
            raise Failure(f"the source says {state}: {source.qmp.command('query-migrate').get('error-desc', '')}")
        return state == "completed"

    wait_until(ended, timeout, "end of the migration at the source")

    def arrived():
        try:
            return destination.migration() == "completed" and destination.status() != "inmigrate"
        except (QMPError, OSError) as reason:
            raise Failure(f"the destination: {reason}") from None

    wait_until(arrived, timeout, "end of the migration at the destination")
