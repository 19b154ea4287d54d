/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The baseline of devices: what is off, what is kept, who is told why; in any order of the hosts.
 */
#include "device/device_baseline.h"
#include "device/device_report.h"
#include "unit.h"

#include "device_fixture.h"

#define USO "guest_uso4 guest_uso6 host_uso"

/* Hosts as device_fixture.h writes them; what comes of them, for the class virtio-net. */
static const struct {
    const char *what;
    const char *uses;
    const char *hosts[4];
    const char
        *off; /* wanted among off: all of them, and of the properties that are usual no others */
    const char
        *not_kept; /* beside those: usual, not off and not kept; of the classes' properties here */
    const char *losses;  /* the lines, joined by "; " */
    const char *unknown; /* the same */
} rows[] = {
    {"alike",
     "tun",
     {"a tun:vnet-hdr,uso net:csum,host_uso", "b tun:vnet-hdr,uso net:csum,host_uso"},
     "",
     "",
     "",
     ""},
    {"a kernel without uso",
     "tun",
     {"a tun:vnet-hdr,uso net:csum,guest_uso4,guest_uso6,host_uso",
      "b tun:vnet-hdr net:csum,guest_uso4,guest_uso6,host_uso"},
     USO,
     "",
     "guest_uso4, guest_uso6, host_uso of virtio-net: b's kernel lacks uso of tap devices",
     ""},
    {"a kernel without headers, which UFO and USO need",
     "tun",
     {"a tun:ufo,uso,vnet-hdr net:host_ufo,host_uso", "b tun:ufo,uso net:host_ufo,host_uso"},
     "host_ufo host_uso",
     "",
     "host_ufo, host_uso of virtio-net: b's kernel lacks vnet-hdr of tap devices",
     ""},
    {"a QEMU without it",
     "tun",
     {"a tun:vnet-hdr,uso net:csum,host_uso", "b tun:vnet-hdr,uso net:csum"},
     "host_uso",
     "",
     "host_uso of virtio-net: b's QEMU does not know it",
     ""},
    {"one lacks it in both ways, which is told as QEMU's",
     "tun",
     {"a tun:uso,vnet-hdr net:host_uso", "b tun:vnet-hdr net:"},
     "host_uso",
     "",
     "host_uso of virtio-net: b's QEMU does not know it",
     ""},
    {"each for its own reason",
     "tun",
     {"c tun:uso,vnet-hdr net:host_uso", "a tun:vnet-hdr net:host_uso", "b tun:uso,vnet-hdr net:"},
     "host_uso",
     "",
     "host_uso of virtio-net: a's kernel lacks uso of tap devices, b's QEMU does not know it",
     ""},
    {"nobody can: nobody loses",
     "tun",
     {"a tun:vnet-hdr net:host_uso", "b tun:vnet-hdr net:host_uso"},
     "host_uso",
     "",
     "",
     ""},
    {"no QEMU knows it",
     "tun",
     {"a tun:uso,vnet-hdr net:csum", "b tun:uso,vnet-hdr net:csum"},
     "host_uso guest_tunnel",
     "",
     "",
     ""},
    {"a backend that is not in use constrains nothing, and nothing is kept that only it could give",
     "",
     {"a tun:uso,vnet-hdr net:host_uso", "b tun:vnet-hdr net:host_uso"},
     "",
     "host_uso",
     "",
     ""},
    {"what another QEMU does not know is off, used or not; and no loss",
     "",
     {"a tun:uso,vnet-hdr net:host_uso", "b tun:uso,vnet-hdr net:"},
     "host_uso",
     "",
     "",
     ""},
    {"unknown constrains nothing, is told, and what one knows is kept",
     "tun",
     {"a tun:uso,vnet-hdr net:csum,host_uso", "b tun?denied net:csum,host_uso"},
     "",
     "",
     "",
     "tap devices of b: denied"},
    {"nobody knows: nothing is kept",
     "tun",
     {"a tun?denied net:host_uso", "b net:host_uso"},
     "",
     "host_uso",
     "",
     "tap devices of a: denied; tap devices of b: the host's profile does not tell"},
    {"one cause, told once",
     "tun",
     {"b tun?denied net:host_uso", "a tun?denied net:host_uso"},
     "",
     "host_uso",
     "",
     "tap devices of a, b: denied"},
    {"absent constrains nothing, and is not told",
     "tun",
     {"a tun:uso,vnet-hdr net:host_uso", "b tun! net:host_uso"},
     "",
     "",
     "",
     ""},
    {"a host that says nothing at all",
     "",
     {"a tun:uso,vnet-hdr net:csum", "b"},
     "",
     "csum",
     "",
     ""},
    {"the machine type switches it off in all: not off, not kept, no loss",
     "tun",
     {"a tun:uso,vnet-hdr net:host_uso compat:virtio-net-pci.host_uso=off",
      "b tun:uso,vnet-hdr net:host_uso compat:virtio-net-device.host_uso=off"},
     "",
     "host_uso",
     "",
     ""},
    {"and in one that can be asked: not kept",
     "tun",
     {"a tun:uso,vnet-hdr net:host_uso compat:virtio-net-pci.host_uso=off",
      "b tun:uso,vnet-hdr net:host_uso"},
     "",
     "host_uso",
     "",
     ""},
    {"in one, and not in another that says so: off",
     "tun",
     {"a tun:uso,vnet-hdr net:host_uso compat:virtio-net-pci.host_uso=off",
      "b tun:uso,vnet-hdr net:host_uso compat:"},
     "host_uso",
     "",
     "host_uso of virtio-net: a's QEMU switches it off for this machine type",
     ""},
    {"off by the machine type where it is known: the other's QEMU is no loss",
     "tun",
     {"a tun:uso,vnet-hdr net:host_uso compat:virtio-net-pci.host_uso=off",
      "b tun:uso,vnet-hdr net:"},
     "host_uso",
     "",
     "",
     ""},
    {"off by itself: no loss",
     "vhost-net",
     {"a vhost-net:ring-packed,ring-reset net:packed,queue_reset",
      "b vhost-net:ring-reset net:packed,queue_reset"},
     "packed",
     "",
     "",
     ""},
    {"vhost takes away what QEMU can do by itself",
     "tun vhost-net",
     {"a tun:vnet-hdr vhost-net:ring-reset net:queue_reset",
      "b tun:vnet-hdr vhost-net: net:queue_reset"},
     "queue_reset",
     "",
     "queue_reset of virtio-net: b's kernel lacks ring-reset of vhost-net",
     ""},
    {"two needs: both",
     "tun vhost-net",
     {"a tun:header-12 vhost-net:mrg-rxbuf net:mrg_rxbuf",
      "b tun:header-12 vhost-net: net:mrg_rxbuf"},
     "mrg_rxbuf",
     "",
     "mrg_rxbuf of virtio-net: b's kernel lacks mrg-rxbuf of vhost-net",
     ""},
    {"vhost-user is never known",
     "vhost-user",
     {"a net:mrg_rxbuf"},
     "",
     "mrg_rxbuf",
     "",
     "vhost-user devices of a: only the process at the socket knows"},
    {"one host alone", "tun", {"a tun:uso,vnet-hdr net:host_uso"}, "", "", "", ""},
};

