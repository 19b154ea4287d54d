/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What was found on this host: a list of findings, each with what to do about it.
 */
#ifndef QML_DOCTOR_FINDING_H
#define QML_DOCTOR_FINDING_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/json.h"

enum severity {
    SEVERITY_OK,      /* it was looked at, and is as it should be */
    SEVERITY_NOTE,    /* to know; nothing fails for it */
    SEVERITY_WARNING, /* works, and may not tomorrow or with everybody */
    SEVERITY_PROBLEM, /* a launch, an agent, a receive or a migration fails over it */
    SEVERITY_COUNT
};

struct finding {
    enum severity severity;
    char *check;   /* the name of the check that found it */
    char *subject; /* a file, a peer, a VM … */
    char *what;
    char *remedy;  /* what to do, for people; NULL: nothing */
    char *command; /* the same for a shell; NULL: there is no such command */
};

/* Start with {0}. The first failed allocation sets `failed` and every later call does nothing, so
 * that one look at the end is enough. All texts are copied, without what is not printable ASCII:
 * words of peers and of QEMU may be in. */
struct findings {
    struct finding *items;
    size_t count;
    bool failed;
    const char *check; /* what is looking now; borrowed */
};

void findings_free(struct findings *findings);
#define autofindings __attribute__((cleanup(findings_free)))

/* Add one, without a remedy. */
void finding_add(struct findings *findings, enum severity severity, const char *subject,
                 const char *format, ...) __attribute__((format(printf, 4, 5)));
/* What to do about the last one. */
void finding_remedy(struct findings *findings, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* The command for it; what needs quotes in a shell is quoted by the caller. One that is not
 * printable ASCII is left out. */
void finding_command(struct findings *findings, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* How many there are of that severity. */
size_t findings_count(const struct findings *findings, enum severity severity);

/* "ok", "note", "warning", "problem". */
const char *severity_name(enum severity severity);

/* {"findings": [{"severity", "check", "subject", "what", "remedy", "command"}], "problems",
 * "warnings"}: the last two are numbers, remedy and command texts or null. NULL for want of memory.
 */
json_t *findings_to_json(const struct findings *findings);
/* Add what findings_to_json has made. STATUS_DATA. */
bool findings_from_json(json_t *json, struct findings *findings, struct error *err);

#endif
