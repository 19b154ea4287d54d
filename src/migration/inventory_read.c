/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The inventory, asked of a QEMU: a walk through its objects (QOM) for the devices and their
 * places.
 */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "migration/inventory.h"

#define COMMAND_MS 10000
#define DEPTH_MAX 16
#define NODES_MAX 20000 /* objects; a machine with fifty devices has some hundred */
#define TEXT_MAX_LENGTH 255
#define NONE SIZE_MAX

/* A device. */
struct node {
    char *path, *type, *bus, *address; /* address: on its bus, "" for none */
    bool pci;
    size_t owner;  /* of its bus: an index, or NONE */
    char *at;      /* NULL: not found out yet */
    json_t *entry; /* borrowed: in the result, or NULL */
};

struct walk {
    struct qmp *qmp;
    struct node *nodes;
    size_t count, visited;
    struct error *err;
};

static void walk_end(struct walk *walk)
{
    for (size_t i = 0; i < walk->count; i++) {
        struct node *node = &walk->nodes[i];
        free(node->path);
        free(node->type);
        free(node->bus);
        free(node->address);
        free(node->at);
    }
    free(walk->nodes);
}

static bool ask(struct qmp *qmp, const char *command, json_t *arguments, json_t **reply,
                struct error *err)
{
    return qmp_execute(qmp, command, arguments, deadline_in_ms(COMMAND_MS), STATUS_PROTOCOL, reply,
                       err);
}

/* A command that a QEMU may not have, or that a machine or device may refuse: *reply stays NULL. */
static bool ask_gently(struct qmp *qmp, const char *command, json_t *arguments, json_t **reply,
                       struct error *err)
{
    struct error inner = ERROR_INIT;
    return qmp_execute(qmp, command, arguments, deadline_in_ms(COMMAND_MS), STATUS_INCOMPATIBLE,
                       reply, &inner) ||
           inner.status == STATUS_INCOMPATIBLE || error_set(err, inner.status, "%s", inner.message);
}

/* A property as text: "" for what is none. NULL: an error. */
static char *get_text(struct walk *walk, const char *path, const char *property)
{
    autojson json_t *value = NULL;
    json_t *arguments = json_pack("{s:s, s:s}", "path", path, "property", property);
    char *text = NULL;
    if (arguments && !ask(walk->qmp, "qom-get", arguments, &value, walk->err))
        return NULL;
    if (value && json_is_integer(value))
        text = string_format("%lld", (long long)json_integer_value(value));
    else if (value)
        text = string_plain(json_string_value(value), TEXT_MAX_LENGTH);
    if (!text)
        error_no_memory(walk->err);
    return text;
}

static bool has(const json_t *list, const char *name)
{
    size_t i;
    json_t *entry;
    json_array_foreach(list, i, entry)
    {
        const char *is = json_string_value(json_object_get(entry, "name"));
        if (is && strcmp(is, name) == 0)
            return true;
    }
    return false;
}

/* Where on its bus, by what such a device has. */
static bool read_address(struct walk *walk, const json_t *list, struct node *node)
{
    static const char *const names[] = {"unit", "channel", "scsi-id", "lun", "nr",
                                        "port", "cad",     "iobase",  "slot"};
    autostrbuf struct strbuf text = {0};
    node->pci = has(list, "legacy-addr");
    if (node->pci)
        return (node->address = get_text(walk, node->path, "legacy-addr")) != NULL;
    strbuf_puts(&text, "");
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (!has(list, names[i]))
            continue;
        autofree char *value = get_text(walk, node->path, names[i]);
        if (!value)
            return false;
        if (*value)
            strbuf_printf(&text, " %s %s", names[i], value);
    }
    return (node->address = strbuf_steal(&text)) || error_no_memory(walk->err);
}

static bool add_node(struct walk *walk, const char *path, const char *type, const json_t *list)
{
    struct node *nodes = realloc(walk->nodes, (walk->count + 1) * sizeof(*nodes));
    if (!nodes)
        return error_no_memory(walk->err);
    walk->nodes = nodes;
    struct node *node = &nodes[walk->count++];
    *node = (struct node){
        .path = strdup(path), .type = string_plain(type, TEXT_MAX_LENGTH), .owner = NONE};
    if (!node->path || !node->type)
        return error_no_memory(walk->err);
    if (has(list, "parent_bus"))
        node->bus = get_text(walk, path, "parent_bus");
    else if (!(node->bus = strdup("")))
        error_no_memory(walk->err);
    return node->bus && read_address(walk, list, node);
}

/* child<TYPE>, but for those of which there are many and that are no devices. NULL: not that. */
static char *child_type(const json_t *entry)
{
    static const char prefix[] = "child<";
    const char *type = json_string_value(json_object_get(entry, "type"));
    size_t length = type ? strlen(type) : 0;
    if (length < sizeof(prefix) || !string_starts_with(type, prefix) ||
        strcmp(type, "child<memory-region>") == 0 || strcmp(type, "child<irq>") == 0)
        return NULL;
    return strndup(type + strlen(prefix), length - sizeof(prefix));
}

