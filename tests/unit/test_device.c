/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Devices: the table of backends, what a host offers and its JSON.
 */
#include "device/backend_table.h"
#include "device/device_offer.h"
#include "unit.h"

/* Every name that one list uses stands in the list that it is from, once. */
START_TEST(whole_table)
{
    size_t backends, features, drivers, properties, needs;
    const struct backend_info *backend = backend_table(&backends);
    const struct backend_feature *feature = backend_features(&features);
    const struct device_driver *driver = device_drivers(&drivers);
    const struct device_property *property = device_properties(&properties);
    const struct device_need *need = device_needs(&needs);
    for (size_t i = 0; i < backends; i++) {
        ck_assert(name_is_feature(backend[i].name) && backend[i].title[0]);
        ck_assert(i == 0 || strcmp(backend[i - 1].name, backend[i].name) < 0);
        ck_assert_ptr_eq(backend_find(backend[i].name), &backend[i]);
    }
    for (size_t i = 0; i < features; i++) {
        ck_assert_msg(backend_find(feature[i].backend) && name_is_feature(feature[i].name), "%s",
                      feature[i].name);
        ck_assert_ptr_eq(backend_find_feature(feature[i].backend, feature[i].name), &feature[i]);
        ck_assert((feature[i].how == PROBE_VIRTIO_BIT) == (strcmp(feature[i].backend, "tun") != 0));
        for (size_t j = 0; j < i; j++)
            ck_assert_msg(strcmp(feature[i].backend, feature[j].backend) != 0 ||
                              feature[i].how != feature[j].how ||
                              feature[i].value != feature[j].value,
                          "%s and %s are the same", feature[i].name, feature[j].name);
    }
    for (size_t i = 0; i < drivers; i++) {
        ck_assert(device_class_is_known(driver[i].class));
        ck_assert_str_eq(device_class_of(driver[i].driver), driver[i].class);
    }
    for (size_t i = 0; i < properties; i++) {
        bool needed = false;
        for (size_t j = 0; j < needs; j++)
            needed = needed || (strcmp(need[j].class, property[i].class) == 0 &&
                                strcmp(need[j].property, property[i].name) == 0);
        ck_assert_msg(needed && name_is_feature(property[i].name), "%s", property[i].name);
        ck_assert(device_class_is_known(property[i].class));
        ck_assert_ptr_eq(device_find_property(property[i].class, property[i].name), &property[i]);
        if (i > 0 && strcmp(property[i - 1].class, property[i].class) == 0)
            ck_assert(strcmp(property[i - 1].name, property[i].name) < 0);
    }
    for (size_t i = 0; i < needs; i++) {
        ck_assert_msg(device_find_property(need[i].class, need[i].property) &&
                          backend_find_feature(need[i].backend, need[i].feature),
                      "%s needs %s", need[i].property, need[i].feature);
        for (size_t j = 0; j < i; j++)
            ck_assert_msg(strcmp(need[i].class, need[j].class) != 0 ||
                              strcmp(need[i].property, need[j].property) != 0 ||
                              strcmp(need[i].backend, need[j].backend) != 0 ||
                              strcmp(need[i].feature, need[j].feature) != 0,
                          "%s needs %s twice", need[i].property, need[i].feature);
    }
    ck_assert_ptr_null(backend_find("vhost"));
    ck_assert_ptr_null(device_class_of("e1000"));
    ck_assert(!device_class_is_known("virtio-net-pci"));
    ck_assert_ptr_null(device_find_property("vhost-vsock", "host_uso"));
}
END_TEST

static json_t *json_of(const char *text)
{
    struct error err = ERROR_INIT;
    json_t *json = json_parse_strict(text, strlen(text), 1 << 20, &err);
    ck_assert_msg(json != NULL, "%s: %s", text, err.message);
    return json;
}

