# SPDX-License-Identifier: GPL-3.0-or-later
"""The device backends of real kernels, Linux 6.1 and 6.12, with and without their modules, as the program tells of them.

What runs on the hosts is tests/hosts/scripts/backends.
"""
import json

from lib.harness import check_equal, test
from lib.hosts import HOSTS_TIMEOUT, Hosts

CPUS = ("rich", "rich@trixie")
TUN = {"vnet-hdr", "multi-queue", "ufo", "header-10", "header-12", "header-20", "header-24"}
VHOST_NET = {"access-platform", "event-idx", "indirect-desc", "mrg-rxbuf", "notify-on-empty"}
# In all: absent without its module; vhost-vdpa: there is no such device.
WITHOUT = {"vhost-scsi": None, "vhost-vsock": None, "vhost-vdpa": None}
WITH = {
    "vhost-scsi": {"event-idx", "indirect-desc", "notify-on-empty", "t10-pi"},
    "vhost-vsock": {"seqpacket"},
    "vhost-vdpa": None,
}
KERNELS = {  # USO and the reset of a vhost-net queue came with Linux 6.2
    "a": {"tun": TUN, "vhost-net": VHOST_NET},
    "b": {"tun": TUN | {"uso"}, "vhost-net": VHOST_NET | {"ring-reset"}},
}


def told(path):
    """{backend: its features, None: absent, or why it is unknown}."""
    backends = json.loads(path.read_text())["devices"]["backends"]
    features = {name: set(one["features"]) for name, one in backends.items() if one["state"] == "known"}
    return {name: features.get(name, one.get("why")) for name, one in backends.items()}


@test(timeout=HOSTS_TIMEOUT, full=True)
def real_kernels(t):
    """what 6.1 and 6.12 give to devices, before and after modules are loaded, and to a user without rights: nothing"""
    out = Hosts(t, *CPUS).run("backends")
    for name, kernel in KERNELS.items():
        check_equal(told(out / name / "before.json"), {**kernel, **WITHOUT}, f"{name} before")
        check_equal(told(out / name / "after.json"), {**kernel, **WITH}, f"{name} with all modules")
        closed = {backend: f"/dev/{backend}: Permission denied" for backend in ("vhost-net", "vhost-scsi", "vhost-vsock")}
        closed |= {"tun": "/dev/net/tun: Permission denied", "vhost-vdpa": None}
        check_equal(told(out / name / "nobody.json"), closed, f"{name} without rights")
        links = [line.split()[1] for line in (out / name / "links").read_text().splitlines()]
        check_equal(links, ["lo:", "eth0:"], f"interfaces of {name}")
