/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The machine as a guest sees it: memory, CPUs, and what is there although nobody says so.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "vm/visible_private.h"

const struct visible_machine *visible_machine_find(const char *type)
{
    static const struct visible_machine machines[] = {
        {"microvm", "none", 0, false, false, true, false, "virtio-net-device", "none", "", NULL},
        {"isapc", "ide", 2, true, true, true, true, "ne2k_isa", "std", "", NULL},
        {"pc-q35-4.0.1", "ide", 1, true, false, true, true, "e1000e", "std", "pcie.0", NULL},
        {"pc-q35-4.0", "ide", 1, true, false, true, true, "e1000e", "std", "pcie.0", "split"},
        {"pc-q35-", "ide", 1, true, false, true, true, "e1000e", "std", "pcie.0", NULL},
        {"q35", "ide", 1, true, false, true, true, "e1000e", "std", "pcie.0", NULL},
        {"", "ide", 2, true, true, true, true, "e1000", "std", "pci.0", NULL}, /* pc, the default */
    };
    size_t i = 0;
    while (*machines[i].prefix && !string_starts_with(type ? type : "", machines[i].prefix))
        i++;
    return &machines[i];
}

const char *visible_nic_model(const char *model)
{
    return strcmp(model, "virtio") == 0 ? "virtio-net-pci" : visible_driver(model);
}

/* A level of the topology: how many there are in the one above. */
enum { SOCKETS, DIES, CLUSTERS, MODULES, CORES, THREADS, LEVELS };
static const char *const levels[LEVELS] = {"sockets", "dies",  "clusters",
                                           "modules", "cores", "threads"};

bool visible_machine_before(const char *type, unsigned major, unsigned minor)
{
    unsigned own_major, own_minor;
    const char *dash = type && string_starts_with(type, "pc-") ? strrchr(type, '-') : NULL;
    return dash && sscanf(dash, "-%u.%u", &own_major, &own_minor) == 2 &&
           (own_major < major || (own_major == major && own_minor < minor));
}

static uint64_t number(const struct keyval *keys, const char *key)
{
    const char *text = keyval_get(keys, key);
    uint64_t value = 0;
    return text && parse_number(text, 1, 1 << 20, &value) ? value : 0;
}

/* What is not given (0) follows from the rest (machine_parse_smp_config in QEMU
 * hw/core/machine-smp.c). */
static void complete(uint64_t at[LEVELS], uint64_t *cpus, uint64_t *maxcpus, bool sockets_first)
{
    uint64_t between = 1, all = 1;
    for (int i = DIES; i <= MODULES; i++)
        between *= at[i] = at[i] ? at[i] : 1;
    uint64_t room = *maxcpus ? *maxcpus : *cpus;
    int open =
        sockets_first ? (at[SOCKETS] == 0 ? SOCKETS : CORES) : (at[CORES] == 0 ? CORES : SOCKETS);
    int other = open == CORES ? SOCKETS : CORES;
    at[other] = at[other] ? at[other] : 1;
    if (room == 0 || at[open] == 0) {
        at[THREADS] = at[THREADS] ? at[THREADS] : 1;
        at[open] = room ? room / (between * at[other] * at[THREADS]) : 1;
    }
    if (at[THREADS] == 0)
        at[THREADS] = room / (between * at[CORES] * at[SOCKETS]);
    for (int i = 0; i < LEVELS; i++)
        all *= at[i];
    *maxcpus = room ? room : all;
    *cpus = *cpus ? *cpus : *maxcpus;
}

static bool set_number(struct visible_thing *thing, const char *key, uint64_t value,
                       struct error *err)
{
    char text[32];
    snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
    return visible_thing_set(thing, key, text, VISIBLE_SEEN, err);
}

/* Of the topology only what is not as if nothing had been said. */
static bool add_smp(struct visible_reading *reading, struct error *err)
{
    const struct keyval *smp = &reading->invocation.smp;
    /* Older types make sockets of what is left open, later ones cores (smp_prefer_sockets in QEMU
     * hw/i386/pc.c). */
    bool sockets_first = visible_machine_before(reading->invocation.machine_type, 6, 2);
    struct visible_thing *thing = visible_list_add(reading->list, "smp", "", "", err);
    uint64_t cpus = number(smp, "cpus"), maxcpus = number(smp, "maxcpus"), at[LEVELS];
    uint64_t usual[LEVELS] = {0}, usual_cpus;
    for (int i = 0; i < LEVELS; i++)
        at[i] = number(smp, levels[i]);
    complete(at, &cpus, &maxcpus, sockets_first);
    usual_cpus = cpus;
    complete(usual, &usual_cpus, &maxcpus, sockets_first);
    if (!thing || !set_number(thing, "cpus", cpus, err) ||
        (maxcpus != cpus && !set_number(thing, "maxcpus", maxcpus, err)))
        return false;
    for (int i = 0; i < LEVELS; i++)
        if (at[i] != usual[i] && !set_number(thing, levels[i], at[i], err))
            return false;
    return true;
}