static const struct device_class_baseline *net_of(const struct device_baseline *baseline)
{
    for (size_t i = 0; i < baseline->class_count; i++)
        if (strcmp(baseline->classes[i].name, "virtio-net") == 0)
            return &baseline->classes[i];
    return NULL;
}

static void check_lines(const char *what, const struct strlist *lines, const char *wanted)
{
    autofree char *text = strlist_join(lines, "; ");
    ck_assert_msg(strcmp(text, wanted) == 0, "%s: '%s', not '%s'", what, text, wanted);
}

/* Of the properties that the hosts' QEMUs have: off as wanted; kept are the other usual ones. */
static void check_class(size_t row, const struct device_class_baseline *class,
                        const struct device_offer *offers, size_t count)
{
    autostrlist struct strlist off = {0}, open = {0};
    ck_assert(strlist_split(&off, rows[row].off, ' ') &&
              strlist_split(&open, rows[row].not_kept, ' '));
    for (size_t i = 0; i < off.count; i++)
        ck_assert_msg(strlist_contains(&class->off, off.items[i]), "%s: %s is not off",
                      rows[row].what, off.items[i]);
    for (size_t h = 0; h < count; h++) {
        const struct class_offer *net = device_offer_find_class(&offers[h], "virtio-net");
        for (size_t i = 0; net && i < net->properties.count; i++) {
            const char *name = net->properties.items[i];
            bool is_off = strlist_contains(&class->off, name);
            bool kept = strlist_contains(&class->kept, name);
            ck_assert_msg(is_off == strlist_contains(&off, name), "%s: %s is %soff", rows[row].what,
                          name, is_off ? "" : "not ");
            ck_assert_msg(!(is_off && kept), "%s: %s", rows[row].what, name);
            ck_assert_msg(is_off || kept || !device_find_property("virtio-net", name)->usual ||
                              strlist_contains(&open, name),
                          "%s: %s is not kept", rows[row].what, name);
            ck_assert_msg(!kept || !strlist_contains(&open, name), "%s: %s is kept", rows[row].what,
                          name);
        }
    }
}