/* NOLINTNEXTLINE(misc-no-recursion): as deep as DEPTH_MAX */
static bool walk_from(struct walk *walk, const char *path, const char *type, int depth)
{
    autojson json_t *list = NULL;
    size_t i;
    json_t *entry, *arguments = json_pack("{s:s}", "path", path);
    if (!arguments)
        return error_no_memory(walk->err);
    if (depth > DEPTH_MAX || ++walk->visited > NODES_MAX)
        return error_set(walk->err, STATUS_PROTOCOL, "QEMU has too many objects");
    if (!ask(walk->qmp, "qom-list", arguments, &list, walk->err))
        return false;
    if (has(list, "realized") && has(list, "hotpluggable") && !add_node(walk, path, type, list))
        return false;
    json_array_foreach(list, i, entry)
    {
        const char *name = json_string_value(json_object_get(entry, "name"));
        autofree char *child = child_type(entry);
        if (!name || !child)
            continue;
        autofree char *below = string_format("%s/%s", path, name);
        if (!below)
            return error_no_memory(walk->err);
        if (!walk_from(walk, below, child, depth + 1))
            return false;
    }
    return true;
}

/* The device that a bus belongs to: the longest path above it. */
static void find_owner(struct walk *walk, struct node *node)
{
    size_t best = 0;
    for (size_t i = 0; i < walk->count; i++) {
        size_t length = strlen(walk->nodes[i].path);
        if (&walk->nodes[i] != node && length > best &&
            string_starts_with(node->bus, walk->nodes[i].path) && node->bus[length] == '/') {
            best = length;
            node->owner = i;
        }
    }
}

/* A controller's buses are named after its id, which the user may choose, and numbered. */
static const char *bus_number(const char *bus)
{
    const char *dot = strrchr(bus, '.');
    return dot && !strchr(dot, '/') ? dot + 1 : NULL;
}

/* NOLINTNEXTLINE(misc-no-recursion): as deep as buses are, bounded */
static const char *place_of(struct walk *walk, struct node *node, int depth)
{
    if (node->at || depth > DEPTH_MAX)
        return node->at ? node->at : "";
    find_owner(walk, node);
    const char *above =
        node->owner == NONE ? "" : place_of(walk, &walk->nodes[node->owner], depth + 1);
    if (node->at) /* two devices on each other's buses, if a QEMU says so: once is enough */
        return node->at;
    const char *number = bus_number(node->bus), *name = strrchr(node->bus, '/');
    bool root = strcmp(above, "") == 0;
    if (node->pci) /* the first root bus is 00; others (pxb) by name */
        node->at = string_format("%s:%s",
                                 !root                                             ? above
                                 : number && name && strncmp(name, "/pci", 4) == 0 ? "00"
                                 : name                                            ? name + 1
                                                                                   : "",
                                 node->address);
    else
        node->at = string_format("%s%s%s%s", above, number && *node->address ? " bus " : "",
                                 number && *node->address ? number : "", node->address);
    if (node->at && *node->at == ' ')
        memmove(node->at, node->at + 1, strlen(node->at));
    return node->at ? node->at : "";
}

static bool list_devices(struct walk *walk, json_t *devices)
{
    static const char users[] = "/machine/peripheral/";
    for (size_t i = 0; i < walk->count; i++) {
        struct node *node = &walk->nodes[i];
        place_of(walk, node, 0);
        if (!node->at)
            return error_no_memory(walk->err);
        if (!inventory_counts(node->path, node->type, node->bus, node->pci))
            continue;
        bool named =
            string_starts_with(node->path, users) && !strchr(node->path + strlen(users), '/');
        node->entry = json_pack("{s:s, s:s, s:s, s:[], s:i}", "type", node->type, "id",
                                named ? node->path + strlen(users) : "", "at", node->at, "features",
                                "unknown", 0);
        if (!node->entry || json_array_append_new(devices, node->entry) != 0)
            return error_no_memory(walk->err);
    }
    return true;
}

static bool add_feature(json_t *entry, const char *text, size_t length)
{
    autofree char *name = string_plain(text, length);
    return name &&
           json_array_append_new(json_object_get(entry, "features"), json_string(name)) == 0;
}

/* "VIRTIO_F_VERSION_1: Device compliant …", and bits that QEMU has no name for, of which some have
 * got one since 7.2 (QEMU 10.0 hw/virtio/virtio-qmp.c). */
