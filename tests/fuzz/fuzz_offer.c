/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The readers of what profiles and agreements consist of, each given one member of an object:
 * "set", "offer" (with its models), "identity", "knobs", "request", "baseline", "machines",
 * "devices". What is read and written again is the same.
 */
#include "cpu/baseline.h"
#include "cpu/machine.h"
#include "device/device_offer.h"
#include "fuzz.h"

/* A reader and a writer of struct TYPE, in a function that shows that they agree. */
#define ROUND_TRIP(name, type, clean, read, write)                                                 \
    static void check_##name(json_t *json)                                                         \
    {                                                                                              \
        struct type value = {0}, again = {0};                                                      \
        if (read(json, &value)) {                                                                  \
            autofree char *first = fuzz_written(write(&value));                                    \
            autojson json_t *wrapped = fuzz_reread_value(first);                                   \
            MUST(read(json_object_get(wrapped, "value"), &again));                                 \
            autofree char *second = fuzz_written(write(&again));                                   \
            MUST(strcmp(first, second) == 0);                                                      \
        }                                                                                          \
        clean(&value);                                                                             \
        clean(&again);                                                                             \
    }

/* Only objects are read strictly: the value in one. */
static json_t *fuzz_reread_value(const char *text)
{
    autofree char *wrapped = string_format("{\"value\":%s}", text);
    MUST(wrapped);
    return fuzz_reread(wrapped);
}

static bool read_set(json_t *json, struct featureset *set)
{
    return featureset_from_json(set, json, "set", NULL);
}

static bool read_identity(json_t *json, struct cpu_identity *identity)
{
    return cpu_identity_from_json(json, "identity", identity, NULL);
}

static void clean_identity(struct cpu_identity *identity)
{
}

static bool read_knobs(json_t *json, struct cpu_knobs *knobs)
{
    return cpu_knobs_from_json(json, "knobs", knob_is_kept, knobs, NULL);
}

static bool read_offer(json_t *json, struct cpu_offer *offer)
{
    return cpu_offer_from_json(json, offer, NULL);
}

static bool read_request(json_t *json, struct cpu_request *request)
{
    return cpu_request_from_json(json, request, NULL);
}

static bool read_baseline(json_t *json, struct baseline *baseline)
{
    return baseline_from_json(json, baseline, NULL);
}

static bool read_machines(json_t *json, struct machine_list *machines)
{
    return machine_list_from_json(json, machines, NULL);
}

static bool read_devices(json_t *json, struct device_offer *devices)
{
    return device_offer_from_json(json, devices, NULL);
}

ROUND_TRIP(devices, device_offer, device_offer_free, read_devices, device_offer_to_json)
ROUND_TRIP(set, featureset, featureset_free, read_set, featureset_to_json)
ROUND_TRIP(identity, cpu_identity, clean_identity, read_identity, cpu_identity_to_json)
ROUND_TRIP(knobs, cpu_knobs, cpu_knobs_free, read_knobs, cpu_knobs_to_json)
ROUND_TRIP(offer, cpu_offer, cpu_offer_free, read_offer, cpu_offer_to_json)
ROUND_TRIP(request, cpu_request, cpu_request_free, read_request, cpu_request_to_json)
ROUND_TRIP(baseline, baseline, baseline_free, read_baseline, baseline_to_json)
ROUND_TRIP(machines, machine_list, machine_list_free, read_machines, machine_list_to_json)

/* The choice of "machine", between "machines" and "machines2", is the same in either order. */
static void check_choice(json_t *json)
{
    automachinelist struct machine_list ours = {0}, theirs = {0};
    const char *machine = json_string_value(json_object_get(json, "machine"));
    if (!read_machines(json_object_get(json, "machines"), &ours) ||
        !read_machines(json_object_get(json, "machines2"), &theirs))
        return;
    struct machine_wish a = {"a", machine, &ours, "7.2.22", false};
    struct machine_wish b = {"b", machine, &theirs, "10.0.2", false};
    autofree char *one = machine_choose((struct machine_wish[]){a, b}, 2, NULL);
    autofree char *other = machine_choose((struct machine_wish[]){b, a}, 2, NULL);
    MUST(!one == !other && (!one || strcmp(one, other) == 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    autojson json_t *json = json_parse_strict((const char *)data, size, size, NULL);
    if (!json)
        return 0;
    check_set(json_object_get(json, "set"));
    check_identity(json_object_get(json, "identity"));
    check_knobs(json_object_get(json, "knobs"));
    check_offer(json_object_get(json, "offer"));
    check_request(json_object_get(json, "request"));
    check_baseline(json_object_get(json, "baseline"));
    check_devices(json_object_get(json, "devices"));
    check_machines(json_object_get(json, "machines"));
    check_choice(json);
    return 0;
}
