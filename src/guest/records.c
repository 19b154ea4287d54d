/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "guest/records.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/digest.h"
#include "base/json.h"
#include "base/strings.h"
#include "cpu/feature_table.h"

/* The stream's form: see rom.S. */
#define HEADER_SIZE 16
#define ROW_SIZE 25
#define CHECKSUM_SIZE 4
#define STREAM_VERSION 1
#define WIRE_MSR 4
#define WIRE_MSR_FAULT 5

#define JSON_VERSION 1

void guest_table_free(struct guest_table *table)
{
    free(table->rows);
    *table = (struct guest_table){0};
}

bool guest_table_copy(const struct guest_table *table, struct guest_table *copy)
{
    struct guest_row *rows = calloc(table->count + 1, sizeof(*rows));
    if (!rows)
        return false;
    for (size_t i = 0; i < table->count; i++)
        rows[i] = table->rows[i];
    *copy = (struct guest_table){.rows = rows, .count = table->count};
    return true;
}

int guest_row_order(const void *a, const void *b)
{
    const struct guest_row *one = a, *other = b;
    if (one->kind != other->kind)
        return one->kind < other->kind ? -1 : 1;
    if (one->number != other->number)
        return one->number < other->number ? -1 : 1;
    if (one->subleaf != other->subleaf)
        return one->subleaf < other->subleaf ? -1 : 1;
    return 0;
}

const struct guest_row *guest_table_find(const struct guest_table *table, enum guest_row_kind kind,
                                         uint32_t number, uint32_t subleaf)
{
    struct guest_row wanted = {.kind = kind, .number = number, .subleaf = subleaf};
    if (table->count == 0)
        return NULL;
    return bsearch(&wanted, table->rows, table->count, sizeof(wanted), guest_row_order);
}

/* What must hold for rows from anywhere: the stream and JSON. */
static bool rows_are_good(const struct guest_table *table, struct error *err)
{
    if (table->count < 2 || table->rows[0].kind != GUEST_ROW_MODE ||
        table->rows[1].kind != GUEST_ROW_CPUID || table->rows[1].number != 0 ||
        table->rows[1].subleaf != 0)
        return error_set(err, STATUS_DATA,
                         "the guest CPU table does not begin with its mode and "
                         "CPUID leaf 0");
    if (table->rows[0].value != 64 && table->rows[0].value != 32)
        return error_set(err, STATUS_DATA, "the guest CPU table is of no known mode");
    for (size_t i = 0; i < table->count; i++) {
        const struct guest_row *row = &table->rows[i];
        bool single = row->kind == GUEST_ROW_MODE || row->kind == GUEST_ROW_XCR0;
        if ((single && row->number != 0) || (row->kind != GUEST_ROW_CPUID && row->subleaf != 0))
            return error_set(err, STATUS_DATA,
                             "row %zu of the guest CPU table has a number that "
                             "its kind has not",
                             i);
        if (i > 0 && guest_row_order(row - 1, row) >= 0)
            return error_set(err, STATUS_DATA,
                             "row %zu of the guest CPU table is not behind the one before it", i);
    }
    return true;
}

/* Reading the stream. */