static bool add_features(json_t *entry, const json_t *features, struct error *err)
{
    static const char *const lists[] = {"transports", "dev-features"};
    static const struct {
        int bit;
        const char *name;
    } newer[] = {{35, "VIRTIO_F_IN_ORDER"},          {37, "VIRTIO_F_SR_IOV"},
                 {38, "VIRTIO_F_NOTIFICATION_DATA"}, {39, "VIRTIO_F_NOTIF_CONFIG_DATA"},
                 {40, "VIRTIO_F_RING_RESET"},        {41, "VIRTIO_F_ADMIN_VQ"}};
    unsigned long long rest =
        (unsigned long long)json_integer_value(json_object_get(features, "unknown-dev-features"));
    size_t i;
    json_t *value;
    for (size_t k = 0; k < sizeof(lists) / sizeof(lists[0]); k++)
        json_array_foreach(json_object_get(features, lists[k]), i, value)
        {
            const char *text = json_string_value(value);
            if (!add_feature(entry, text, text ? strcspn(text, ":") : 0))
                return error_no_memory(err);
        }
    for (size_t n = 0; n < sizeof(newer) / sizeof(newer[0]); n++) {
        if (!(rest >> newer[n].bit & 1))
            continue;
        rest &= ~(1ULL << newer[n].bit);
        if (!add_feature(entry, newer[n].name, strlen(newer[n].name)))
            return error_no_memory(err);
    }
    int unknown = __builtin_popcountll(rest) +
                  __builtin_popcountll((unsigned long long)json_integer_value(
                      json_object_get(features, "unknown-dev-features2"))); /* from 10.2 on */
    return json_object_set_new(entry, "unknown", json_integer(unknown)) == 0 ||
           error_no_memory(err);
}

/* The commands are unstable: a QEMU without them, or a device that is not as others, is left out.
 */
static bool read_features(struct walk *walk)
{
    static const char suffix[] = "/virtio-backend";
    autojson json_t *list = NULL;
    size_t i;
    json_t *device;
    if (!ask_gently(walk->qmp, "x-query-virtio", NULL, &list, walk->err))
        return false;
    json_array_foreach(list, i, device)
    {
        const char *path = json_string_value(json_object_get(device, "path"));
        size_t length = path ? strlen(path) : 0, end = strlen(suffix);
        autojson json_t *status = NULL;
        struct node *node = NULL;
        for (size_t k = 0; k < walk->count && length > end && !node; k++)
            if (strlen(walk->nodes[k].path) == length - end &&
                strncmp(walk->nodes[k].path, path, length - end) == 0 &&
                strcmp(path + length - end, suffix) == 0)
                node = &walk->nodes[k];
        if (!node || !node->entry)
            continue;
        json_t *arguments = json_pack("{s:s}", "path", path);
        if (!arguments)
            return error_no_memory(walk->err);
        if (!ask_gently(walk->qmp, "x-query-virtio-status", arguments, &status, walk->err) ||
            !add_features(node->entry, json_object_get(status, "host-features"), walk->err))
            return false;
    }
    return true;
}

static json_t *read_numbers(struct walk *walk)
{
    autojson json_t *cpus = NULL, *room = NULL, *memory = NULL, *migration = NULL, *blocks = NULL;
    autojson json_t *blocked = json_array(), *ram = json_object();
    autofree char *machine = get_text(walk, "/machine", "type");
    if (!machine || !ask(walk->qmp, "query-cpus-fast", NULL, &cpus, walk->err) ||
        !ask_gently(walk->qmp, "query-hotpluggable-cpus", NULL, &room, walk->err) ||
        !ask(walk->qmp, "query-memory-size-summary", NULL, &memory, walk->err) ||
        !ask(walk->qmp, "query-migrate", NULL, &migration, walk->err) ||
        !ask_gently(walk->qmp, "x-query-ramblock", NULL, &blocks, walk->err))
        return NULL;
    char *suffix = strstr(machine, "-machine");
    if (suffix)
        *suffix = '\0';
    const char *text = json_string_value(json_object_get(blocks, "human-readable-text"));
    size_t i;
    json_t *reason, *result = NULL;
    bool good = blocked && ram && (!text || inventory_parse_blocks(text, ram));
    json_array_foreach(json_object_get(migration, "blocked-reasons"), i, reason)
    {
        autofree char *plain = string_plain(json_string_value(reason), TEXT_MAX_LENGTH);
        good = good && plain && json_array_append_new(blocked, json_string(plain)) == 0;
    }
    if (good)
        result = json_pack("{s:s, s:I, s:I, s:I, s:I, s:[], s:O, s:O}", "machine", machine, "vcpus",
                           (json_int_t)json_array_size(cpus), "vcpus_max",
                           (json_int_t)json_array_size(room), "memory",
                           json_integer_value(json_object_get(memory, "base-memory")), "plugged",
                           json_integer_value(json_object_get(memory, "plugged-memory")), "devices",
                           "blocks", ram, "blocked", blocked);
    if (!result)
        error_no_memory(walk->err);
    return result;
}

json_t *inventory_read(struct qmp *qmp, struct error *err)
{
    __attribute__((cleanup(walk_end))) struct walk walk = {.qmp = qmp, .err = err};
    struct error inner = ERROR_INIT;
    autojson json_t *result = read_numbers(&walk);
    if (!result || !walk_from(&walk, "/machine", "machine", 0) ||
        !list_devices(&walk, json_object_get(result, "devices")) || !read_features(&walk))
        return NULL;
    if (!inventory_check(result, "QEMU's machine", &inner)) {
        error_set(err, STATUS_PROTOCOL, "%s", inner.message);
        return NULL;
    }
    return STEAL(result);
}
