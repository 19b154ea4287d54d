/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Comparing the machines of both sides, from what print-migration read of QEMU 7.2 and 10.0; and
 * the strict reader.
 */
#include "unit.h"

#include "base/file.h"
#include "base/json.h"
#include "migration/preflight.h"

static const char *const names[] = {"src", "dst"};

static json_t *recorded(const char *version)
{
    autofree char *path = string_format(TEST_DATA "/migration/inventory-%s.json", version);
    autofree char *data = NULL;
    size_t length;
    json_t *json = NULL;
    MUST(file_read(path, 1 << 20, false, &data, &length, &err));
    MUST(json = json_parse_strict(data, length, 1 << 20, &err));
    MUST(inventory_check(json, "inventory", &err));
    return json;
}

static void check_both(const json_t *source, const json_t *destination, const char *wanted,
                       const char *wanted_warnings)
{
    autostrlist struct strlist findings = {0}, warnings = {0};
    ck_assert(strlist_push(&findings, "left from before"));
    ck_assert(strlist_push(&warnings, "left from before"));
    ck_assert(preflight_find(source, destination, names, &findings, &warnings));
    autofree char *text = strlist_join(&findings, "; "), *said = strlist_join(&warnings, "; ");
    ck_assert_str_eq(text, wanted);
    ck_assert_str_eq(said, wanted_warnings);
    if (*wanted)
        MUST_FAIL(STATUS_INCOMPATIBLE, wanted, preflight_check(source, destination, names, &err));
    else
        MUST(preflight_check(source, destination, names, &err));
}

static void check_findings(const json_t *source, const json_t *destination, const char *wanted)
{
    check_both(source, destination, wanted, "");
}

START_TEST(equal)
{
    static const char *const versions[] = {"7.2", "10.0"};
    for (size_t i = 0; i < 4; i++) {
        autojson json_t *source = recorded(versions[i / 2]);
        autojson json_t *destination = recorded(versions[i % 2]);
        ck_assert_uint_gt(json_array_size(json_object_get(source, "devices")), 20);
        ck_assert_uint_gt(json_object_size(json_object_get(source, "blocks")), 5);
        check_findings(source, destination, "");
    }
}
END_TEST