START_TEST(rules)
{
    for (size_t row = 0; row < COUNT(rows); row++) {
        struct device_offer offers[4] = {0};
        struct device_host hosts[4];
        size_t count = 0;
        autostrlist struct strlist uses = {0};
        ck_assert(strlist_split(&uses, rows[row].uses, ' '));
        for (; count < 4 && rows[row].hosts[count]; count++)
            hosts[count] = fixture_host(rows[row].hosts[count], &offers[count]);
        autofree char *first = NULL;
        for (size_t turn = 0; turn < 2 * count; turn++) {
            autodevicebaseline struct device_baseline baseline = {0};
            autodevicereport struct device_report report = {0};
            autostrlist struct strlist losses = {0}, unknown = {0};
            MUST(device_baseline_compute(hosts, count, &uses, &baseline, &report, &err));
            const struct device_class_baseline *net = net_of(&baseline);
            ck_assert_ptr_nonnull(net);
            check_class(row, net, offers, count);
            MUST(device_report_losses(&report, &losses, &err));
            MUST(device_report_unknown(&report, &unknown, &err));
            check_lines(rows[row].what, &losses, rows[row].losses);
            check_lines(rows[row].what, &unknown, rows[row].unknown);
            ck_assert_uint_eq(baseline.backend_count, uses.count);
            /* what each host sees of it fits it, and it does not miss anything */
            for (size_t i = 0; i < count; i++) {
                autodevicereport struct device_report gaps = {0};
                MUST(device_baseline_check(&baseline, &hosts[i], &uses, &err));
                MUST(device_baseline_gaps(&baseline, &hosts[i], &uses, &gaps, &err));
                ck_assert_msg(gaps.loss_count == 0, "%s: gaps", rows[row].what);
            }
            autojson json_t *json = device_baseline_to_json(&baseline);
            autofree char *text = json_to_text(json);
            ck_assert(text && (!first || strcmp(first, text) == 0));
            if (!first)
                first = strdup(text);
            /* another order: turned, and once the other way round */
            struct device_host moved = hosts[0];
            memmove(&hosts[0], &hosts[1], (count - 1) * sizeof(hosts[0]));
            hosts[count - 1] = moved;
            if (turn == count && count > 1) {
                moved = hosts[0];
                hosts[0] = hosts[1];
                hosts[1] = moved;
            }
        }
        for (size_t i = 0; i < count; i++)
            device_offer_free(&offers[i]);
    }
}
END_TEST

