/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <fcntl.h>
#include <libcpuid/libcpuid.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "cpu/feature_table.h"
#include "host/system.h"

/* A leaf of the raw CPUID; zeros where the CPU has no such leaf or it is the hypervisor's. */
static void read_leaf(uint32_t leaf, uint32_t subleaf, uint32_t registers[4])
{
    uint32_t range[4] = {0}, first[4] = {leaf, 0, 0, 0};
    registers[0] = registers[1] = registers[2] = registers[3] = 0;
    cpu_exec_cpuid(leaf & 0x80000000, range);
    if (leaf > range[0] || (leaf & 0xc0000000) == 0x40000000)
        return;
    if (leaf == 7 && subleaf > 0) {
        cpu_exec_cpuid_ext(first); /* EAX: its last sub-leaf */
        if (subleaf > first[0])
            return;
    }
    registers[0] = leaf;
    registers[2] = subleaf;
    cpu_exec_cpuid_ext(registers);
}

static bool has_place(const struct feature_place *place)
{
    uint32_t registers[4];
    if (place->kind != PLACE_CPUID)
        return false;
    read_leaf(place->leaf, place->subleaf, registers);
    return registers[place->reg] >> place->bit & 1;
}

bool system_physical_features(struct featureset *features, struct error *err)
{
    size_t count;
    const struct feature *table = feature_table(&count);
    for (size_t i = 0; cpuid_present() && i < count; i++) {
        bool has = true;
        for (unsigned p = 0; p < table[i].place_count && has; p++)
            has = has_place(&table[i].places[p]);
        if (has && !featureset_add(features, table[i].name))
            return error_no_memory(err);
    }
    return true;
}

void system_kvm_tsc(unsigned *khz, bool *scales)
{
    *khz = 0;
    *scales = false;
    autoclose int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (kvm < 0)
        return;
    *scales = ioctl(kvm, KVM_CHECK_EXTENSION, KVM_CAP_TSC_CONTROL) > 0;
    autoclose int vm = ioctl(kvm, KVM_CREATE_VM, 0);
    autoclose int vcpu = vm >= 0 ? ioctl(vm, KVM_CREATE_VCPU, 0) : -1;
    int answer = vcpu >= 0 ? ioctl(vcpu, KVM_GET_TSC_KHZ, 0) : -1;
    *khz = answer > 0 ? (unsigned)answer : 0;
}
