/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What has changed on a host since it last honoured an agreement.
 */
#include "unit.h"

#include "base/file.h"
#include "vm/drift_facts.h"

#define ARROW " -> "

/* A profile's payload: the parts that count, and others. */
static json_t *payload(const char *release, const char *microcode, const char *nested,
                       const char *qemu, const char *package, const char *denied)
{
    json_t *json = json_pack(
        "{s:{s:s, s:s, s:s, s:{s:{s:s, s:{s:s, s:s}}}}, s:{s:s, s:[s]}, s:{s:s, s:s, s:s}, "
        "s:{s:[s, s], s:[], s:s}, s:i}",
        "kernel", "release", release, "version", "#1 now", "microcode", microcode, "modules",
        "kvm_intel", "srcversion", "X", "parameters", "nested", nested, "ept", "Y", "processor",
        "brand", "A CPU", "cpuid", "0.0:1", "qemu", "version", qemu, "package", package, "files",
        "0", "cpu", "denied", "pku", denied, "required", "host", "a", "serial", 7);
    ck_assert_ptr_nonnull(json);
    return json;
}

static char *compare(json_t *then, json_t *now, int cause)
{
    autodriftchanges struct drift_changes changes = {0};
    autojson json_t *before = NULL, *after = NULL;
    MUST(before = drift_facts(then, &err));
    MUST(after = drift_facts(now, &err));
    MUST(drift_facts_compare(before, after, &changes, &err));
    return cause < 0 ? drift_changes_text(&changes)
                     : drift_changes_for(&changes, (enum loss_cause)cause);
}

START_TEST(what_changed)
{
    static const struct {
        const char *release, *microcode, *nested, *qemu, *package, *denied, *all;
    } rows[] = {
        {"6.1.0-30", "0x1", "Y", "7.2.22", "", "avx", NULL},
        {"6.1.0-31", "0x1", "Y", "7.2.22", "", "avx", "kernel 6.1.0-30" ARROW "6.1.0-31"},
        {"6.1.0-30", "0x2", "Y", "7.2.22", "", "avx", "microcode 0x1" ARROW "0x2"},
        {"6.1.0-30", "0x1", "N", "7.2.22", "", "avx", "kvm_intel: nested Y" ARROW "N"},
        {"6.1.0-30", "0x1", "Y", "10.0.1", "x", "avx", "QEMU 7.2.22" ARROW "10.0.1"},
        {"6.1.0-30", "0x1", "Y", "7.2.22", "d3", "avx", "QEMU's package ?" ARROW "d3"},
        {"6.1.0-30", "0x1", "Y", "7.2.22", "", "aes", "[policy] denies aes now"},
        {"6.1.0-31", "0x2", "Y", "7.2.22", "", "avx",
         "kernel 6.1.0-30" ARROW "6.1.0-31, microcode 0x1" ARROW "0x2"},
    };
    autojson json_t *then = payload("6.1.0-30", "0x1", "Y", "7.2.22", "", "avx");
    for (size_t i = 0; i < COUNT(rows); i++) {
        autojson json_t *now = payload(rows[i].release, rows[i].microcode, rows[i].nested,
                                       rows[i].qemu, rows[i].package, rows[i].denied);
        autofree char *text = compare(then, now, -1);
        ck_assert_msg(rows[i].all ? text && strcmp(text, rows[i].all) == 0 : !text, "row %zu: %s",
                      i, text ? text : "(nothing)");
    }
}
END_TEST

/* A loss has the changes that can be its cause, and no others. */
START_TEST(causes)
{
    autojson json_t *then = payload("1", "0x1", "Y", "7", "", "avx");
    autojson json_t *now = payload("2", "0x1", "Y", "8", "", "aes");
    autofree char *kvm = compare(then, now, LOSS_KVM), *cpu = compare(then, now, LOSS_CPU),
                  *qemu = compare(then, now, LOSS_QEMU), *policy = compare(then, now, LOSS_POLICY),
                  *request = compare(then, now, LOSS_REQUEST);
    ck_assert_str_eq(kvm, "kernel 1" ARROW "2");
    ck_assert_str_eq(cpu, "kernel 1" ARROW "2");
    ck_assert_str_eq(qemu, "QEMU 7" ARROW "8");
    ck_assert_str_eq(policy, "[policy] denies aes now");
    ck_assert_ptr_null(request);
}
END_TEST

START_TEST(kept)
{
    autojson json_t *made = payload("1", "0x1", "Y", "7", "", "avx"), *facts = NULL, *back = NULL,
                    *none = NULL, *old = NULL;
    autodriftchanges struct drift_changes changes = {0};
    MUST(facts = drift_facts(made, &err));
    ck_assert_ptr_null(json_object_get(json_object_get(facts, "processor"), "cpuid"));
    ck_assert_ptr_nonnull(json_object_get(json_object_get(made, "processor"), "cpuid"));
    MUST(drift_facts_load(unit_folder, "web1", &none, &err));
    ck_assert_ptr_null(none);
    MUST(drift_facts_compare(NULL, facts, &changes, &err));
    ck_assert_uint_eq(changes.count, 0);
    MUST(drift_facts_store(unit_folder, "web1", facts, &err));
    MUST(drift_facts_load(unit_folder, "web1", &back, &err));
    ck_assert(json_equal(back, facts));
    autofree char *path = in_folder("agreements/web1.facts");
    MUST(file_write_atomic(path, "{\"version\":2}", 13, 0600, &err));
    MUST(drift_facts_load(unit_folder, "web1", &old, &err));
    ck_assert_ptr_null(old);
    MUST(file_write_atomic(path, "{", 1, 0600, &err));
    MUST_FAIL(STATUS_DATA, "web1.facts", drift_facts_load(unit_folder, "web1", &old, &err));
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {what_changed, causes, kept};
    return unit_run("drift", tests, COUNT(tests));
}