START_TEST(unequal)
{
    static const struct {
        const char *uses;
        const char *hosts[3];
        const char *words; /* of the refusal, or NULL */
    } cases[] = {
        {"tun",
         {"a tun:ufo,vnet-hdr", "b tun:vnet-hdr"},
         "a's kernel has ufo of tap devices and b's has not"},
        {"tun",
         {"a tun:vnet-hdr", "b tun:", "c tun:vnet-hdr"},
         "a's kernel has vnet-hdr of tap devices and b's has not"},
        {"tun",
         {"a tun:vnet-hdr", "b tun?denied", "c tun:ufo,vnet-hdr"},
         "QEMU lets no guest go from c to a; vnet_hdr=off"},
        {"tun", {"a tun:ufo,vnet-hdr,uso", "b tun:ufo,vnet-hdr"}, NULL},
        {"tun", {"a tun:ufo", "b tun?denied", "c tun!"}, NULL},
        {"vhost-net", {"a tun:ufo vhost-net:event-idx", "b tun: vhost-net:"}, NULL},
        {"", {"a tun:ufo", "b tun:"}, NULL},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        autostrlist struct strlist uses = {0};
        struct device_offer offers[3] = {0};
        struct device_host hosts[3];
        size_t count = 0;
        ck_assert(strlist_split(&uses, cases[i].uses, ' '));
        for (; count < 3 && cases[i].hosts[count]; count++)
            hosts[count] = fixture_host(cases[i].hosts[count], &offers[count]);
        if (cases[i].words)
            MUST_FAIL(STATUS_INCOMPATIBLE, cases[i].words,
                      device_baseline_equal(hosts, count, &uses, &err));
        else
            MUST(device_baseline_equal(hosts, count, &uses, &err));
        for (size_t h = 0; h < count; h++)
            device_offer_free(&offers[h]);
    }
}
END_TEST

/* A random host, of the table's names. */
static unsigned state;
static unsigned any(unsigned below)
{
    state = state * 1103515245 + 12345;
    return (state >> 16) % below;
}

static void any_host(struct device_offer *offer)
{
    size_t count;
    const struct backend_info *backends = backend_table(&count);
    offer->table = BACKEND_TABLE_VERSION;
    for (size_t i = 0; i < count; i++) {
        size_t features;
        const struct backend_feature *feature = backend_features(&features);
        enum backend_state known = (enum backend_state)any(3);
        if (any(5) == 0)
            continue;
        struct backend_offer *made = device_offer_add_backend(
            offer, backends[i].name, known, known == BACKEND_UNKNOWN ? "why" : NULL);
        ck_assert_ptr_nonnull(made);
        for (size_t k = 0; known == BACKEND_KNOWN && k < features; k++)
            if (strcmp(feature[k].backend, made->name) == 0 && any(8) > 0)
                ck_assert(strlist_push(&made->features, feature[k].name));
        strlist_sort(&made->features);
    }
    const struct device_property *properties = device_properties(&count);
    struct class_offer *class = NULL;
    for (size_t i = 0; i < count; i++) {
        if (i == 0 || strcmp(properties[i].class, properties[i - 1].class) != 0)
            class = any(5) == 0 ? NULL : device_offer_add_class(offer, properties[i].class);
        if (class && any(8) > 0)
            ck_assert(strlist_push(&class->properties, properties[i].name));
        if (class && any(16) == 0) {
            offer->compat_known = true;
            ck_assert(device_offer_add_compat(offer, "virtio-device", properties[i].name, "off"));
        }
    }
}

/* Whatever the hosts: the same in any order; read back the same; nothing is off and kept; each host
 * can agree to it; and one more host only takes away. */