static const char whole[] =
    "{\"table\":2,\"backends\":{\"tun\":{\"state\":\"known\",\"features\":[\"uso\",\"vnet-hdr\"]},"
    "\"vhost-net\":{\"state\":\"unknown\",\"why\":\"permission denied\"},"
    "\"vhost-vsock\":{\"state\":\"absent\"}},"
    "\"classes\":{\"virtio-net\":[\"host_uso\",\"mrg_rxbuf\"],\"vhost-vsock\":[]},"
    "\"compat\":[[\"virtio-net-pci\",\"host_uso\",\"off\"],[\"virtio-device\",\"queue_reset\","
    "\"false\"],[\"virtio-net-device\",\"guest_ufo\",\"off\"],[\"virtio-net-pci\",\"guest_ufo\","
    "\"on\"],[\"nvme\",\"x y\",\"\"]],"
    "\"capabilities\":[\"multifd\",\"tls\"]}";

START_TEST(offer_and_json)
{
    autodeviceoffer struct device_offer offer = {0}, again = {0};
    autofree char *text = strdup(whole), *changed = NULL;
    memcpy(strstr(text, "x y"), "x-y", 3);
    autojson json_t *json = json_of(text);
    MUST(device_offer_from_json(json, &offer, &err));
    ck_assert_uint_eq(offer.table, 2);
    ck_assert_uint_eq(offer.backend_count, 3);
    ck_assert_int_eq(device_offer_find_backend(&offer, "tun")->state, BACKEND_KNOWN);
    ck_assert(strlist_contains(&device_offer_find_backend(&offer, "tun")->features, "uso"));
    ck_assert_int_eq(device_offer_find_backend(&offer, "vhost-net")->state, BACKEND_UNKNOWN);
    ck_assert_str_eq(device_offer_find_backend(&offer, "vhost-net")->why, "permission denied");
    ck_assert_int_eq(device_offer_find_backend(&offer, "vhost-vsock")->state, BACKEND_ABSENT);
    ck_assert_ptr_null(device_offer_find_backend(&offer, "vhost-scsi"));
    ck_assert_ptr_null(device_offer_find_class(&offer, "vhost-scsi"));
    ck_assert_uint_eq(device_offer_find_class(&offer, "vhost-vsock")->properties.count, 0);
    ck_assert(offer.compat_known && offer.capabilities_known);
    ck_assert(device_offer_compat_off(&offer, "virtio-net", "host_uso"));
    ck_assert(device_offer_compat_off(&offer, "vhost-vsock", "queue_reset"));
    ck_assert(!device_offer_compat_off(&offer, "virtio-net", "guest_ufo")); /* the later one */
    ck_assert(!device_offer_compat_off(&offer, "vhost-vsock", "host_uso"));
    autojson json_t *made = device_offer_to_json(&offer);
    ck_assert(json_equal(made, json));
    MUST(device_offer_from_json(made, &again, &err));
    changed = json_to_text(made);
    ck_assert_ptr_nonnull(changed);

    /* Nothing known, and of another table only its number. */
    autojson json_t *nothing =
        json_of("{\"table\":2,\"backends\":{},\"classes\":{},\"compat\":null,"
                "\"capabilities\":null}");
    MUST(device_offer_from_json(nothing, &again, &err));
    ck_assert(!again.compat_known && !again.capabilities_known && again.backend_count == 0);
    autojson json_t *same = device_offer_to_json(&again);
    ck_assert(json_equal(same, nothing));
    autojson json_t *newer = json_of("{\"table\":3,\"never\":\"heard of\"}");
    MUST(device_offer_from_json(newer, &again, &err));
    ck_assert_uint_eq(again.table, 3);
}
END_TEST

