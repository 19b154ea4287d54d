/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What has changed on a host since it last honoured an agreement.
 */
#include "device_fixture.h"

#include "base/file.h"
#include "vm/drift_devices.h"
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

/* What a host lacks counts where its own command line uses it. */
START_TEST(devices)
{
    static const char agreed[] = "a tun:uso,vnet-hdr net:csum,host_uso";
    static const struct {
        const char *host, *netdev;
        bool must_be_known;
        const char *reasons;
    } rows[] = {
        {agreed, "tap", false, ""},
        {"b tun:vnet-hdr net:csum,host_uso", "tap", false,
         "devices: host_uso of virtio-net: b's kernel lacks uso of tap devices"},
        {"b tun:vnet-hdr net:csum,host_uso", "user", false, ""},
        {"b tun:vnet-hdr net:csum,host_uso", NULL, false, ""}, /* no command line is known */
        {"b tun:uso,vnet-hdr net:csum", "tap", false,
         "devices: host_uso of virtio-net: b's QEMU does not know it"},
        {"b tun?denied net:csum,host_uso", "tap", false, ""},
        {"b tun?denied net:csum,host_uso", "tap", true,
         "devices: the site policy ([policy] devices = known) demands to know tap devices of b: "
         "denied"},
        {"b tun?denied net:csum,host_uso", "user", true, ""},
    };
    autopaths struct paths paths = {0};
    autofree char *folder = in_folder("home");
    MUST(paths_init(&paths, folder, &err));
    for (size_t i = 0; i < 2 * COUNT(rows); i++) {
        bool in_file = i % 2 == 1; /* the command line: in the record, or kept for receive */
        const char *netdev = rows[i / 2].netdev;
        struct agreement agreement = {.vm = (char[]){"web1"}};
        struct vm_record record = {0};
        autodeviceoffer struct device_offer before = {0}, now = {0};
        autostrlist struct strlist uses = {0}, reasons = {0};
        struct device_host then = fixture_host(agreed, &before);
        struct config config = {.host_name = (char[]){"b"},
                                .devices_known = rows[i / 2].must_be_known};
        ck_assert(strlist_push(&uses, "tun"));
        MUST(device_baseline_compute(&then, 1, &uses, &agreement.devices, NULL, &err));
        fixture_host(rows[i / 2].host, &now);
        autofree char *file = path_join(paths.config, "vms/web1.args", "");
        autofree char *line = string_format("qemu-system-x86_64 -netdev %s,id=n -device "
                                            "virtio-net-pci,netdev=n",
                                            netdev ? netdev : "");
        unlink(file);
        if (netdev && in_file) {
            autofree char *vms = path_join(paths.config, "vms", "");
            MUST(folder_make(vms, 0700, &err));
            MUST(file_write_atomic(file, line, strlen(line), 0600, &err));
        } else if (netdev) {
            ck_assert(strlist_split(&record.argv, line, ' '));
        }
        MUST(drift_devices(&paths, &config, &agreement, &record, &now, &reasons, &err));
        autofree char *text = strlist_join(&reasons, "; ");
        ck_assert_msg(strcmp(text, rows[i / 2].reasons) == 0, "%s %s: %s", rows[i / 2].host,
                      netdev ? netdev : "", text);
        device_baseline_free(&agreement.devices);
        strlist_free(&record.argv);
    }
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {what_changed, causes, kept, devices};
    return unit_run("drift", tests, COUNT(tests));
}