START_TEST(any_hosts)
{
    static const char *const some_uses[] = {
        "", "tun", "tun,vhost-net", "vhost-vdpa,vhost-vsock",
        "tun,vhost-net,vhost-scsi,vhost-user,vhost-vdpa,vhost-vsock"};
    state = 20241;
    for (int round = 0; round < 400; round++) {
        struct device_offer offers[4] = {0};
        struct device_host hosts[4];
        size_t count = 1 + any(4);
        autostrlist struct strlist uses = {0};
        autodevicebaseline struct device_baseline baseline = {0}, other = {0}, fewer = {0},
                                                  again = {0};
        ck_assert(strlist_split(&uses, some_uses[any(5)], ','));
        for (size_t i = 0; i < count; i++) {
            static const char *const names[] = {"a", "b", "c", "d"};
            any_host(&offers[i]);
            hosts[i] = (struct device_host){names[i], &offers[i]};
        }
        MUST(device_baseline_compute(hosts, count, &uses, &baseline, NULL, &err));
        MUST(device_baseline_compute(hosts, count - 1, &uses, &fewer, NULL, &err));
        for (size_t i = 0; i < count; i++)
            MUST(device_baseline_check(&baseline, &hosts[i], &uses, &err));
        for (size_t i = 0; i < fewer.class_count; i++)
            for (size_t k = 0; k < fewer.classes[i].off.count; k++)
                ck_assert(device_baseline_is_off(&baseline, fewer.classes[i].name,
                                                 fewer.classes[i].off.items[k]));
        for (size_t i = 0; i < baseline.class_count; i++)
            for (size_t k = 0; k < baseline.classes[i].off.count; k++)
                ck_assert(
                    !strlist_contains(&baseline.classes[i].kept, baseline.classes[i].off.items[k]));
        for (size_t i = 0; i < count; i++) {
            size_t with = any((unsigned)count);
            struct device_host moved = hosts[i];
            hosts[i] = hosts[with];
            hosts[with] = moved;
        }
        MUST(device_baseline_compute(hosts, count, &uses, &other, NULL, &err));
        autojson json_t *one = device_baseline_to_json(&baseline),
                        *two = device_baseline_to_json(&other);
        ck_assert(json_equal(one, two));
        MUST(device_baseline_copy(&baseline, &again, &err));
        autojson json_t *three = device_baseline_to_json(&again);
        autofree char *text = json_to_text(one), *same = json_to_text(three);
        ck_assert_str_eq(text, same);
        for (size_t i = 0; i < count; i++)
            device_offer_free(&offers[i]);
    }
}
END_TEST

