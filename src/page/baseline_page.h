/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A baseline as a page for a browser: which host lacks which feature and why, what each host costs
 * the others, security first. One file, with nothing from elsewhere and without any script: its
 * filters are CSS. Pure: from data to text, the same for the same data.
 */
#ifndef QML_PAGE_BASELINE_PAGE_H
#define QML_PAGE_BASELINE_PAGE_H

#include "cpu/baseline.h"

/* All of it is borrowed. */
struct page_host {
    const struct cpu_offer *offer; /* with the host's name */
    const char *qemu_version;      /* NULL: not known */
    const char *cpu;               /* the value of -cpu */
};

struct baseline_page {
    const struct baseline *baseline;
    const struct baseline_report *report; /* of the same hosts */
    const struct page_host *hosts;
    size_t host_count;
    const char *machine;                                 /* NULL: not known */
    const char *form;                                    /* of -cpu */
    const struct strlist *devices_off, *devices_unknown; /* lines, as device_report_losses */
    const char *migration; /* as device_capabilities_line; NULL: nothing known */
};

/* The page, in ASCII; the caller frees it; NULL for want of memory. Nothing of what hosts say of
 * themselves is markup in it. */
char *baseline_page_make(const struct baseline_page *page);

/* Its style sheet, and the Base64 of that text's SHA-256, by which its Content-Security-Policy
 * (CSP level 3, section 6.7.3.3) allows this one and no other. */
extern const char baseline_page_style[];
#define BASELINE_PAGE_STYLE_SHA256 "2jnZlmnfHo/GBSoXeDObhuCq6dW5Au9j0M86viEIW/U="

#endif