/* Each of these, in place of what stands there, is refused, and the offer stays as it was. */
START_TEST(bad_offers)
{
    static const struct {
        const char *old, *new, *words;
    } rows[] = {
        {"\"table\":2", "\"table\":0", "table"},
        {"\"table\":2", "\"table\":-1", "table"},
        {"\"table\":2", "\"table\":\"1\"", "table"},
        {"\"table\":2,", "", "table"},
        {"\"table\":2,", "\"table\":2,\"more\":1,", "more"},
        {"\"tun\"", "\"tap\"", "tap"},
        {"\"known\"", "\"unknown\"", "state"},
        {"\"known\"", "\"perhaps\"", "state"},
        {"\"absent\"", "\"known\"", "state"},
        {"\"absent\"", "\"absent\",\"why\":\"no\"", "state"},
        {"{\"state\":\"absent\"}", "\"absent\"", "vhost-vsock"},
        {"\"why\":\"permission denied\"", "\"why\":1", "vhost-net"},
        {"\"uso\"", "\"ring-reset\"", "ring-reset"}, /* of another backend */
        {"\"uso\"", "\"vnet-hdr\"", "twice"},
        {"\"uso\"", "1", "not a string"},
        {"\"virtio-net\":", "\"virtio-net-pci\":", "virtio-net-pci"},
        {"\"mrg_rxbuf\"", "\"seqpacket\"", "seqpacket"},
        {"\"mrg_rxbuf\"", "\"host_uso\"", "twice"},
        {"\"vhost-vsock\":[]", "\"vhost-vsock\":{}", "not an array"},
        {"\"x-y\"", "\"x y\"", "not a property"},
        {"\"x-y\"", "\"\"", "not a property"},
        {"[\"nvme\",\"x-y\",\"\"]", "[\"nvme\",\"x-y\"]", "properties"},
        {"[\"nvme\",\"x-y\",\"\"]", "[\"nvme\",\"x-y\",\"\",\"\"]", "properties"},
        {"[\"nvme\",\"x-y\",\"\"]", "1", "properties"},
        {"\"tls\"", "\"TLS\"", "TLS"},
        {"\"tls\"", "\"multifd\"", "twice"},
        {"[\"multifd\",\"tls\"]", "{}", "not an array"},
        {",\"capabilities\":[\"multifd\",\"tls\"]", "", "capabilities"},
        {"{\"virtio-net\":[\"host_uso\",\"mrg_rxbuf\"],\"vhost-vsock\":[]}", "null", "not valid"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        autofree char *good = strdup(whole);
        autodeviceoffer struct device_offer offer = {.table = 77};
        struct error err = ERROR_INIT;
        memcpy(strstr(good, "x y"), "x-y", 3);
        const char *place = strstr(good, rows[i].old);
        ck_assert_msg(place != NULL, "%s", rows[i].old);
        autofree char *bad = string_format("%.*s%s%s", (int)(place - good), good, rows[i].new,
                                           place + strlen(rows[i].old));
        autojson json_t *json = json_parse_strict(bad, strlen(bad), 1 << 20, &err);
        ck_assert_msg(json != NULL, "%s: %s", bad, err.message);
        ck_assert_msg(!device_offer_from_json(json, &offer, &err), "taken: %s", bad);
        check_error(&err, STATUS_DATA, rows[i].words, bad);
        ck_assert_uint_eq(offer.table, 77);
    }
}
END_TEST

START_TEST(too_much)
{
    autodeviceoffer struct device_offer offer = {.table = BACKEND_TABLE_VERSION}, read = {0};
    offer.compat_known = offer.capabilities_known = true;
    for (int i = 0; i < COMPAT_ENTRIES_MAX; i++)
        ck_assert(device_offer_add_compat(&offer, "nvme", "p", "1"));
    for (int i = 0; i < CAPABILITIES_MAX; i++)
        ck_assert(strlist_pushf(&offer.capabilities, "c%03d", i));
    autojson json_t *most = device_offer_to_json(&offer);
    MUST(device_offer_from_json(most, &read, &err));
    ck_assert(device_offer_add_compat(&offer, "nvme", "p", "1"));
    autojson json_t *more = device_offer_to_json(&offer);
    MUST_FAIL(STATUS_DATA, "at most 2048", device_offer_from_json(more, &read, &err));
    ck_assert(strlist_push(&offer.capabilities, "more"));
    json_object_set_new(most, "capabilities", json_from_names(&offer.capabilities));
    MUST_FAIL(STATUS_DATA, "not valid", device_offer_from_json(most, &read, &err));
    ck_assert(compat_entry_fits("virtio-net-pci", "host_uso", "off"));
    ck_assert(compat_entry_fits("Haswell-x86_64-cpu", "model-id", "Intel (R) of \"old\""));
    ck_assert(!compat_entry_fits("", "p", "1") && !compat_entry_fits("a b", "p", "1"));
    ck_assert(!compat_entry_fits("a", "\x7f", "1") && !compat_entry_fits("a", "p", "\n"));
}
END_TEST

int main(void)
{
    const TTest *tests[] = {whole_table, offer_and_json, bad_offers, too_much};
    return unit_run("device", tests, COUNT(tests));
}