/* A later host, by what its own command line uses. */
START_TEST(later_host)
{
    static const struct {
        const char *host, *uses, *losses, *unknown;
    } later[] = {
        {"c tun:uso,header-12,vnet-hdr net:host_uso,mrg_rxbuf,queue_reset", "tun", "", ""},
        {"c tun:header-12,vnet-hdr net:host_uso,mrg_rxbuf,queue_reset", "tun",
         "host_uso of virtio-net: c's kernel lacks uso of tap devices", ""},
        {"c tun:header-12,vnet-hdr net:host_uso,mrg_rxbuf,queue_reset", "", "",
         ""}, /* it uses none */
        {"c tun?denied net:host_uso,mrg_rxbuf,queue_reset", "tun", "", "tap devices of c: denied"},
        {"c tun! net:host_uso,mrg_rxbuf,queue_reset", "tun", "", ""},
        {"c tun:uso,header-12,vnet-hdr net:mrg_rxbuf,queue_reset", "tun",
         "host_uso of virtio-net: c's QEMU does not know it", ""},
        {"c tun:uso,header-12,vnet-hdr net:host_uso,mrg_rxbuf,queue_reset "
         "compat:virtio-net-pci.host_uso=off",
         "tun", "host_uso of virtio-net: c's QEMU switches it off for this machine type", ""},
        /* one that the first hosts did not use */
        {"c tun:uso,header-12,vnet-hdr vhost-net:mrg-rxbuf net:host_uso,mrg_rxbuf,queue_reset",
         "tun vhost-net", "queue_reset of virtio-net: c's kernel lacks ring-reset of vhost-net",
         ""},
        {"c", "tun", "", "tap devices of c: the host's profile does not tell"},
    };
    struct device_offer offers[2] = {0};
    struct device_host hosts[] = {
        fixture_host("a tun:uso,header-12,vnet-hdr net:host_uso,mrg_rxbuf,queue_reset", &offers[0]),
        fixture_host("b tun:uso,header-12,vnet-hdr net:host_uso,mrg_rxbuf,queue_reset",
                     &offers[1])};
    autodevicebaseline struct device_baseline baseline = {0}, nothing = {0};
    autostrlist struct strlist tun = {0};
    ck_assert(strlist_push(&tun, "tun"));
    MUST(device_baseline_compute(hosts, 2, &tun, &baseline, NULL, &err));
    for (size_t i = 0; i < COUNT(later); i++) {
        autodeviceoffer struct device_offer offer = {0};
        struct device_host host = fixture_host(later[i].host, &offer);
        autodevicereport struct device_report gaps = {0};
        autostrlist struct strlist uses = {0}, losses = {0}, unknown = {0};
        ck_assert(strlist_split(&uses, later[i].uses, ' '));
        MUST(device_baseline_gaps(&baseline, &host, &uses, &gaps, &err));
        MUST(device_report_losses(&gaps, &losses, &err));
        MUST(device_report_unknown(&gaps, &unknown, &err));
        check_lines(later[i].host, &losses, later[i].losses);
        check_lines(later[i].host, &unknown, later[i].unknown);
        /* of an agreement that says nothing, nothing is missing */
        MUST(device_baseline_gaps(&nothing, &host, &uses, &gaps, &err));
        ck_assert_uint_eq(gaps.loss_count, 0);
    }
    device_offer_free(&offers[0]);
    device_offer_free(&offers[1]);
}
END_TEST

