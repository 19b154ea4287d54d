# SPDX-License-Identifier: GPL-3.0-or-later
"""virtio-net with vhost-net of kernels that really differ, on two emulated hosts."""
import shutil

from lib.harness import check, check_equal, check_in, test
from lib.hosts import HOSTS_TIMEOUT, Hosts
from lib.negotiator import NegotiatorSerial, build_negotiator

RING_RESET = 1 << 40  # VIRTIO_F_RING_RESET (linux/virtio_config.h), which vhost-net has from Linux 6.2 on


def there_and_back(t, *cpus):
    """From a to b, a reset there, back, and a reset: the guest has and is offered the same devices all the time."""
    hosts = Hosts(t, *cpus)
    shutil.copy(build_negotiator(t.dir), hosts.share / "negotiator.bin")
    out = hosts.run("virtio")
    for name in ("a", "b"):
        net = [word for word in (out / name / "web1.0.argv").read_text().splitlines() if word.startswith("virtio-net-pci")]
        check_equal(len(net), 1, f"devices of {name}")
        check_in("queue_reset=off", net[0], f"what Linux 6.1 lacks, on {name}")
    serials = [NegotiatorSerial(out / name / f"web1.{number}.serial") for name, number in (("a", 0), ("b", 0), ("a", 1))]
    boots = serials[-1].follow(*serials[:-1]).boots()
    check_equal(len(boots), 3, "times that the guest began")
    check_equal(sorted(boots[0].accepted()), ["net", "rng"], "devices of the guest")
    check_equal(boots[0].accepted()["net"] & RING_RESET, 0, "reset of a queue")
    for boot in boots:
        check_equal(boot.accepted(), boots[0].accepted(), "features that the guest accepted")
        check_equal(boot.changes, [], "devices that became others under the running guest")
        check(boot.ready and boot.ticks >= 3, "the guest does not count")


@test(timeout=HOSTS_TIMEOUT, lane="hosts", full=True)
def vhost_between_kernels(t):
    """Linux 6.1 and QEMU 7.2 -> 6.12 and 10.0, a reset there, back, a reset: queue_reset is off, and the devices stay the
    same"""
    there_and_back(t, "rich", "rich@trixie")
