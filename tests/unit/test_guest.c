/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The guest CPU table: reading what the guest left, JSON and text, comparing.
 */
#include "unit.h"

#include "base/digest.h"
#include "base/json.h"
#include "guest/compare.h"
#include "guest/rom.h"
#include "guest_streams.h"

#define HEADER 16
#define ROW 25

struct bytes {
    uint8_t data[8192];
    size_t length;
};

static struct bytes from_hex(const char *hex)
{
    struct bytes bytes = {.length = strlen(hex) / 2};
    ck_assert_uint_le(bytes.length, sizeof(bytes.data));
    for (size_t i = 0; i < bytes.length; i++) {
        unsigned value;
        ck_assert_int_eq(sscanf(hex + 2 * i, "%2x", &value), 1);
        bytes.data[i] = (uint8_t)value;
    }
    return bytes;
}

static void put_u32(uint8_t *at, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        at[i] = (uint8_t)(value >> 8 * i);
}

static uint32_t rows_in(const struct bytes *bytes)
{
    return (uint32_t)(bytes->length - HEADER - 4) / ROW;
}

/* Count, length and checksum as the guest would have written them. */
static void seal(struct bytes *bytes)
{
    put_u32(bytes->data + 8, rows_in(bytes));
    put_u32(bytes->data + 12, (uint32_t)bytes->length);
    uint32_t crc = 0xffffffff;
    for (size_t i = 0; i < bytes->length - 4; i++) {
        crc ^= bytes->data[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 1 ? crc >> 1 ^ 0xedb88320 : crc >> 1;
    }
    put_u32(bytes->data + bytes->length - 4, ~crc);
}

static uint8_t *row_at(struct bytes *bytes, uint32_t index)
{
    return bytes->data + HEADER + ROW * index;
}

/* Doubles a row. */
static void double_row(struct bytes *bytes, uint32_t index)
{
    uint8_t *row = row_at(bytes, index);
    memmove(row + ROW, row, bytes->data + bytes->length - row);
    bytes->length += ROW;
}

static bool reads(const struct bytes *bytes, struct error *err)
{
    /* A copy of exactly this size: a sanitizer sees what is read behind it. */
    autofree uint8_t *copy = malloc(bytes->length ? bytes->length : 1);
    autoguesttable struct guest_table table = {0};
    memcpy(copy, bytes->data, bytes->length);
    return guest_table_read(copy, bytes->length, &table, err);
}

static void load(const char *hex, struct guest_table *table)
{
    struct bytes bytes = from_hex(hex);
    MUST(guest_table_read(bytes.data, bytes.length, table, &err));
}

static struct guest_row *row_of(struct guest_table *table, enum guest_row_kind kind,
                                uint32_t number, uint32_t subleaf)
{
    struct guest_row *row = (struct guest_row *)guest_table_find(table, kind, number, subleaf);
    ck_assert_ptr_nonnull(row);
    return row;
}

START_TEST(real_streams)
{
    autoguesttable struct guest_table old = {0}, haswell = {0}, epyc = {0};
    load(stream_486_7_2, &old);
    load(stream_haswell_7_2, &haswell);
    load(stream_epyc_10_0, &epyc);
    ck_assert_uint_eq(old.rows[0].value, 32);
    ck_assert_uint_eq(haswell.rows[0].value, 64);
    ck_assert_uint_eq(old.count, 11);
    ck_assert_uint_eq(row_of(&haswell, GUEST_ROW_XCR0, 0, 0)->value, 7);
    ck_assert_ptr_null(guest_table_find(&old, GUEST_ROW_XCR0, 0, 0));
    ck_assert_uint_eq(row_of(&haswell, GUEST_ROW_CPUID, 0, 0)->registers[REGISTER_EBX], 0x756e6547);
    ck_assert_uint_eq(row_of(&haswell, GUEST_ROW_MSR, 0x8b, 0)->value, UINT64_C(0x100000000));
    ck_assert_uint_eq(row_of(&epyc, GUEST_ROW_MSR, 0x8b, 0)->value, 0x01000065);
    ck_assert_uint_eq(row_of(&epyc, GUEST_ROW_CPUID, 0x8000001d, 3)->registers[REGISTER_EAX] & 0xff,
                      0x63);
}
END_TEST

/* Every shorter stream, a longer one, every bit that is wrong. */
START_TEST(cut_or_changed)
{
    const struct bytes whole = from_hex(stream_486_7_2);
    for (size_t length = 0; length < whole.length; length++) {
        struct bytes bytes = whole;
        struct error err = ERROR_INIT;
        bytes.length = length;
        ck_assert_msg(!reads(&bytes, &err), "%zu bytes", length);
        ck_assert_int_eq(err.status, STATUS_DATA);
    }
    for (size_t bit = 0; bit < whole.length * 8; bit++) {
        struct bytes bytes = whole;
        struct error err = ERROR_INIT;
        bytes.data[bit / 8] ^= (uint8_t)(1U << bit % 8);
        ck_assert_msg(!reads(&bytes, &err), "bit %zu", bit);
        ck_assert_int_eq(err.status, STATUS_DATA);
    }
    /* What lies behind it in RAM is not looked at. */
    struct bytes longer = whole;
    memset(longer.data + whole.length, 0x55, sizeof(longer.data) - whole.length);
    longer.length = sizeof(longer.data);
    MUST(reads(&longer, &err));
}
END_TEST

/* Streams with a right checksum that the guest cannot have printed. */
static const struct {
    const char *words;
    uint32_t row; /* which is changed; or, with offset -1, doubled; -2: swapped with the next */
    int offset;   /* of 32 bits in the row; 0: the kind */
    uint32_t value;
} wrong[] = {
    {"makes no sense", 1, 0, 0},       {"makes no sense", 1, 0, 6},
    {"makes no sense", 1, 0, 255},     {"no known mode", 0, 9, 16},
    {"no known mode", 0, 21, 1},       {"more CPUID rows", 0, 13, 1},
    {"makes no sense", 0, 13, 2},      {"makes no sense", 0, 17, 1},
    {"number that its kind", 0, 1, 1}, {"number that its kind", 0, 5, 1},
    {"does not begin", 0, 0, 2},       {"does not begin", 1, 1, 1},
    {"does not begin", 1, 5, 1},       {"not behind", 1, -1, 0},
    {"not behind", 5, -1, 0},          {"not behind", 2, -2, 0},
    {"not behind", 7, -2, 0},          {"makes no sense", 7, 13, 1}, /* an MSR with EBX */
    {"makes no sense", 7, 17, 1},      {"number that its kind", 7, 5, 1},
    {"makes no sense", 8, 0, 5}, /* a fault without a vector */
    {"not behind", 10, 1, 0x8b},
};

START_TEST(wrong_rows)
{
    for (size_t i = 0; i < COUNT(wrong); i++) {
        struct bytes bytes = from_hex(stream_486_7_2);
        uint8_t *row = row_at(&bytes, wrong[i].row), kept[ROW];
        if (wrong[i].offset == -1) {
            double_row(&bytes, wrong[i].row);
        } else if (wrong[i].offset == -2) {
            memcpy(kept, row, ROW);
            memmove(row, row + ROW, ROW);
            memcpy(row + ROW, kept, ROW);
        } else if (wrong[i].offset == 0) {
            row[0] = (uint8_t)wrong[i].value;
        } else {
            put_u32(row + wrong[i].offset, wrong[i].value);
        }
        seal(&bytes);
        struct error err = ERROR_INIT;
        ck_assert_msg(!reads(&bytes, &err), "%zu", i);
        check_error(&err, STATUS_DATA, wrong[i].words, "wrong row");
    }
}
END_TEST

START_TEST(wrong_header)
{
    struct bytes bytes = from_hex(stream_486_7_2);
    uint32_t counts[] = {0, 1, 10, 12, 4096, 4097, 0x0a3d70a3, 0x80000000, 0xffffffff};
    for (size_t i = 0; i < COUNT(counts); i++) {
        put_u32(bytes.data + 8, counts[i]);
        put_u32(bytes.data + 12, 20 + 25 * 11);
        MUST_FAIL(STATUS_DATA, "rows in", reads(&bytes, &err));
        put_u32(bytes.data + 12, 20 + 25 * counts[i]); /* which may be more than 32 bits */
        MUST_FAIL(STATUS_DATA, counts[i] > 4096 ? "rows in" : "", reads(&bytes, &err));
    }
    bytes = from_hex(stream_486_7_2);
    put_u32(bytes.data + 4, 2);
    MUST_FAIL(STATUS_DATA, "version 2", reads(&bytes, &err));
    bytes.data[0] = 'q';
    MUST_FAIL(STATUS_DATA, "something else", reads(&bytes, &err));
    bytes = (struct bytes){.length = 100};
    MUST_FAIL(STATUS_DATA, "left nothing", reads(&bytes, &err));
    /* No rows at all, and the mode alone. */
    for (size_t rows = 0; rows < 2; rows++) {
        bytes = from_hex(stream_486_7_2);
        bytes.length = HEADER + rows * ROW + 4;
        seal(&bytes);
        MUST_FAIL(STATUS_DATA, "does not begin", reads(&bytes, &err));
    }
}
END_TEST

/* Whatever it is given, it reads or refuses it. */
START_TEST(random_streams)
{
    const struct bytes whole[] = {from_hex(stream_haswell_7_2), from_hex(stream_486_7_2)};
    srand(4);
    for (int round = 0; round < unit_rounds(20000); round++) {
        struct bytes bytes = whole[round % 2];
        struct error err = ERROR_INIT;
        for (int change = rand() % 4; change >= 0; change--)
            bytes.data[(size_t)rand() % bytes.length] = (uint8_t)rand();
        if (rand() % 4 == 0)
            bytes.length = 20 + (size_t)rand() % (bytes.length - 20);
        if (rand() % 2)
            seal(&bytes);
        if (!reads(&bytes, &err))
            ck_assert_int_eq(err.status, STATUS_DATA);
    }
}
END_TEST

START_TEST(failure_leaves_the_table)
{
    autoguesttable struct guest_table table = {0};
    load(stream_486_7_2, &table);
    struct guest_row *rows = table.rows;
    ck_assert(!guest_table_read("QMLG", 4, &table, NULL));
    ck_assert_ptr_eq(table.rows, rows);
}
END_TEST

START_TEST(json_there_and_back)
{
    const char *streams[] = {stream_486_7_2, stream_haswell_7_2, stream_epyc_10_0};
    char hex[3][DIGEST_HEX_SIZE];
    for (size_t i = 0; i < COUNT(streams); i++) {
        autoguesttable struct guest_table table = {0}, back = {0};
        char again[DIGEST_HEX_SIZE];
        load(streams[i], &table);
        row_of(&table, GUEST_ROW_MSR, 0xce, 0)->fault = GUEST_FAULT_GP;
        row_of(&table, GUEST_ROW_MSR, 0xcf, 0)->fault = GUEST_FAULT_UD;
        row_of(&table, GUEST_ROW_MSR, 0x345, 0)->value = UINT64_MAX;
        autojson json_t *json = guest_table_to_json(&table);
        autofree char *text = json_to_text(json);
        autojson json_t *parsed = NULL;
        MUST(parsed = json_parse_strict(text, strlen(text), 65536, &err));
        MUST(guest_table_from_json(parsed, &back, &err));
        ck_assert_uint_eq(back.count, table.count);
        ck_assert_int_eq(memcmp(back.rows, table.rows, table.count * sizeof(*table.rows)), 0);
        MUST(guest_table_digest(&table, hex[i], &err));
        MUST(guest_table_digest(&back, again, &err));
        ck_assert_str_eq(hex[i], again);
        row_of(&back, GUEST_ROW_CPUID, 1, 0)->registers[REGISTER_EDX] ^= 1;
        MUST(guest_table_digest(&back, again, &err));
        ck_assert_str_ne(hex[i], again);
    }
    ck_assert_str_ne(hex[0], hex[1]);
}
END_TEST

#define LEAF_0 "[0,0,13,1970169159,1818588270,1231384169]"
#define VALUE "\"0x0000000000000007\""
static const char *const bad_json[] = {
    "{}",
    "{\"version\":1,\"mode\":64,\"cpuid\":[" LEAF_0 "]}",
    "{\"version\":2,\"mode\":64,\"cpuid\":[" LEAF_0 "],\"msr\":[]}",
    "{\"version\":1,\"mode\":65,\"cpuid\":[" LEAF_0 "],\"msr\":[]}",
    "{\"version\":1,\"mode\":-64,\"cpuid\":[" LEAF_0 "],\"msr\":[]}",
    "{\"version\":1,\"mode\":\"64\",\"cpuid\":[" LEAF_0 "],\"msr\":[]}",
    "{\"version\":1,\"mode\":64,\"cpuid\":[],\"msr\":[]}",
    "{\"version\":1,\"mode\":64,\"cpuid\":{},\"msr\":[]}",
    "{\"version\":1,\"mode\":64,\"cpuid\":[1],\"msr\":[]}",
    "{\"version\":1,\"mode\":64,\"cpuid\":[[0,0,1,1,1]],\"msr\":[]}",
    "{\"version\":1,\"mode\":64,\"cpuid\":[[0,0,1,1,1,1,1]],\"msr\":[]}",
    "{\"version\":1,\"mode\":64,\"cpuid\":[[0,0,1,1,1,4294967296]],\"msr\":[]}",
    "{\"version\":1,\"mode\":64,\"cpuid\":[[0,0,1,1,1,-1]],\"msr\":[]}",
    "{\"version\":1,\"mode\":64,\"cpuid\":[[0,0,1,1,1,\"1\"]],\"msr\":[]}",
    "{\"version\":1,\"mode\":64,\"cpuid\":[[1,0,1,1,1,1]],\"msr\":[]}",
    "{\"version\":1,\"mode\":64,\"cpuid\":[" LEAF_0 "," LEAF_0 "],\"msr\":[]}",
    "{\"version\":1,\"mode\":64,\"cpuid\":[" LEAF_0 "],\"msr\":[[1]]}",
    "{\"version\":1,\"mode\":64,\"cpuid\":[" LEAF_0 "],\"msr\":[[1,7]]}",
    "{\"version\":1,\"mode\":64,\"cpuid\":[" LEAF_0 "],\"msr\":[[1,\"#PF\"]]}",
    "{\"version\":1,\"mode\":64,\"cpuid\":[" LEAF_0 "],\"msr\":[[1,\"0x7\"]]}",
    "{\"version\":1,\"mode\":64,\"cpuid\":[" LEAF_0 "],\"msr\":[[1,\"0x000000000000000A\"]]}",
    "{\"version\":1,\"mode\":64,\"cpuid\":[" LEAF_0 "],\"msr\":[[2," VALUE "],[1," VALUE "]]}",
    "{\"version\":1,\"mode\":64,\"cpuid\":[" LEAF_0 "],\"msr\":[[1," VALUE "],[1," VALUE "]]}",
    "{\"version\":1,\"mode\":64,\"cpuid\":[" LEAF_0 "],\"msr\":[],\"xcr0\":7}",
    "{\"version\":1,\"mode\":64,\"cpuid\":[" LEAF_0 "],\"msr\":[],\"xcr1\":" VALUE "}",
};

START_TEST(strict_json)
{
    autoguesttable struct guest_table table = {0};
    const char *good = "{\"version\":1,\"mode\":64,\"cpuid\":[" LEAF_0 "],\"msr\":[[1," VALUE
                       "]],\"xcr0\":" VALUE "}";
    autojson json_t *json = NULL;
    MUST(json = json_parse_strict(good, strlen(good), 4096, &err));
    MUST(guest_table_from_json(json, &table, &err));
    ck_assert_uint_eq(table.count, 4);
    for (size_t i = 0; i < COUNT(bad_json); i++) {
        autojson json_t *bad = NULL;
        struct error refused = ERROR_INIT;
        MUST(bad = json_parse_strict(bad_json[i], strlen(bad_json[i]), 4096, &err));
        ck_assert_msg(!guest_table_from_json(bad, &table, &refused), "%s", bad_json[i]);
        ck_assert_int_eq(refused.status, STATUS_DATA);
    }
    /* More rows than there can be. */
    autojson json_t *many = json_array();
    for (int i = 0; i <= GUEST_ROWS_MAX; i++)
        json_array_append_new(many, json_pack("[i,i,i,i,i,i]", i, 0, 0, 0, 0, 0));
    json_object_set(json, "cpuid", many);
    MUST_FAIL(STATUS_DATA, "form", guest_table_from_json(json, &table, &err));
}
END_TEST

START_TEST(text_form)
{
    autoguesttable struct guest_table table = {0};
    load(stream_486_7_2, &table);
    row_of(&table, GUEST_ROW_MSR, 0xce, 0)->fault = GUEST_FAULT_GP;
    autofree char *text = guest_table_to_text(&table);
    ck_assert_str_eq(text, "CPU 0:\n"
                           "   0x00000000 0x00: eax=0x00000001 ebx=0x756e6547 ecx=0x6c65746e "
                           "edx=0x49656e69\n"
                           "   0x00000001 0x00: eax=0x00000480 ebx=0x00000800 ecx=0x80000000 "
                           "edx=0x00000009\n"
                           "   0x40000000 0x00: eax=0x40000001 ebx=0x54474354 ecx=0x43544743 "
                           "edx=0x47435447\n"
                           "   0x40000001 0x00: eax=0x00000000 ebx=0x00000000 ecx=0x00000000 "
                           "edx=0x00000000\n"
                           "   msr 0x0000008b: 0x0000000100000000\n"
                           "   msr 0x000000ce: #GP\n"
                           "   msr 0x000000cf: 0x0000000000000000\n"
                           "   msr 0x0000010a: 0x0000000000000000\n"
                           "   msr 0x00000345: 0x0000000000000000\n"
                           "   msr 0xc0011029: 0x0000000000000000\n"
                           "   read in protected mode: there is no long mode\n");
}
END_TEST

/* Comparing: Haswell on a, b and c; what is changed on b, and what is said of it. */

static const struct change {
    uint32_t leaf, subleaf;
    enum cpuid_register reg;
    uint32_t flip;
    const char *text;
    const char *features;
} changes[] = {
    {7, 0, REGISTER_EBX, 1U << 20, "host b: leaf 7 EBX bit 20 (smap) is 1, elsewhere 0", "smap"},
    {7, 0, REGISTER_EBX, 1U << 5, "host b: leaf 7 EBX bit 5 (avx2) is 0, elsewhere 1", "avx2"},
    {1, 0, REGISTER_ECX, 1U << 27, "host b: leaf 1 ECX bit 27 (osxsave) is 0, elsewhere 1",
     "xsave"},
    {1, 0, REGISTER_EDX, 1U << 10, "leaf 1 EDX is 0x078bfbfd on a, c; 0x078bfffd on b", ""},
    {1, 0, REGISTER_EAX, 5,
     "leaf 1 is family 6 model 60 stepping 4 on a, c; family 6 model 60 "
     "stepping 1 on b",
     ""},
    {1, 0, REGISTER_EBX, 0x01000000, NULL, ""}, /* APIC ids differ by nature */
    {1, 0, REGISTER_EBX, 0x00030000,
     "leaf 1 (logical processors in the package) is 0 on a, c; 3 on b", ""},
    {0xb, 0, REGISTER_EDX, 5, NULL, ""},
    {0xb, 1, REGISTER_EBX, 3,
     "leaf 0xb.1 (topology) is level core with 1 logical processors, 0 bits of APIC id on a, c; "
     "level core with 2 logical processors, 0 bits of APIC id on b",
     ""},
    {0, 0, REGISTER_EAX, 9, "leaf 0 (highest basic leaf) is 0xd on a, c; 0x4 on b", ""},
    {0, 0, REGISTER_ECX, 1, "leaf 0 (vendor) is \"GenuineIntel\" on a, c; \"GenuineIotel\" on b",
     ""},
    {0xd, 0, REGISTER_EAX, 1U << 9, "host b: leaf 0xd EAX bit 9 (PKRU) is 1, elsewhere 0", "pku"},
    {0xd, 0, REGISTER_ECX, 0x10, "leaf 0xd (XSAVE bytes for all) is 832 on a, c; 848 on b", ""},
    {0xd, 2, REGISTER_EBX, 0x40,
     "leaf 0xd.2 (XSAVE component AVX) is 256 bytes at 576 on a, c; 256 bytes at 512 on b", "avx"},
    {0x80000001, 0, REGISTER_EDX, 1U << 29,
     "host b: leaf 0x80000001 EDX bit 29 (lm) is 0, elsewhere 1", "lm"},
    {0x80000001, 0, REGISTER_EDX, 1U << 8,
     "host b: leaf 0x80000001 EDX bit 8 (cx8) is 1, elsewhere 0", "cx8"},
    {0x80000008, 0, REGISTER_EAX, 40 ^ 46,
     "leaf 0x80000008 (physical address bits) is 40 on a, c; 46 on b", ""},
    {0x40000001, 0, REGISTER_EAX, 1, "leaf 0x40000001 EAX is 0x00000000 on a, c; 0x00000001 on b",
     ""}, /* TCG's leaf, not KVM's */
};

static void check_one(const struct guest_differences *found, const char *text, const char *features)
{
    ck_assert_uint_eq(found->count, text ? 1 : 0);
    if (!text)
        return;
    autofree char *names = strlist_join(&found->items[0].features, " ");
    ck_assert_str_eq(found->items[0].text, text);
    ck_assert_str_eq(names, features);
}

START_TEST(differences_by_name)
{
    for (size_t i = 0; i < COUNT(changes); i++) {
        const struct change *change = &changes[i];
        autoguesttable struct guest_table a = {0}, b = {0}, c = {0};
        autoguestdifferences struct guest_differences found = {0};
        struct guest_host hosts[] = {{"a", &a}, {"b", &b}, {"c", &c}};
        load(stream_haswell_7_2, &a);
        load(stream_haswell_7_2, &b);
        load(stream_haswell_7_2, &c);
        row_of(&b, GUEST_ROW_CPUID, change->leaf, change->subleaf)->registers[change->reg] ^=
            change->flip;
        MUST(guest_tables_compare(hosts, 3, NULL, &found, &err));
        check_one(&found, change->text, change->features);
        ck_assert_uint_eq(guest_differences_decisive(&found), found.count);
        if (found.count) {
            ck_assert_uint_eq(found.items[0].number, change->leaf);
            ck_assert_uint_eq(found.items[0].subleaf, change->subleaf);
            ck_assert_int_eq(found.items[0].reg, change->reg);
            ck_assert_uint_eq(found.items[0].mask, change->flip);
        }
    }
}
END_TEST

START_TEST(two_hosts)
{
    autoguesttable struct guest_table a = {0}, b = {0};
    autoguestdifferences struct guest_differences found = {0};
    struct guest_host hosts[] = {{"a", &a}, {"b", &b}};
    load(stream_haswell_7_2, &a);
    load(stream_haswell_7_2, &b);
    MUST(guest_tables_compare(hosts, 2, NULL, &found, &err));
    ck_assert_uint_eq(found.count, 0);
    /* With as many on each side it is the host without that is named. */
    row_of(&b, GUEST_ROW_CPUID, 7, 0)->registers[REGISTER_EBX] |= 1U << 20;
    MUST(guest_tables_compare(hosts, 2, NULL, &found, &err));
    check_one(&found, "host a: leaf 7 EBX bit 20 (smap) is 0, elsewhere 1", "smap");
    MUST(guest_tables_compare(hosts, 1, NULL, &found, &err));
    MUST(guest_tables_compare(hosts, 0, NULL, &found, &err));
}
END_TEST

START_TEST(other_models)
{
    autoguesttable struct guest_table a = {0}, b = {0}, c = {0};
    autoguestdifferences struct guest_differences found = {0};
    struct guest_host hosts[] = {{"a", &a}, {"b", &b}, {"c", &c}};
    autostrlist struct strlist texts = {0};
    load(stream_haswell_7_2, &a);
    load(stream_epyc_10_0, &b);
    load(stream_486_7_2, &c);
    MUST(guest_tables_compare(hosts, 3, NULL, &found, &err));
    for (size_t i = 0; i < found.count; i++) {
        ck_assert(strlist_push(&texts, found.items[i].text));
        for (size_t k = 0; k < found.items[i].features.count; k++)
            ck_assert_ptr_nonnull(feature_find(found.items[i].features.items[k]));
    }
    ck_assert(strlist_contains(&texts, "host c: the CPU has no long mode, elsewhere it has"));
    ck_assert(strlist_contains(&texts, "leaf 0 (vendor) is \"GenuineIntel\" on a, c; "
                                       "\"AuthenticAMD\" on b"));
    ck_assert(strlist_contains(&texts, "leaf 0x80000008 (physical address bits) is 40 on a, b; "
                                       "0 on c"));
    ck_assert(strlist_contains(&texts, "host b: leaf 0x80000001 ECX bit 6 (sse4a) is 1, "
                                       "elsewhere 0"));
    ck_assert(strlist_contains(&texts, "MSR 0x8b (microcode revision) is 0x100000000 on a, c; "
                                       "0x1000065 on b"));
}
END_TEST

/* MSRs: by name where CPUID announces them on all hosts, else advice. */
START_TEST(msrs)
{
    autoguesttable struct guest_table a = {0}, b = {0};
    autoguestdifferences struct guest_differences found = {0};
    struct guest_host hosts[] = {{"a", &a}, {"b", &b}};
    load(stream_haswell_7_2, &a);
    load(stream_haswell_7_2, &b);
    row_of(&b, GUEST_ROW_MSR, 0x10a, 0)->value = 1;
    MUST(guest_tables_compare(hosts, 2, NULL, &found, &err));
    check_one(&found, "host a: MSR 0x10a (ARCH_CAPABILITIES) bit 0 (rdctl-no) is 0, elsewhere 1",
              "rdctl-no");
    ck_assert(found.items[0].advisory);
    ck_assert_uint_eq(guest_differences_decisive(&found), 0);
    row_of(&a, GUEST_ROW_CPUID, 7, 0)->registers[REGISTER_EDX] |= 1U << 29;
    row_of(&b, GUEST_ROW_CPUID, 7, 0)->registers[REGISTER_EDX] |= 1U << 29;
    MUST(guest_tables_compare(hosts, 2, NULL, &found, &err));
    ck_assert_uint_eq(guest_differences_decisive(&found), 1);
    /* #GP on one, 0 on the other. */
    row_of(&b, GUEST_ROW_MSR, 0x10a, 0)->value = 0;
    row_of(&b, GUEST_ROW_MSR, 0x10a, 0)->fault = GUEST_FAULT_GP;
    MUST(guest_tables_compare(hosts, 2, NULL, &found, &err));
    check_one(&found, "MSR 0x10a (ARCH_CAPABILITIES) is 0x0 on a; #GP on b", "");
    ck_assert_uint_eq(guest_differences_decisive(&found), 1);
    row_of(&b, GUEST_ROW_CPUID, 7, 0)->registers[REGISTER_EDX] ^= 1U << 29;
    MUST(guest_tables_compare(hosts, 2, NULL, &found, &err));
    ck_assert_uint_eq(found.count, 2);
    ck_assert_uint_eq(guest_differences_decisive(&found), 1); /* the bit itself */
}
END_TEST

/* A feature of VMX controls is in the upper half of the MSR, of the one before "true" too. */
START_TEST(vmx_controls)
{
    autoguestdifferences struct guest_differences found = {0};
    struct guest_row rows[2][5] = {
        {{.kind = GUEST_ROW_MODE, .value = 64},
         {.kind = GUEST_ROW_CPUID},
         {.kind = GUEST_ROW_CPUID, .number = 1, .registers = {0, 0, 1U << 5, 0}},
         {.kind = GUEST_ROW_MSR, .number = 0x482},
         {.kind = GUEST_ROW_MSR, .number = 0x48b}},
    };
    memcpy(rows[1], rows[0], sizeof(rows[0]));
    struct guest_table a = {rows[0], 5}, b = {rows[1], 5};
    struct guest_host hosts[] = {{"a", &a}, {"b", &b}};
    rows[0][4].value = UINT64_C(1) << 33; /* may be 1 */
    MUST(guest_tables_compare(hosts, 2, NULL, &found, &err));
    check_one(&found, "host b: MSR 0x48b (VMX_PROCBASED_CTLS2) bit 33 (vmx-ept) is 0, elsewhere 1",
              "vmx-ept");
    ck_assert_uint_eq(guest_differences_decisive(&found), 1);
    rows[0][4].value = 0;
    rows[0][3].value = UINT64_C(1) << 63;
    MUST(guest_tables_compare(hosts, 2, NULL, &found, &err));
    check_one(&found,
              "host b: MSR 0x482 (VMX_PROCBASED_CTLS) bit 63 (vmx-secondary-ctls) is 0, elsewhere "
              "1",
              "vmx-secondary-ctls");
    /* One that must be 1 is none that can be chosen. */
    rows[0][3].value = 0;
    rows[0][4].number = rows[1][4].number = 0x48e;
    rows[0][4].value = 1U << 15;
    MUST(guest_tables_compare(hosts, 2, NULL, &found, &err));
    check_one(&found,
              "host b: MSR 0x48e (VMX_TRUE_PROCBASED_CTLS) bit 15 (vmx-cr3-load-noexit) is 0, "
              "elsewhere 1",
              "vmx-cr3-load-noexit");
    /* Without vmx on b its VMX MSRs are not read: the CPUID bit says it all. */
    rows[1][2].registers[REGISTER_ECX] = 0;
    b.count = 3;
    MUST(guest_tables_compare(hosts, 2, NULL, &found, &err));
    check_one(&found, "host b: leaf 1 ECX bit 5 (vmx) is 0, elsewhere 1", "vmx");
    /* With it they have to be there. */
    rows[1][2].registers[REGISTER_ECX] = 1U << 5;
    MUST(guest_tables_compare(hosts, 2, NULL, &found, &err));
    ck_assert_uint_eq(guest_differences_decisive(&found), 2);
}
END_TEST

START_TEST(kvm_leaves)
{
    autoguestdifferences struct guest_differences found = {0};
    for (uint32_t base = 0x40000000; base <= 0x40000100; base += 0x100) {
        struct guest_row rows[2][4] = {
            {{.kind = GUEST_ROW_MODE, .value = 64},
             {.kind = GUEST_ROW_CPUID},
             {.kind = GUEST_ROW_CPUID,
              .number = base,
              .registers = {base + 1, 0x4b4d564b, 0x564b4d56, 0x4d}},
             {.kind = GUEST_ROW_CPUID, .number = base + 1, .registers = {1U << 6, 0, 0, 0}}},
        };
        memcpy(rows[1], rows[0], sizeof(rows[0]));
        struct guest_table a = {rows[0], 4}, b = {rows[1], 4};
        struct guest_host hosts[] = {{"a", &a}, {"b", &b}};
        rows[1][3].registers[REGISTER_EAX] = 0;
        MUST(guest_tables_compare(hosts, 2, NULL, &found, &err));
        autofree char *text =
            string_format("host b: leaf 0x%x EAX bit 6 (kvm-pv-eoi) is 0, elsewhere 1", base + 1);
        check_one(&found, text, "kvm-pv-eoi");
    }
}
END_TEST

START_TEST(accepted_rows)
{
    autoguesttable struct guest_table a = {0}, b = {0};
    autoguestdifferences struct guest_differences found = {0};
    autostrlist struct strlist accepted = {0};
    struct guest_host hosts[] = {{"a", &a}, {"b", &b}};
    const char *good[] = {"7.0", "0xb.1", "0x80000008.0", "msr.0x8b", "0x0000000B.0x01"};
    const char *bad[] = {"",       "7",         "7.",    ".0",     "10.0",          "b.1",
                         "0x.0",   "7.00",      "7.0.0", "msr.8b", "0x123456789.0", "-1.0",
                         " 7.0",   "7.0 ",      "0x7",   "msr.",   "0xg.0",         "7. 0",
                         "0x+7.0", "msr.0x8b.0"};
    for (size_t i = 0; i < COUNT(good); i++)
        ck_assert_msg(guest_row_name_is_good(good[i]), "%s", good[i]);
    for (size_t i = 0; i < COUNT(bad); i++)
        ck_assert_msg(!guest_row_name_is_good(bad[i]), "'%s'", bad[i]);
    load(stream_haswell_7_2, &a);
    load(stream_haswell_7_2, &b);
    row_of(&b, GUEST_ROW_CPUID, 0xb, 1)->registers[REGISTER_EBX] ^= 3;
    row_of(&b, GUEST_ROW_CPUID, 7, 0)->registers[REGISTER_EBX] ^= 1U << 20;
    row_of(&b, GUEST_ROW_MSR, 0x8b, 0)->value = 5;
    ck_assert(strlist_push(&accepted, "0xb.1"));
    ck_assert(strlist_push(&accepted, "7.1"));
    MUST(guest_tables_compare(hosts, 2, &accepted, &found, &err));
    ck_assert_uint_eq(found.count, 3);
    ck_assert_uint_eq(guest_differences_decisive(&found), 2);
    ck_assert(strlist_push(&accepted, "msr.0x8b"));
    ck_assert(strlist_push(&accepted, "7.0"));
    MUST(guest_tables_compare(hosts, 2, &accepted, &found, &err));
    ck_assert_uint_eq(guest_differences_decisive(&found), 0);
}
END_TEST

/* The image: a jump at the reset vector, and of the right size. */
START_TEST(image)
{
    ck_assert_uint_eq(sizeof(guest_rom), GUEST_ROM_SIZE);
    ck_assert_uint_eq(guest_rom[0xfff0], 0xeb);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        real_streams,
        cut_or_changed,
        wrong_rows,
        wrong_header,
        random_streams,
        json_there_and_back,
        failure_leaves_the_table,
        strict_json,
        text_form,
        differences_by_name,
        two_hosts,
        other_models,
        msrs,
        vmx_controls,
        kvm_leaves,
        accepted_rows,
        image,
    };
    return unit_run("guest", tests, COUNT(tests));
}