/* What a group's initiator must not say. */
START_TEST(foreign_baseline)
{
    static const struct {
        const char *host, *uses, *json, *words;
    } foreign[] = {
        {"b tun:uso,vnet-hdr net:host_uso", "tun", "{\"tun\":{\"unknown\":false}}|{}", NULL},
        {"b tun:uso,vnet-hdr net:host_uso", "tun", "{}|{}", "b uses tun"},
        {"b tun:uso,vnet-hdr net:host_uso", "tun", "{\"tun\":{\"unknown\":true}}|{}", NULL},
        {"b tun?why net:host_uso", "tun", "{\"tun\":{\"unknown\":false}}|{}", "b does not know it"},
        {"b tun:vnet-hdr net:host_uso", "tun", "{\"tun\":{\"unknown\":false}}|{}",
         "host_uso of virtio-net is not switched off, and b cannot"},
        {"b tun:vnet-hdr net:host_uso", "",
         "{\"tun\":{\"unknown\":false}}|{\"virtio-net\":{\"off\":ALL_BUT,\"kept\":[\"host_uso\"]}}",
         "host_uso of virtio-net is not switched off"},
        {"b tun:vnet-hdr net:host_uso", "",
         "{}|{\"virtio-net\":{\"off\":[],\"kept\":[\"mrg_rxbuf\"]}}", "is not switched off"},
        {"b net:host_uso compat:virtio-net-pci.host_uso=off", "",
         "{}|{\"virtio-net\":{\"off\":ALL_BUT,\"kept\":[\"host_uso\"]}}",
         "host_uso of virtio-net is kept, and b cannot"},
    };
    for (size_t i = 0; i < COUNT(foreign); i++) {
        autodeviceoffer struct device_offer offer = {0};
        struct device_host host = fixture_host(foreign[i].host, &offer);
        autodevicebaseline struct device_baseline baseline = {0}, own = {0};
        autostrlist struct strlist uses = {0}, none = {0};
        ck_assert(strlist_split(&uses, foreign[i].uses, ' '));
        /* what all QEMUs here lack, the others are off */
        MUST(device_baseline_compute(&host, 1, &none, &own, NULL, &err));
        autojson json_t *off = json_from_names(&own.classes[0].off);
        autofree char *all = json_to_text(off);
        const char *bar = strchr(foreign[i].json, '|');
        const char *place = strstr(bar, "ALL_BUT");
        autofree char *text =
            place ? string_format("{\"table\":1,\"backends\":%.*s,\"classes\":%.*s%s%s}",
                                  (int)(bar - foreign[i].json), foreign[i].json,
                                  (int)(place - bar - 1), bar + 1, all, place + 7)
            : strcmp(bar, "|{}") == 0
                ? string_format("{\"table\":1,\"backends\":%.*s,\"classes\":{\"virtio-net\":{"
                                "\"off\":%s,\"kept\":[]}}}",
                                (int)(bar - foreign[i].json), foreign[i].json, all)
                : string_format("{\"table\":1,\"backends\":%.*s,\"classes\":%s}",
                                (int)(bar - foreign[i].json), foreign[i].json, bar + 1);
        autojson json_t *json = NULL;
        MUST(json = json_parse_strict(text, strlen(text), 1 << 16, &err));
        MUST(device_baseline_from_json(json, &baseline, &err));
        if (foreign[i].words)
            MUST_FAIL(STATUS_INCOMPATIBLE, foreign[i].words,
                      device_baseline_check(&baseline, &host, &uses, &err));
        else
            MUST(device_baseline_check(&baseline, &host, &uses, &err));
    }
}
END_TEST

START_TEST(bad_baselines)
{
    static const struct {
        const char *text, *words;
    } bad[] = {
        {"{\"table\":1,\"backends\":{},\"classes\":{}}", NULL},
        {"{\"table\":3,\"backends\":{},\"classes\":{}}", "newer version"},
        {"{\"table\":0,\"backends\":{},\"classes\":{}}", "not valid"},
        {"{\"table\":1,\"backends\":[],\"classes\":{}}", "not valid"},
        {"{\"table\":1,\"backends\":{},\"classes\":[]}", "not valid"},
        {"{\"table\":1,\"backends\":{}}", "classes"},
        {"{\"table\":1,\"backends\":{},\"classes\":{},\"x\":1}", "unknown member: x"},
        {"{\"table\":1,\"backends\":{\"tap\":{\"unknown\":false}},\"classes\":{}}", "'tap'"},
        {"{\"table\":1,\"backends\":{\"tun\":{}},\"classes\":{}}", "unknown"},
        {"{\"table\":1,\"backends\":{\"tun\":{\"unknown\":0}},\"classes\":{}}", "tun"},
        {"{\"table\":1,\"backends\":{},\"classes\":{\"e1000\":{\"off\":[],\"kept\":[]}}}", "e1000"},
        {"{\"table\":1,\"backends\":{},\"classes\":{\"virtio-net\":{\"off\":[]}}}", "kept"},
        {"{\"table\":1,\"backends\":{},\"classes\":{\"virtio-net\":{\"off\":[\"seqpacket\"],"
         "\"kept\":[]}}}",
         "seqpacket"},
        {"{\"table\":1,\"backends\":{},\"classes\":{\"virtio-net\":{\"off\":[\"csum,mac=1\"],"
         "\"kept\":[]}}}",
         "not a valid name"},
        {"{\"table\":1,\"backends\":{},\"classes\":{\"virtio-net\":{\"off\":[\"csum\",\"csum\"],"
         "\"kept\":[]}}}",
         "twice"},
        {"{\"table\":1,\"backends\":{},\"classes\":{\"virtio-net\":{\"off\":[\"csum\"],"
         "\"kept\":[\"csum\"]}}}",
         "off and kept"},
    };
    for (size_t i = 0; i < COUNT(bad); i++) {
        autodevicebaseline struct device_baseline baseline = {0};
        autojson json_t *json = NULL;
        MUST(json = json_parse_strict(bad[i].text, strlen(bad[i].text), 1 << 16, &err));
        if (bad[i].words)
            MUST_FAIL(STATUS_DATA, bad[i].words, device_baseline_from_json(json, &baseline, &err));
        else
            MUST(device_baseline_from_json(json, &baseline, &err));
        ck_assert_uint_eq(baseline.class_count + baseline.backend_count, 0);
    }
    autodevicebaseline struct device_baseline baseline = {0};
    autostrlist struct strlist uses = {0};
    ck_assert(strlist_push(&uses, "tap"));
    MUST_FAIL(STATUS_DATA, "'tap'", device_baseline_compute(NULL, 0, &uses, &baseline, NULL, &err));
}
END_TEST

