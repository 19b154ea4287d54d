/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Mutations of JSON that stay JSON, for the targets that read it: else nearly every input ends in
 * the parser. One time in four the bytes are changed as libFuzzer would.
 */
#include "cpu/feature_table.h"
#include "fuzz.h"

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);

#define SLOTS_MAX 65536

/* Where a value stands. */
struct slot {
    json_t *parent;
    const char *key; /* NULL in an array */
    size_t index;
};

struct slots {
    struct slot *items;
    size_t count;
};

static size_t pick(unsigned *state, size_t below)
{
    *state = *state * 1103515245U + 12345U;
    return below > 0 ? (*state >> 8) % below : 0;
}

static void collect(json_t *value, struct slots *slots)
{
    const char *key;
    json_t *member;
    size_t i;
    if (json_is_object(value))
        json_object_foreach(value, key, member)
        {
            if (slots->count < SLOTS_MAX)
                slots->items[slots->count++] = (struct slot){value, key, 0};
            collect(member, slots);
        }
    else
        json_array_foreach(value, i, member)
        {
            if (slots->count < SLOTS_MAX)
                slots->items[slots->count++] = (struct slot){value, NULL, i};
            collect(member, slots);
        }
}

static json_t *get(const struct slot *slot)
{
    return slot->key ? json_object_get(slot->parent, slot->key)
                     : json_array_get(slot->parent, slot->index);
}

static const char *some_feature(unsigned *state)
{
    size_t count;
    const struct feature *table = feature_table(&count);
    static const char *const odd[] = {"",    "a,b", "SMAP", "new-feature", "host",
                                      "kvm", "tcg", "q35",  "-x",          "0"};
    size_t number = pick(state, count + sizeof(odd) / sizeof(odd[0]));
    return number < count ? table[number].name : odd[number - count];
}

static json_t *some_value(unsigned *state)
{
    static const json_int_t numbers[] = {
        0, 1, -1, 15, 16, 64, 65, 255, 270, 271, INT32_MAX, UINT32_MAX, INT64_MAX, INT64_MIN};
    switch (pick(state, 8)) {
    case 0:
        return json_null();
    case 1:
        return json_object();
    case 2:
        return json_array();
    case 3:
        return json_boolean(pick(state, 2));
    case 4:
    case 5:
        return json_integer(numbers[pick(state, sizeof(numbers) / sizeof(numbers[0]))]);
    default:
        return json_string(some_feature(state));
    }
}

static json_t *mutated_string(const json_t *value, unsigned *state)
{
    uint8_t text[128] = {0};
    size_t length = json_string_length(value);
    if (length > 80)
        length = 80;
    memcpy(text, json_string_value(value), length);
    length = LLVMFuzzerMutate(text, length, sizeof(text));
    json_t *made = json_stringn((const char *)text, length);
    return made ? made : json_string(some_feature(state));
}

static void put(const struct slot *slot, json_t *value)
{
    if (slot->key)
        json_object_set_new(slot->parent, slot->key, value);
    else
        json_array_set_new(slot->parent, slot->index, value);
}

static void mutate(const struct slots *slots, unsigned *state)
{
    const struct slot *slot = &slots->items[pick(state, slots->count)];
    json_t *value = get(slot);
    switch (pick(state, 6)) {
    case 0:
        if (slot->key)
            json_object_del(slot->parent, slot->key);
        else
            json_array_remove(slot->parent, slot->index);
        break;
    case 1:
        if (slot->key)
            json_object_set_new(slot->parent, some_feature(state), json_deep_copy(value));
        else
            json_array_insert_new(slot->parent, slot->index, json_string(some_feature(state)));
        break;
    case 2:
        put(slot, json_deep_copy(get(&slots->items[pick(state, slots->count)])));
        break;
    case 3:
        put(slot, json_is_string(value) ? mutated_string(value, state) : some_value(state));
        break;
    case 4:
        put(slot, json_is_boolean(value) ? json_boolean(!json_is_true(value)) : some_value(state));
        break;
    default:
        put(slot, some_value(state));
    }
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
    unsigned state = seed;
    autojson json_t *json =
        pick(&state, 4) ? json_loadb((const char *)data, size, JSON_ALLOW_NUL, NULL) : NULL;
    autofree struct slot *items = json ? calloc(SLOTS_MAX, sizeof(*items)) : NULL;
    if (!items)
        return LLVMFuzzerMutate(data, size, max_size);
    for (size_t changes = 1 + pick(&state, 3); changes > 0; changes--) {
        struct slots slots = {items, 0};
        collect(json, &slots);
        if (slots.count == 0)
            break;
        mutate(&slots, &state);
    }
    size_t length = json_dumpb(json, (char *)data, max_size, JSON_COMPACT);
    return length > 0 && length <= max_size ? length : LLVMFuzzerMutate(data, size, max_size);
}
