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

#define LEAVES_MAX 64 /* places in which the table looks; those beyond are read each time */

/* What has been read: under a hypervisor each CPUID costs microseconds, and the table asks for few
 * leaves many times. */
struct leaves {
    size_t count;
    struct leaf {
        uint32_t leaf, subleaf, registers[4];
    } items[LEAVES_MAX];
};

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

static struct leaf find_leaf(struct leaves *leaves, uint32_t leaf, uint32_t subleaf)
{
    for (size_t i = 0; i < leaves->count; i++)
        if (leaves->items[i].leaf == leaf && leaves->items[i].subleaf == subleaf)
            return leaves->items[i];
    struct leaf found = {.leaf = leaf, .subleaf = subleaf};
    read_leaf(leaf, subleaf, found.registers);
    if (leaves->count < LEAVES_MAX)
        leaves->items[leaves->count++] = found;
    return found;
}

static bool has_place(struct leaves *leaves, const struct feature_place *place)
{
    if (place->kind != PLACE_CPUID)
        return false;
    struct leaf found = find_leaf(leaves, place->leaf, place->subleaf);
    return found.registers[place->reg] >> place->bit & 1;
}

bool system_physical_features(struct featureset *features, struct error *err)
{
    size_t count;
    const struct feature *table = feature_table(&count);
    struct leaves leaves = {0};
    for (size_t i = 0; cpuid_present() && i < count; i++) {
        bool has = true;
        for (unsigned p = 0; p < table[i].place_count && has; p++)
            has = has_place(&leaves, &table[i].places[p]);
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