START_TEST(capabilities)
{
    struct device_offer offers[3] = {0};
    struct device_host hosts[] = {{"b", &offers[0]}, {"a", &offers[1]}, {"c", &offers[2]}};
    autofree char *line = NULL;
    MUST(device_capabilities_line(hosts, 3, &line, &err));
    ck_assert_ptr_null(line);
    offers[0].capabilities_known = offers[1].capabilities_known = true;
    ck_assert(strlist_split(&offers[0].capabilities, "multifd switchover-ack tls xbzrle", ' '));
    ck_assert(strlist_split(&offers[1].capabilities, "multifd tls xbzrle", ' '));
    MUST(device_capabilities_line(hosts, 3, &line, &err));
    ck_assert_str_eq(line, "multifd, tls; not switchover-ack (a)");
    autojson json_t *json = device_capabilities_to_json(hosts, 3);
    autofree char *text = json_to_text(json);
    ck_assert_str_eq(text, "{\"all\":[\"multifd\",\"tls\",\"xbzrle\"],\"missing\":[{\"capability\":"
                           "\"switchover-ack\",\"missing_on\":[\"a\"]}],\"unknown\":[\"c\"]}");
    for (size_t i = 0; i < 3; i++)
        device_offer_free(&offers[i]);
}
END_TEST

START_TEST(report_as_json)
{
    struct device_offer offers[2] = {0};
    struct device_host hosts[] = {
        fixture_host("a tun:uso,vnet-hdr net:host_uso,queue_reset vhost-net?denied", &offers[0]),
        fixture_host("b tun:vnet-hdr net:queue_reset,host_uso vhost-net:ring-reset", &offers[1])};
    autodevicebaseline struct device_baseline baseline = {0};
    autodevicereport struct device_report report = {0};
    autostrlist struct strlist uses = {0};
    ck_assert(strlist_split(&uses, "tun vhost-net", ' '));
    MUST(device_baseline_compute(hosts, 2, &uses, &baseline, &report, &err));
    autojson json_t *json = device_report_to_json(&report);
    autofree char *text = json_to_text(json);
    ck_assert_str_eq(text,
                     "{\"dropped\":[{\"class\":\"virtio-net\",\"missing_on\":[{\"host\":\"b\","
                     "\"why\":\"kernel\"}],\"property\":\"host_uso\"}],\"unknown\":[{\"backend\":"
                     "\"vhost-net\",\"host\":\"a\",\"why\":\"denied\"}]}");
    device_offer_free(&offers[0]);
    device_offer_free(&offers[1]);
}
END_TEST

int main(void)
{
    const TTest *tests[] = {rules,        unequal,          any_hosts,
                            later_host,   foreign_baseline, bad_baselines,
                            capabilities, report_as_json};
    return unit_run("device-baseline", tests, COUNT(tests));
}
