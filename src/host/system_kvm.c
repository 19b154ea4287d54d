/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/digest.h"
#include "host/system.h"

#define CPUID_ENTRIES_MAX 512
#define MSRS_MAX 512
#define EXTENSIONS 512 /* more than KVM has numbers for, Linux 6.18 */

/* What KVM can show a guest (Documentation/virt/kvm/api.rst 4.46), without the places of the CPU
 * that this process happens to run on. */
static void add_cpuid(int kvm, struct strbuf *text)
{
    autofree struct kvm_cpuid2 *cpuid =
        calloc(1, sizeof(*cpuid) + CPUID_ENTRIES_MAX * sizeof(cpuid->entries[0]));
    if (!cpuid) {
        text->failed = true;
        return;
    }
    cpuid->nent = CPUID_ENTRIES_MAX;
    if (ioctl(kvm, KVM_GET_SUPPORTED_CPUID, cpuid) < 0)
        strbuf_printf(text, "cpuid: %d\n", errno);
    else
        for (uint32_t i = 0; i < cpuid->nent; i++) {
            const struct kvm_cpuid_entry2 *entry = &cpuid->entries[i];
            uint32_t r[4] = {entry->eax, entry->ebx, entry->ecx, entry->edx};
            system_mask_place(entry->function, r);
            strbuf_printf(text, "%x.%x.%x:%x,%x,%x,%x\n", entry->function, entry->index,
                          entry->flags, r[0], r[1], r[2], r[3]);
        }
}

/* The MSRs that tell of features, and their values (api.rst 4.3, 4.18). */
static void add_msrs(int kvm, struct strbuf *text)
{
    autofree struct kvm_msr_list *list =
        calloc(1, sizeof(*list) + MSRS_MAX * sizeof(list->indices[0]));
    autofree struct kvm_msrs *one = calloc(1, sizeof(*one) + sizeof(one->entries[0]));
    if (!list || !one) {
        text->failed = true;
        return;
    }
    list->nmsrs = MSRS_MAX;
    if (ioctl(kvm, KVM_GET_MSR_FEATURE_INDEX_LIST, list) < 0) {
        strbuf_printf(text, "msrs: %d\n", errno);
        return;
    }
    for (uint32_t i = 0; i < list->nmsrs; i++) {
        one->nmsrs = 1;
        one->entries[0].index = list->indices[i];
        if (ioctl(kvm, KVM_GET_MSRS, one) == 1)
            strbuf_printf(text, "%x:%llx\n", list->indices[i],
                          (unsigned long long)one->entries[0].data);
        else
            strbuf_printf(text, "%x:no\n", list->indices[i]);
    }
}

static void add_extensions(int kvm, struct strbuf *text)
{
    for (int i = 0; i < EXTENSIONS; i++) {
        int answer = ioctl(kvm, KVM_CHECK_EXTENSION, i);
        if (answer != 0)
            strbuf_printf(text, "%d=%d\n", i, answer);
    }
}

json_t *system_kvm(struct error *err)
{
    struct stat st;
    char digest[DIGEST_HEX_SIZE] = "";
    autostrbuf struct strbuf device = {0}, access = {0}, text = {0};
    autoclose int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (kvm >= 0)
        strbuf_puts(&access, "yes");
    else
        strbuf_printf(&access, "no: %d", errno);
    if (kvm >= 0 ? fstat(kvm, &st) == 0 : stat("/dev/kvm", &st) == 0)
        strbuf_printf(&device, "%u:%u", major(st.st_rdev), minor(st.st_rdev));
    if (kvm >= 0) {
        add_cpuid(kvm, &text);
        add_msrs(kvm, &text);
        add_extensions(kvm, &text);
        if (text.data && !digest_hex(text.data, text.length, digest, err))
            return NULL;
    }
    json_t *made = device.failed || access.failed || text.failed
                       ? NULL
                       : json_pack("{s:s, s:s, s:s}", "device", device.data ? device.data : "",
                                   "access", access.data, "offers", digest);
    if (!made)
        error_no_memory(err);
    return made;
}
