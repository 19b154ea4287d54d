/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What the built-in guest leaves in RAM, and the guest CPU table in JSON. What is read survives
 * JSON, does not differ from itself, and a changed bit is told. The first four bytes say what is
 * tried: JSON or a stream, the stream as it is or with a header and a checksum that are right, or
 * what a QEMU prints that does not want the CPU; and which bit is changed.
 */
#include "base/digest.h"
#include "fuzz.h"
#include "guest/compare.h"
#include "guest/explain.h"
#include "guest/features.h"
#include "guest/refusal.h"

#define HEADER 16
#define ROW 25
#define CHOICES 4

static void put_u32(uint8_t *at, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        at[i] = (uint8_t)(value >> 8 * i);
}

/* So that the reader sees the rows: magic, version, count, length and checksum of what is there. */
static void seal(uint8_t *stream, size_t size)
{
    uint32_t rows = (uint32_t)(size - HEADER - 4) / ROW, length = HEADER + rows * ROW + 4;
    uint32_t crc = 0xffffffff;
    memcpy(stream, "QMLG\1\0\0\0", 8);
    put_u32(stream + 8, rows);
    put_u32(stream + 12, length);
    for (uint32_t i = 0; i < length - 4; i++) {
        crc ^= stream[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 1 ? crc >> 1 ^ 0xedb88320 : crc >> 1;
    }
    put_u32(stream + length - 4, ~crc);
}

static bool read_stream(const uint8_t *data, size_t size, bool sealed, struct guest_table *table)
{
    struct error err = ERROR_INIT;
    autofree uint8_t *stream = malloc(size + 1);
    MUST(stream);
    memcpy(stream, data, size);
    if (sealed && size >= HEADER + 4)
        seal(stream, size);
    bool good = guest_table_read(stream, size, table, &err);
    MUST(good || (err.status == STATUS_DATA && *err.message));
    return good;
}

static bool read_json(const uint8_t *data, size_t size, struct guest_table *table)
{
    struct error err = ERROR_INIT;
    autojson json_t *json = json_parse_strict((const char *)data, size, size, NULL);
    if (!json)
        return false;
    bool good = guest_table_from_json(json, table, &err);
    MUST(good || (err.status == STATUS_DATA && *err.message));
    return good;
}

static void check_same(const struct guest_row *a, const struct guest_row *b)
{
    MUST(guest_row_order(a, b) == 0 && a->value == b->value && a->fault == b->fault &&
         memcmp(a->registers, b->registers, sizeof(a->registers)) == 0);
}

static void check_forms(const struct guest_table *table)
{
    char one[DIGEST_HEX_SIZE], other[DIGEST_HEX_SIZE];
    autoguesttable struct guest_table again = {0};
    autofree char *written = fuzz_written(guest_table_to_json(table));
    autojson json_t *json = fuzz_reread(written);
    MUST(guest_table_from_json(json, &again, NULL) && again.count == table->count);
    for (size_t i = 0; i < table->count; i++)
        check_same(&table->rows[i], &again.rows[i]);
    MUST(guest_table_digest(table, one, NULL) && guest_table_digest(&again, other, NULL));
    MUST(strcmp(one, other) == 0);
    autofree char *text = guest_table_to_text(table);
    MUST(text);
}

static void check_features(const struct guest_table *table)
{
    autofeatureset struct featureset shown = {0}, none = {0};
    autostrlist struct strlist missing = {0}, extra = {0};
    size_t count;
    const struct feature *features = feature_table(&count);
    for (size_t i = 0; i < count; i++) {
        bool shows = false;
        if (guest_table_shows(table, &features[i], &shows) && shows)
            MUST(featureset_add(&shown, features[i].name));
    }
    MUST(guest_table_contradictions(table, &shown, &missing, &extra, NULL));
    MUST(missing.count == 0 && extra.count == 0);
    MUST(guest_table_contradictions(table, &none, &missing, &extra, NULL));
    MUST(missing.count == 0 && extra.count <= featureset_count(&shown));
}

/* How many differences there are; each says something that can be shown. */
static size_t compare(const struct guest_table *a, const struct guest_table *b)
{
    const struct guest_host hosts[] = {{"a", a}, {"b", b}, {"c", a}};
    autoguestdifferences struct guest_differences found = {0};
    MUST(guest_tables_compare(hosts, 3, NULL, &found, NULL));
    for (size_t i = 0; i < found.count; i++) {
        const struct guest_difference *one = &found.items[i];
        MUST(one->mask != 0);
        for (const char *c = one->text; *c; c++)
            MUST(*c >= ' ' && *c <= '~');
        for (size_t k = 0; k < one->features.count; k++)
            MUST(feature_find(one->features.items[k]));
    }
    MUST(guest_differences_decisive(&found) <= found.count);
    return found.count;
}

static void check_change(const struct guest_table *table, const uint8_t choices[CHOICES])
{
    autoguesttable struct guest_table changed = {0};
    autofree char *written = fuzz_written(guest_table_to_json(table));
    autojson json_t *json = fuzz_reread(written);
    MUST(guest_table_from_json(json, &changed, NULL));
    MUST(compare(table, &changed) == 0);
    struct guest_row *row = &changed.rows[(choices[1] | choices[2] << 8) % changed.count];
    unsigned reg = choices[3] >> 5 & 3, bit = choices[3] & 31;
    if (row->kind == GUEST_ROW_CPUID) {
        row->registers[reg] ^= 1U << bit;
        bool natural = guest_natural_mask(row, (enum cpuid_register)reg) >> bit & 1;
        MUST((compare(table, &changed) > 0) == !natural);
    } else if (row->kind != GUEST_ROW_MODE && row->fault == 0) {
        row->value ^= UINT64_C(1) << (choices[3] & 63);
        MUST(compare(table, &changed) > 0);
    }
    if (row != changed.rows && row != changed.rows + 1) { /* and without this row */
        memmove(row, row + 1, (size_t)(changed.rows + changed.count - row - 1) * sizeof(*row));
        changed.count--;
        compare(table, &changed);
        compare(&changed, table);
    }
}

static void check_refusal(const uint8_t *data, size_t size)
{
    autofree char *said = fuzz_text(data, size);
    autostrlist struct strlist names = {0};
    MUST(guest_refusal_features(said, &names));
    for (size_t i = 0; i < names.count; i++)
        MUST(name_is_feature(names.items[i]));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < CHOICES)
        return 0;
    autoguesttable struct guest_table table = {0};
    if (data[0] & 4) {
        check_refusal(data + CHOICES, size - CHOICES);
        return 0;
    }
    bool good = data[0] & 1 ? read_json(data + CHOICES, size - CHOICES, &table)
                            : read_stream(data + CHOICES, size - CHOICES, data[0] & 2, &table);
    if (!good)
        return 0;
    check_forms(&table);
    check_features(&table);
    check_change(&table, data);
    return 0;
}
