/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "vm/address_space.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/strings.h"

#define MIB ((uint64_t)1 << 20)
#define GIB ((uint64_t)1 << 30)
#define TIB ((uint64_t)1 << 40)
#define DEFAULT_SIZE (128 * MIB)
#define SIZE_LIMIT ((uint64_t)1 << 56)
/* QEMU 10.0 hw/i386/pc.c: where AMD's hole below 1 TiB starts. */
#define AMD_HYPERTRANSPORT_START 0xfd00000000ULL

/* "512", "1.5G", "2048M": a size with a binary suffix, MiB when there is none. */
static bool parse_size(const char *text, uint64_t *size)
{
    static const char suffixes[] = "bKMGTPE";
    char *end;
    if (*text < '0' || *text > '9' || string_starts_with(text, "0x"))
        return false;
    double number = strtod(text, &end);
    const char *suffix = *end ? strchr(suffixes, *end == 'B'                  ? 'b'
                                                 : *end >= 'a' && *end != 'b' ? *end - 'a' + 'A'
                                                                              : *end)
                              : strchr(suffixes, 'M');
    if (!suffix || (*end && end[1]) || !isfinite(number))
        return false;
    for (; suffix > suffixes; suffix--)
        number *= 1024;
    if (number > (double)SIZE_LIMIT)
        return false;
    *size = (uint64_t)number;
    return true;
}

static bool take_size(const struct keyval *memory, const char *key, uint64_t *size,
                      struct error *err)
{
    const char *text = keyval_get(memory, key);
    if (!text || parse_size(text, size))
        return true;
    return error_set(err, STATUS_USAGE, "-m: %s=%.60s is not a size", key, text);
}

static uint64_t round_up(uint64_t value, uint64_t to)
{
    return (value + to - 1) / to * to;
}

struct layout {
    uint64_t low_max;  /* with so much memory or more … */
    uint64_t low;      /* … so much of it is below 4 GiB */
    uint64_t pci_hole; /* 64-bit PCI hole */
};

/* The last address that QEMU would use, with memory above 4 GiB at `above`. */
static uint64_t last_address(const struct layout *layout, uint64_t above, uint64_t size,
                             uint64_t maxmem, uint64_t slots)
{
    uint64_t low = size >= layout->low_max ? layout->low : size;
    uint64_t end = above + (size - low);
    if (maxmem > size) /* each slot may need up to 1 GiB for alignment */
        end = round_up(end, GIB) + (maxmem - size) + slots * GIB;
    return round_up(end, GIB) + layout->pci_hole - 1;
}

bool address_space_bits(const char *machine, const struct keyval *memory, const char *vendor,
                        unsigned *bits, struct error *err)
{
    static const struct layout q35 = {0xb0000000ULL, 0x80000000ULL, 32 * GIB};
    static const struct layout i440fx = {0xe0000000ULL, 0xc0000000ULL, 2 * GIB};
    const struct layout *layout = string_starts_with(machine, "pc-q35-")      ? &q35
                                  : string_starts_with(machine, "pc-i440fx-") ? &i440fx
                                                                              : NULL;
    uint64_t size = DEFAULT_SIZE, slots = 0;
    if (!take_size(memory, "size", &size, err))
        return false;
    uint64_t maxmem = size;
    const char *count = keyval_get(memory, "slots");
    if (!take_size(memory, "maxmem", &maxmem, err))
        return false;
    if (count && !parse_number(count, 0, 256, &slots))
        return error_set(err, STATUS_USAGE, "-m: slots=%.60s is not a number of slots", count);
    *bits = 0;
    if (!layout)
        return true;
    uint64_t last = last_address(layout, 4 * GIB, size, maxmem, slots);
    if (strcmp(vendor, "AuthenticAMD") == 0 && last >= AMD_HYPERTRANSPORT_START)
        last = last_address(layout, TIB, size, maxmem, slots);
    while (last >> *bits)
        (*bits)++;
    return true;
}
