/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The clock: what others sign counts only if this host's clock is not behind theirs by more than
 * CLOCK_TOLERANCE_S.
 */
#include <string.h>
#include <sys/timex.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "doctor/doctor_private.h"
#include "host/profile.h"
#include "peer/envelope.h"
#include "vm/agreement.h"

#define SYNC_COMMAND "timedatectl set-ntp true"

/* The latest time that somebody signed, and who and what that was. */
struct newest {
    int64_t issued;
    char *what;
};

static void newest_free(struct newest *newest)
{
    free(newest->what);
}

static void count_in(struct newest *newest, int64_t issued, const char *kind, const char *name)
{
    char *what = issued > newest->issued ? string_format("%s %s", kind, name) : NULL;
    if (!what)
        return;
    free(newest->what);
    *newest = (struct newest){.issued = issued, .what = what};
}

static void count_profile(const struct doctor *doctor, const char *name, struct newest *newest)
{
    autofree char *path = string_format("%s/profiles/%s.json", doctor->setup->paths->state, name);
    autofree char *text = NULL;
    autoenvelope struct envelope envelope = {0};
    size_t length = 0;
    if (path && file_read_trusted(path, PROFILE_SIZE_MAX * 2, false, &text, &length, NULL) &&
        envelope_open(text, length, PROFILE_SIZE_MAX * 2, PROFILE_TYPE, &envelope, NULL))
        count_in(newest, json_integer_value(json_object_get(envelope.payload, "issued")),
                 "the profile of", name);
}

static void count_agreement(const struct doctor *doctor, const char *name, struct newest *newest)
{
    autojson json_t *document = NULL;
    autoagreement struct agreement agreement = {0};
    if (agreement_load(doctor->setup->paths->state, name, &document, NULL) && document &&
        agreement_document_open(document, &agreement, NULL, NULL))
        count_in(newest, agreement.issued, "the agreement about", name);
}

static void find_newest(const struct doctor *doctor, struct newest *newest)
{
    static const struct {
        const char *folder;
        void (*count)(const struct doctor *doctor, const char *name, struct newest *newest);
    } rows[] = {{"profiles", count_profile}, {"agreements", count_agreement}};
    for (size_t r = 0; r < COUNT_OF(rows); r++) {
        autofree char *folder = path_join(doctor->setup->paths->state, rows[r].folder, "");
        autostrlist struct strlist names = {0};
        if (folder)
            doctor_list(folder, ".json", &names);
        for (size_t i = 0; i < names.count; i++)
            rows[r].count(doctor, names.items[i], newest);
    }
}

void check_clock(const struct doctor *doctor, struct findings *findings)
{
    struct newest newest __attribute__((cleanup(newest_free))) = {0};
    struct timex kernel = {.modes = 0};
    char now[32] = "?";
    struct tm utc;
    if (gmtime_r(&doctor->now, &utc))
        strftime(now, sizeof(now), "%Y-%m-%d %H:%M:%S UTC", &utc);
    find_newest(doctor, &newest);
    if (newest.issued > doctor->now + CLOCK_TOLERANCE_S) {
        finding_add(findings, SEVERITY_PROBLEM, "clock",
                    "it says %s: %lld s before %s was signed; what is signed over %d s ahead of "
                    "the clock here is refused (77)",
                    now, (long long)(newest.issued - doctor->now), newest.what, CLOCK_TOLERANCE_S);
        finding_remedy(findings, "set the clock, and keep it right with NTP");
        finding_command(findings, SYNC_COMMAND);
    } else if (adjtimex(&kernel) == TIME_ERROR && (kernel.status & STA_UNSYNC)) {
        finding_add(findings, SEVERITY_NOTE, "clock",
                    "nothing keeps it right (it says %s): peers whose clocks are over %d s apart "
                    "refuse each other (77)",
                    now, CLOCK_TOLERANCE_S);
        finding_remedy(findings, "run an NTP client");
        finding_command(findings, SYNC_COMMAND);
    } else {
        finding_add(findings, SEVERITY_OK, "clock", "%s", now);
    }
}