static uint32_t get_u32(const uint8_t *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

/* IEEE 802.3, reflected. */
static uint32_t crc32_of(const uint8_t *bytes, size_t length)
{
    uint32_t crc = 0xffffffff;
    for (size_t i = 0; i < length; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 1 ? crc >> 1 ^ 0xedb88320 : crc >> 1;
    }
    return ~crc;
}

static bool read_row(const uint8_t *at, struct guest_row *row, struct error *err)
{
    uint32_t a = get_u32(at + 9), b = get_u32(at + 13), c = get_u32(at + 17), d = get_u32(at + 21);
    uint64_t value = (uint64_t)d << 32 | a;
    *row = (struct guest_row){.number = get_u32(at + 1), .subleaf = get_u32(at + 5)};
    bool good = true;
    switch (at[0]) {
    case GUEST_ROW_MODE:
        if (b == 1)
            return error_set(err, STATUS_DATA, "the guest found more CPUID rows than it can keep");
        row->kind = GUEST_ROW_MODE;
        row->value = value;
        good = b == 0 && c == 0;
        break;
    case GUEST_ROW_CPUID:
        row->kind = GUEST_ROW_CPUID;
        row->registers[REGISTER_EAX] = a;
        row->registers[REGISTER_EBX] = b;
        row->registers[REGISTER_ECX] = c;
        row->registers[REGISTER_EDX] = d;
        break;
    case GUEST_ROW_XCR0:
    case WIRE_MSR:
        row->kind = at[0] == WIRE_MSR ? GUEST_ROW_MSR : GUEST_ROW_XCR0;
        row->value = value;
        good = b == 0 && c == 0;
        break;
    case WIRE_MSR_FAULT:
        row->kind = GUEST_ROW_MSR;
        row->fault = a;
        good = (a == GUEST_FAULT_GP || a == GUEST_FAULT_UD) && b == 0 && c == 0 && d == 0;
        break;
    default:
        good = false;
    }
    if (!good)
        return error_set(err, STATUS_DATA, "the guest CPU table has a row that makes no sense");
    return true;
}

bool guest_table_read(const void *bytes, size_t length, struct guest_table *table,
                      struct error *err)
{
    const uint8_t *at = bytes;
    if (length < HEADER_SIZE)
        return error_set(err, STATUS_DATA, "the guest CPU table is cut off after %zu bytes",
                         length);
    if (get_u32(at) == 0)
        return error_set(err, STATUS_DATA, "the guest left nothing in its memory");
    if (memcmp(at, "QMLG", 4) != 0)
        return error_set(err, STATUS_DATA,
                         "the guest left something else in its memory than its CPU table");
    uint32_t version = get_u32(at + 4), count = get_u32(at + 8), said = get_u32(at + 12);
    if (version != STREAM_VERSION)
        return error_set(err, STATUS_DATA, "the guest CPU table has version %" PRIu32 ", not %d",
                         version, STREAM_VERSION);
    if (count > GUEST_ROWS_MAX || said != HEADER_SIZE + count * ROW_SIZE + CHECKSUM_SIZE)
        return error_set(err, STATUS_DATA,
                         "the guest CPU table says it has %" PRIu32 " rows in %" PRIu32 " bytes",
                         count, said);
    if (length < said)
        return error_set(err, STATUS_DATA,
                         "the guest CPU table is cut off after %zu of %" PRIu32 " bytes", length,
                         said);
    if (crc32_of(at, said - CHECKSUM_SIZE) != get_u32(at + said - CHECKSUM_SIZE))
        return error_set(err, STATUS_DATA, "the guest CPU table's checksum is wrong");

    autoguesttable struct guest_table made = {.rows = calloc(count + 1, sizeof(*made.rows))};
    if (!made.rows)
        return error_no_memory(err);
    for (uint32_t i = 0; i < count; i++)
        if (!read_row(at + HEADER_SIZE + (size_t)i * ROW_SIZE, &made.rows[made.count++], err))
            return false;
    if (!rows_are_good(&made, err))
        return false;
    *table = made;
    made = (struct guest_table){0};
    return true;
}

/* JSON. */

static const char *fault_name(unsigned fault)
{
    return fault == GUEST_FAULT_UD ? "#UD" : "#GP";
}

static json_t *value_to_json(uint64_t value)
{
    char text[24];
    snprintf(text, sizeof(text), "0x%016" PRIx64, value);
    return json_string(text);
}

json_t *guest_table_to_json(const struct guest_table *table)
{
    autojson json_t *cpuid = json_array(), *msr = json_array(), *json = json_object();
    if (!json || json_object_set_new(json, "version", json_integer(JSON_VERSION)) < 0)
        return NULL;
    for (size_t i = 0; i < table->count; i++) {
        const struct guest_row *row = &table->rows[i];
        const uint32_t *regs = row->registers;
        int failed = 0;
        switch (row->kind) {
        case GUEST_ROW_MODE:
            failed = json_object_set_new(json, "mode", json_integer((json_int_t)row->value));
            break;
        case GUEST_ROW_CPUID:
            failed = json_array_append_new(
                cpuid, json_pack("[I,I,I,I,I,I]", (json_int_t)row->number, (json_int_t)row->subleaf,
                                 (json_int_t)regs[REGISTER_EAX], (json_int_t)regs[REGISTER_EBX],
                                 (json_int_t)regs[REGISTER_ECX], (json_int_t)regs[REGISTER_EDX]));
            break;
        case GUEST_ROW_XCR0:
            failed = json_object_set_new(json, "xcr0", value_to_json(row->value));
            break;
        case GUEST_ROW_MSR:
            failed = json_array_append_new(msr, json_pack("[I,o]", (json_int_t)row->number,
                                                          row->fault
                                                              ? json_string(fault_name(row->fault))
                                                              : value_to_json(row->value)));
            break;
        }
        if (failed)
            return NULL;
    }
    if (json_object_set(json, "cpuid", cpuid) < 0 || json_object_set(json, "msr", msr) < 0)
        return NULL;
    return STEAL(json);
}

static bool take_u32(const json_t *array, size_t index, uint32_t *value)
{
    const json_t *item = json_array_get(array, index);
    json_int_t number = json_integer_value(item);
    if (!json_is_integer(item) || number < 0 || number > UINT32_MAX)
        return false;
    *value = (uint32_t)number;
    return true;
}

/* "0x" and 16 lower-case digits. */
static bool take_value(const json_t *item, uint64_t *value)
{
    const char *text = json_string_value(item);
    if (!text || strlen(text) != 18 || text[0] != '0' || text[1] != 'x' ||
        strspn(text + 2, "0123456789abcdef") != 16)
        return false;
    *value = strtoull(text + 2, NULL, 16);
    return true;
}

static bool take_cpuid(const json_t *item, struct guest_row *row)
{
    row->kind = GUEST_ROW_CPUID;
    bool good = json_array_size(item) == 6 && take_u32(item, 0, &row->number) &&
                take_u32(item, 1, &row->subleaf);
    for (size_t i = 0; good && i < 4; i++)
        good = take_u32(item, 2 + i, &row->registers[i]);
    return good;
}

static bool take_msr(const json_t *item, struct guest_row *row)
{
    const char *text = json_string_value(json_array_get(item, 1));
    row->kind = GUEST_ROW_MSR;
    if (json_array_size(item) != 2 || !take_u32(item, 0, &row->number) || !text)
        return false;
    if (strcmp(text, "#GP") == 0)
        row->fault = GUEST_FAULT_GP;
    else if (strcmp(text, "#UD") == 0)
        row->fault = GUEST_FAULT_UD;
    else
        return take_value(json_array_get(item, 1), &row->value);
    return true;
}

bool guest_table_from_json(const json_t *json, struct guest_table *table, struct error *err)
{
    json_t *cpuid = NULL, *msr = NULL, *xcr0 = NULL;
    json_int_t version = 0, mode = 0;
    if (!json_take((json_t *)json, err, "the guest CPU table", "{s:I,s:I,s:o,s:o,s?o}", "version",
                   &version, "mode", &mode, "cpuid", &cpuid, "msr", &msr, "xcr0", &xcr0))
        return false;
    if (version != JSON_VERSION)
        return error_set(err, STATUS_DATA, "the guest CPU table has a version that is not known");
    size_t cpuid_count = json_array_size(cpuid), msr_count = json_array_size(msr);
    if (!json_is_array(cpuid) || !json_is_array(msr) || mode < 0 || cpuid_count > GUEST_ROWS_MAX ||
        msr_count > GUEST_ROWS_MAX || cpuid_count + msr_count + 2 > GUEST_ROWS_MAX)
        return error_set(err, STATUS_DATA, "the guest CPU table has not the form of one");
    autoguesttable struct guest_table made = {
        .rows = calloc(cpuid_count + msr_count + 2, sizeof(*made.rows))};
    if (!made.rows)
        return error_no_memory(err);

    made.rows[made.count++] = (struct guest_row){.kind = GUEST_ROW_MODE, .value = (uint64_t)mode};
    bool good = true;
    for (size_t i = 0; good && i < cpuid_count; i++)
        good = take_cpuid(json_array_get(cpuid, i), &made.rows[made.count++]);
    if (good && xcr0) {
        made.rows[made.count].kind = GUEST_ROW_XCR0;
        good = take_value(xcr0, &made.rows[made.count++].value);
    }
    for (size_t i = 0; good && i < msr_count; i++)
        good = take_msr(json_array_get(msr, i), &made.rows[made.count++]);
    if (!good)
        return error_set(err, STATUS_DATA, "row %zu of the guest CPU table has not the form of one",
                         made.count - 1);
    if (!rows_are_good(&made, err))
        return false;
    *table = made;
    made = (struct guest_table){0};
    return true;
}

/* For people. */

char *guest_table_to_text(const struct guest_table *table)
{
    autostrbuf struct strbuf buf = {0};
    strbuf_puts(&buf, "CPU 0:\n");
    for (size_t i = 0; i < table->count; i++) {
        const struct guest_row *row = &table->rows[i];
        const uint32_t *regs = row->registers;
        switch (row->kind) {
        case GUEST_ROW_MODE:
            break;
        case GUEST_ROW_CPUID:
            strbuf_printf(&buf,
                          "   0x%08" PRIx32 " 0x%02" PRIx32 ": eax=0x%08" PRIx32 " ebx=0x%08" PRIx32
                          " ecx=0x%08" PRIx32 " edx=0x%08" PRIx32 "\n",
                          row->number, row->subleaf, regs[REGISTER_EAX], regs[REGISTER_EBX],
                          regs[REGISTER_ECX], regs[REGISTER_EDX]);
            break;
        case GUEST_ROW_XCR0:
            strbuf_printf(&buf, "   xcr0: 0x%016" PRIx64 "\n", row->value);
            break;
        case GUEST_ROW_MSR:
            strbuf_printf(&buf, "   msr 0x%08" PRIx32 ": ", row->number);
            if (row->fault)
                strbuf_printf(&buf, "%s\n", fault_name(row->fault));
            else
                strbuf_printf(&buf, "0x%016" PRIx64 "\n", row->value);
            break;
        }
    }
    if (table->count > 0 && table->rows[0].value == 32)
        strbuf_puts(&buf, "   read in protected mode: there is no long mode\n");
    return strbuf_steal(&buf);
}

bool guest_table_digest(const struct guest_table *table, char *hex, struct error *err)
{
    autojson json_t *json = guest_table_to_json(table);
    autofree char *text = json ? json_to_text(json) : NULL;
    if (!text)
        return error_no_memory(err);
    return digest_hex(text, strlen(text), hex, err);
}