/* A member of both recorded inventories set on one. */
START_TEST(numbers)
{
    static const struct {
        const char *name;
        int value;
        const char *source, *destination;
    } cases[] = {
        {"vcpus", 1, "src has 1 vCPU, dst 2", "src has 2 vCPUs, dst 1"},
        {"vcpus_max", 5, "src has room for 5 vCPUs (maxcpus), dst for 4",
         "src has room for 4 vCPUs (maxcpus), dst for 5"},
        {"vcpus_max", 0, "", ""}, /* not told */
        {"memory", 1 << 20, "src has 1 MiB of memory, dst 16 MiB",
         "src has 16 MiB of memory, dst 1 MiB"},
        {"memory", (1 << 20) + 1, "src has 1048577 bytes of memory, dst 16 MiB",
         "src has 16 MiB of memory, dst 1048577 bytes"},
        {"plugged", 1 << 20, "src has 1 MiB of memory plugged in, dst 0 MiB",
         "src has 0 MiB of memory plugged in, dst 1 MiB"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        autojson json_t *one = recorded("7.2"), *other = recorded("10.0");
        json_object_set_new(one, cases[i].name, json_integer(cases[i].value));
        check_findings(one, other, cases[i].source);
        check_findings(other, one, cases[i].destination);
    }
    autojson json_t *one = recorded("7.2"), *other = recorded("10.0");
    json_object_set_new(one, "vcpus", json_integer(3)); /* then the room is no news */
    json_object_set_new(one, "vcpus_max", json_integer(3));
    check_findings(one, other, "src has 3 vCPUs, dst 2");
    json_object_set_new(one, "vcpus", json_integer(2));
    json_object_set_new(one, "vcpus_max", json_integer(4));
    json_object_set_new(one, "machine", json_string("pc-q35-8.0"));
    check_findings(one, other, "src has machine type pc-q35-8.0, dst pc-q35-7.2");
}
END_TEST

static json_t *device(const char *type, const char *id, const char *at, const char *feature)
{
    json_t *json = json_pack("{s:s, s:s, s:s, s:[], s:i}", "type", type, "id", id, "at", at,
                             "features", "unknown", 0);
    if (feature)
        json_array_append_new(json_object_get(json, "features"), json_string(feature));
    ck_assert_ptr_nonnull(json);
    return json;
}

static void add(json_t *inventory, json_t *one)
{
    json_array_append_new(json_object_get(inventory, "devices"), one);
}

START_TEST(devices)
{
    autojson json_t *one = recorded("7.2"), *other = recorded("10.0");
    add(one, device("e1000", "", "00:15.0", NULL));
    check_findings(one, other, "src has an e1000 at 00:15.0 that dst has not");
    check_findings(other, one, "dst has an e1000 at 00:15.0 that src has not");
    add(other, device("rtl8139", "net9", "00:15.0", NULL));
    check_findings(one, other, "src has an e1000 at 00:15.0, dst has rtl8139 there");
    check_findings(other, one, "src has a rtl8139 at 00:15.0 (net9), dst has e1000 there");
    /* The same one elsewhere, twice where there is one, and one that is nowhere. */
    autojson json_t *a = recorded("7.2"), *b = recorded("7.2");
    add(a, device("e1000", "", "00:16.0", NULL));
    add(b, device("e1000", "", "00:17.0", NULL));
    add(a, device("vmcoreinfo", "", "", NULL));
    add(b, device("vmcoreinfo", "v", "", NULL));
    add(b, device("vmcoreinfo", "w", "", NULL));
    check_findings(a, b,
                   "src has an e1000 at 00:16.0 that dst has not; "
                   "dst has an e1000 at 00:17.0 that src has not; "
                   "dst has a vmcoreinfo (w) that src has not");
    check_findings(b, a,
                   "src has an e1000 at 00:17.0 that dst has not; "
                   "src has a vmcoreinfo (w) that dst has not; "
                   "dst has an e1000 at 00:16.0 that src has not");
    /* One thing in the place of two; what is nowhere is in no place. */
    autojson json_t *x = recorded("7.2"), *y = recorded("7.2");
    add(x, device("one", "", "00:1f.0 bus 0", NULL));
    add(x, device("two", "", "00:1f.0 bus 0", NULL));
    add(y, device("three", "", "00:1f.0 bus 0", NULL));
    add(x, device("nowhere", "", "", NULL));
    add(y, device("everywhere", "", "", NULL));
    check_findings(x, y,
                   "src has an one at 00:1f.0 bus 0, dst has three there; "
                   "src has a two at 00:1f.0 bus 0 that dst has not; "
                   "src has a nowhere that dst has not; dst has an everywhere that src has not");
}
END_TEST

START_TEST(features)
{
    autojson json_t *one = recorded("7.2"), *other = recorded("7.2");
    json_t *a = device("virtio-x", "", "00:15.0", "F_BOTH"), *b;
    b = json_deep_copy(a);
    add(one, a);
    add(other, b);
    json_array_append_new(json_object_get(a, "features"), json_string("F_Z"));
    json_array_append_new(json_object_get(a, "features"), json_string("F_A"));
    static const char gained[] =
        "dst has a virtio-x at 00:15.0 with F_A, F_Z, src without: a guest that restarts on dst "
        "uses that, and can then not come back to src";
    check_findings(one, other, "src has a virtio-x at 00:15.0 with F_A, F_Z, dst without");
    check_both(other, one, "", gained);
    /* Bits without a name there may be these, as long as they are as many. */
    json_object_set_new(b, "unknown", json_integer(1));
    check_findings(one, other, "src has a virtio-x at 00:15.0 with F_A, F_Z, dst without");
    check_both(other, one, "", gained);
    json_object_set_new(b, "unknown", json_integer(2));
    check_findings(one, other, "");
    check_findings(other, one, "");
    /* Each has something. */
    json_object_set_new(b, "unknown", json_integer(0));
    json_array_append_new(json_object_get(b, "features"), json_string("F_B"));
    check_both(other, one, "src has a virtio-x at 00:15.0 with F_B, dst without", gained);
    /* One that does not tell. */
    json_array_clear(json_object_get(b, "features"));
    check_findings(one, other, "");
    check_findings(other, one, "");
}
END_TEST

/* A disk that can be written to on one only: an obstacle both ways, other features are as ever. */
START_TEST(harm)
{
    static const char why[] = "what the guest writes would fail on the one that has it";
    autojson json_t *one = recorded("7.2"), *other = recorded("7.2");
    json_t *a = device("virtio-blk-pci", "d", "00:15.0", "F_BOTH"), *b;
    b = json_deep_copy(a);
    add(one, a);
    add(other, b);
    json_array_append_new(json_object_get(b, "features"), json_string("VIRTIO_BLK_F_RO"));
    autofree char *there = string_format(
        "dst has a virtio-blk-pci at 00:15.0 (d) with VIRTIO_BLK_F_RO, src without: %s", why);
    autofree char *here = string_format(
        "src has a virtio-blk-pci at 00:15.0 (d) with VIRTIO_BLK_F_RO, dst without: %s", why);
    check_findings(one, other, there);
    check_findings(other, one, here);
    /* It is no bit without a name. */
    json_object_set_new(a, "unknown", json_integer(5));
    check_findings(one, other, there);
    check_findings(other, one, here);
    json_object_set_new(a, "unknown", json_integer(0));
    json_array_append_new(json_object_get(b, "features"), json_string("F_MORE"));
    check_both(one, other, there,
               "dst has a virtio-blk-pci at 00:15.0 (d) with F_MORE, src without: a guest that "
               "restarts on dst uses that, and can then not come back to src");
    json_array_append_new(json_object_get(a, "features"), json_string("VIRTIO_BLK_F_RO"));
    json_array_append_new(json_object_get(a, "features"), json_string("F_MORE"));
    check_findings(one, other, "");
    json_array_clear(json_object_get(a, "features"));
    check_findings(one, other, "");
    check_findings(other, one, "");
}
END_TEST

START_TEST(blocks)
{
    autojson json_t *one = recorded("7.2"), *other = recorded("10.0");
    json_t *a = json_object_get(one, "blocks");
    json_object_set_new(a, "pc.bios", json_integer(131072));
    json_object_set_new(a, "mm", json_integer(1));
    check_findings(one, other,
                   "src has memory called mm that dst has not; "
                   "pc.bios: 131072 bytes on src, 262144 on dst");
    check_findings(other, one,
                   "dst has memory called mm that src has not; "
                   "pc.bios: 262144 bytes on src, 131072 on dst");
    /* They follow from what was said. */
    json_object_set_new(one, "vcpus", json_integer(1));
    check_findings(one, other, "src has 1 vCPU, dst 2");
    json_object_set_new(one, "vcpus", json_integer(2));
    json_object_clear(a);
    check_findings(one, other, "");
    check_findings(other, one, "");
}
END_TEST

START_TEST(blocked)
{
    autojson json_t *one = recorded("7.2"), *other = recorded("10.0");
    json_array_append_new(json_object_get(one, "blocked"), json_string("invtsc is on"));
    json_object_set_new(json_object_get(one, "blocks"), "mm", json_integer(1));
    check_findings(one, other,
                   "the guest cannot leave src now: invtsc is on; "
                   "src has memory called mm that dst has not");
    check_findings(other, one, "dst has memory called mm that src has not");
}
END_TEST

START_TEST(text_of_blocks)
{
    autojson json_t *json = json_object();
    ck_assert(inventory_parse_blocks(
        "              Block Name    PSize              Offset               Used\n"
        "                  pc.ram    4 KiB  0x0000000000000000 0x0000000008000000 0x8000000\n"
        "    /rom@etc/acpi/tables    4 KiB  0x0000000009140000 0x0000000000020000 0x0200000\n"
        "0000:00:03.0/virtio-net-pci.rom    4 KiB  0x0000000009100000 0x40000 0x40000 0xf rw\r\n"
        "              with blank  2 MiB  0x1 0xfff 0x3\n"
        "  0x1 0x2 0x3\n x  0x1 0x2 0x3\n  y z  0xnone\n        z  4 KiB  0x1 0xffffffffffffffff "
        "0x1\n",
        json));
    autofree char *text = json_to_text(json);
    ck_assert_str_eq(text, "{\"0000:00:03.0/virtio-net-pci.rom\":262144,\"pc.ram\":134217728,"
                           "\"with blank\":4095}");
}
END_TEST

START_TEST(what_counts)
{
    static const struct {
        const char *path, *type, *bus;
        bool pci, counts;
    } cases[] = {
        {"/machine/peripheral/net0", "virtio-net-pci", "/machine/q35/pcie.0", true, true},
        {"/machine/q35/mch", "mch", "/machine/q35/pcie.0", true, true},
        {"/machine/peripheral/net0/virtio-backend", "virtio-net-device",
         "/machine/peripheral/net0/virtio-bus", false, false},
        {"/machine/peripheral/cpu1", "qemu64-x86_64-cpu", "", false, false},
        {"/machine/peripheral/cpu1/lapic", "apic", "", false, false},
        {"/machine/peripheral-anon/device[1]", "pc-dimm", "", false, true},
        {"/machine/peripheral-anon/device[1]", "vmcoreinfo", "/machine/unattached/sysbus", false,
         true},
        {"/machine/unattached/device[0]", "kvmvapic", "/machine/unattached/sysbus", false, false},
        {"/machine/unattached/device[9]", "smbus-eeprom", "/machine/unattached/device[2]/i2c",
         false, false},
        {"/machine/unattached/device[9]", "isa-serial", "/machine/x/isa.0", false, true},
        {"/machine/unattached/device[9]", "mc146818rtc", "/machine/x/isa.0", false, false},
        {"/machine/unattached/device[9]", "ide-hd", "/machine/x/ide.0", false, true},
        {"/machine/unattached/device[9]/serial", "serial", "", false, false},
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        ck_assert_msg(inventory_counts(cases[i].path, cases[i].type, cases[i].bus, cases[i].pci) ==
                          cases[i].counts,
                      "%s", cases[i].path);
}
END_TEST

/* Each member in turn of a good inventory is taken away or spoilt. */
START_TEST(strict)
{
    static const char *const spoilt[][2] = {
        {"machine", "\"a b\""},
        {"machine", "1"},
        {"vcpus", "0"},
        {"vcpus", "65537"},
        {"vcpus_max", "-1"},
        {"vcpus_max", "65537"},
        {"memory", "-1"},
        {"plugged", "-1"},
        {"memory", "\"1\""},
        {"devices", "{}"},
        {"devices", "[1]"},
        {"devices", "[{}]"},
        {"blocks", "[]"},
        {"blocks", "{\"a\":-1}"},
        {"blocks", "{\"a\":\"\"}"},
        {"blocked", "[1]"},
        {"blocked", "{}"},
        {"blocked", "[\"\\u0007\"]"},
        {"more", "1"},
        {"devices", "[{\"type\":1,\"id\":\"\",\"at\":\"\",\"features\":[],\"unknown\":0}]"},
        {"devices", "[{\"type\":\"\",\"id\":1,\"at\":\"\",\"features\":[],\"unknown\":0}]"},
        {"devices", "[{\"type\":\"\",\"id\":\"\",\"at\":1,\"features\":[],\"unknown\":0}]"},
        {"devices", "[{\"type\":\"\",\"id\":\"\",\"at\":\"\",\"features\":[1],\"unknown\":0}]"},
        {"devices", "[{\"type\":\"\",\"id\":\"\",\"at\":\"\",\"features\":[],\"unknown\":-1}]"},
        {"devices",
         "[{\"type\":\"\",\"id\":\"\",\"at\":\"\",\"features\":[],\"unknown\":0,\"x\":0}]"},
    };
    autojson json_t *good = recorded("10.0");
    const char *name;
    json_t *value;
    json_object_foreach(good, name, value)
    {
        autojson json_t *json = json_copy(good);
        json_object_del(json, name);
        MUST_FAIL(STATUS_DATA, name, inventory_check(json, "dst", &err));
    }
    for (size_t i = 0; i < COUNT(spoilt); i++) {
        autojson json_t *json = json_copy(good);
        json_object_set_new(json, spoilt[i][0], json_loads(spoilt[i][1], JSON_DECODE_ANY, NULL));
        struct error err = ERROR_INIT;
        ck_assert_msg(!inventory_check(json, "dst", &err), "%s: %s", spoilt[i][0], spoilt[i][1]);
        ck_assert_int_eq(err.status, STATUS_DATA);
    }
    autojson json_t *many = json_copy(good), *list = json_array();
    for (int i = 0; i < 4097; i++)
        json_array_append_new(list, device("x", "", "", NULL));
    json_object_set(many, "devices", list);
    MUST_FAIL(STATUS_DATA, "its lists", inventory_check(many, "dst", &err));
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {equal,  numbers, devices,        features,    harm,
                                  blocks, blocked, text_of_blocks, what_counts, strict};
    return unit_run("preflight", tests, COUNT(tests));
}
