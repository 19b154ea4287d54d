/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "guest/refusal.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

/* "… requested feature: CPUID.07H:EBX.avx2 [bit 5]", "… not requested: MSR(48BH).vmx-ept [bit 1]"
 * (QEMU 7.2 target/i386/cpu.c, mark_unavailable_features): the name, for the caller to free. */
static char *named_feature(const char *line)
{
    const char *at = strstr(line, "CPUID."), *end = strstr(line, " [bit ");
    if (at && (at = strchr(at, ':')) && strlen(at) > 5)
        at += 5; /* ":EBX." */
    else if ((at = strstr(line, "MSR(")) && (at = strstr(at, ").")))
        at += 2;
    return at && end && end > at ? string_format("%.*s", (int)(end - at), at) : NULL;
}

/* "error: failed to set MSR 0x10a to 0x69" (QEMU 7.2 target/i386/kvm/kvm.c, kvm_buf_set_msrs; an
 * assertion that aborts follows): the feature without which QEMU does not set it so, or NULL. */
static const char *msr_feature(const char *line)
{
    const char *at = strstr(line, "failed to set MSR 0x");
    unsigned long msr = at ? strtoul(at + strlen("failed to set MSR "), NULL, 16) : 0;
    if (msr >= 0x480 && msr <= 0x491)
        return "vmx";
    return msr == 0x10a   ? "arch-capabilities"
           : msr == 0xcf  ? "core-capability"
           : msr == 0x345 ? "pdcm"
                          : NULL;
}

bool guest_refusal_features(const char *said, struct strlist *names)
{
    autostrlist struct strlist lines = {0};
    if (!strlist_split(&lines, said, '\n'))
        return false;
    for (size_t i = 0; i < lines.count; i++) {
        const char *gate = msr_feature(lines.items[i]);
        autofree char *name = gate ? strdup(gate) : named_feature(lines.items[i]);
        if (name && name_is_feature(name) && !strlist_contains(names, name) &&
            !strlist_push(names, name))
            return false;
    }
    return true;
}