/* "auto" is what it would be without; -machine's memory-backend has the size of -m in it. */
static bool tidy(const struct visible_machine *board, struct visible_list *list,
                 struct visible_thing *machine, struct visible_thing *memory, struct error *err)
{
    for (size_t i = machine->count; i-- > 0;) {
        const struct visible_property *property = &machine->properties[i];
        if (strcmp(property->value, "auto") == 0 &&
            visible_default_find("machine", "", property->key))
            visible_thing_unset(machine, property->key);
    }
    if (board->irqchip && !visible_thing_get(machine, "kernel-irqchip") &&
        !visible_thing_set(machine, "kernel-irqchip", board->irqchip, VISIBLE_SEEN, err))
        return false;
    const struct visible_property *maxmem = visible_thing_get(memory, "maxmem");
    const struct visible_property *size = visible_thing_get(memory, "size");
    const struct visible_property *slots = visible_thing_get(memory, "slots");
    const struct visible_property *backend = visible_thing_get(machine, "memory-backend");
    const struct visible_thing *object =
        backend ? visible_list_find(list, "object", backend->value) : NULL;
    const struct visible_property *whole = object ? visible_thing_get(object, "size") : NULL;
    if (maxmem && size && strcmp(maxmem->value, size->value) == 0 &&
        (!slots || strcmp(slots->value, "0") == 0)) {
        visible_thing_unset(memory, "maxmem");
        visible_thing_unset(memory, "slots");
    }
    return visible_thing_get(memory, "size") || !whole ||
           visible_thing_set(memory, "size", whole->value, VISIBLE_SIZE, err);
}

/* Options without a value stand for some of its keys: these are named. */
static bool name_sugar(const struct visible_reading *reading, struct visible_thing *machine)
{
    size_t count;
    const struct visible_option *rows = visible_option_rows(&count);
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < machine->count && rows[i].kind == VISIBLE_SUGAR; k++) {
            struct visible_property *property = &machine->properties[k];
            size_t length = strlen(property->key);
            if (strncmp(rows[i].text, property->key, length) != 0 || rows[i].text[length] != '=' ||
                strcmp(rows[i].text + length + 1, property->value) != 0 ||
                !visible_given(reading, rows[i].name))
                continue;
            char *shown = string_format("%s (-%s)", property->shown, rows[i].name);
            if (!shown)
                return false;
            free(property->shown);
            property->shown = shown;
        }
    return true;
}

bool visible_add_machine(struct visible_reading *reading, struct error *err)
{
    const struct invocation *invocation = &reading->invocation;
    struct visible_list *list = reading->list;
    struct visible_thing *machine = visible_list_add(list, "machine", "", "", err);
    if (!machine ||
        !visible_thing_set_keys(machine, &invocation->machine_options, VISIBLE_SEEN, err) ||
        !visible_thing_set_keys(machine, &reading->machine, VISIBLE_SEEN, err) ||
        (invocation->kernel_irqchip &&
         !visible_thing_set(machine, "kernel-irqchip", invocation->kernel_irqchip, VISIBLE_SEEN,
                            err)))
        return false;
    if (!name_sugar(reading, machine))
        return error_no_memory(err);
    struct visible_thing *memory = visible_list_add(list, "m", "", "", err);
    machine = visible_list_find(list, "machine", "");
    if (!memory || !visible_thing_set_keys(memory, &invocation->memory, VISIBLE_SEEN, err))
        return false;
    return tidy(reading->board, list, machine, memory, err) && add_smp(reading, err);
}

/* Devices that are in the place of what would be there otherwise (default_list in QEMU's vl.c). */
static const char *const replacing[][2] = {{"isa-vga", "vga"},          {"cirrus-vga", "vga"},
                                           {"isa-cirrus-vga", "vga"},   {"vga", "vga"},
                                           {"ati-vga", "vga"},          {"VGA", "vga"},
                                           {"vmware-svga", "vga"},      {"qxl-vga", "vga"},
                                           {"virtio-vga", "vga"},       {"virtio-vga-gl", "vga"},
                                           {"vhost-user-vga", "vga"},   {"isa-serial", "serial"},
                                           {"isa-parallel", "parallel"}};

static bool is_replaced(const struct visible_list *list, const char *what)
{
    for (size_t i = 0; i < list->count; i++)
        for (size_t j = 0; j < sizeof(replacing) / sizeof(*replacing); j++)
            if (strcmp(list->things[i].option, "device") == 0 &&
                strcmp(list->things[i].label, replacing[j][0]) == 0 &&
                strcmp(replacing[j][1], what) == 0)
                return true;
    return false;
}

static bool add_port(struct visible_reading *reading, const char *option, bool has,
                     struct error *err)
{
    return reading->nodefaults || !has || visible_given(reading, option) ||
           is_replaced(reading->list, option) ||
           visible_list_add(reading->list, option, "", "", err);
}

static bool add_nics(struct visible_reading *reading, struct error *err)
{
    struct visible_list *list = reading->list;
    bool given = visible_given(reading, "nic") || visible_given(reading, "net") ||
                 visible_given(reading, "netdev");
    if (!given && !reading->nodefaults && !visible_list_add(list, "nic", "", "", err))
        return false;
    for (size_t i = 0; i < list->count; i++)
        if (strcmp(list->things[i].option, "nic") == 0 &&
            !visible_thing_get(&list->things[i], "model") &&
            !visible_thing_set(&list->things[i], "model", reading->board->nic, VISIBLE_SEEN, err))
            return false;
    return true;
}

static bool add_vga(struct visible_reading *reading, struct error *err)
{
    bool none = reading->nodefaults || is_replaced(reading->list, "vga");
    struct visible_thing *thing = visible_list_find(reading->list, "vga", "");
    if (thing)
        return true;
    thing = visible_list_add(reading->list, "vga", "", "", err);
    return thing &&
           visible_thing_set(thing, "", none ? "none" : reading->board->vga, VISIBLE_SEEN, err);
}

bool visible_add_defaults(struct visible_reading *reading, struct error *err)
{
    return visible_add_board_drives(reading, err) && add_vga(reading, err) &&
           (visible_list_find(reading->list, "rtc", "") ||
            visible_list_add(reading->list, "rtc", "", "", err)) &&
           add_port(reading, "serial", reading->board->serial, err) &&
           add_port(reading, "parallel", reading->board->parallel, err) && add_nics(reading, err);
}
