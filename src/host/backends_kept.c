/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "host/backends_kept.h"

#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/cache.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "host/system.h"

#define KIND "backends"
#define TAP "tun"
#define TAP_FILE "/dev/net/tun"
#define ENTRY_MAX 4096

/* Of what the answer depends on. */
static bool make_key(char key[DIGEST_HEX_SIZE], struct error *err)
{
    char boot_id[40];
    struct utsname kernel;
    if (!system_boot_id(boot_id, sizeof(boot_id), err))
        return false;
    if (uname(&kernel) < 0)
        return error_set(err, STATUS_INTERNAL, "the kernel has no version");
    autofree char *text = string_format("%s %d %s %s %s", TAP, BACKEND_TABLE_VERSION, boot_id,
                                        kernel.release, kernel.version);
    return text ? digest_hex(text, strlen(text), key, err) : error_no_memory(err);
}

static void write_entry(const char *state_folder, const char *key, const struct backend_offer *tap)
{
    autojson json_t *entry = json_pack("{s:o}", "features", json_from_names(&tap->features));
    autojson json_t *kept = cache_read(state_folder, KIND, key, ENTRY_MAX);
    if (entry && !(kept && json_equal(entry, kept)))
        cache_write(state_folder, KIND, key, entry);
}

static bool is_feature(const char *name)
{
    size_t count;
    const struct backend_feature *features = backend_features(&count);
    for (size_t i = 0; i < count; i++)
        if (strcmp(features[i].backend, TAP) == 0 && strcmp(features[i].name, name) == 0)
            return true;
    return false;
}

/* The features in the entry, sorted; false: there is none that counts. */
static bool read_entry(const char *state_folder, const char *key, struct strlist *features)
{
    autojson json_t *entry = cache_read(state_folder, KIND, key, ENTRY_MAX);
    struct error err = ERROR_INIT;
    json_t *names;
    if (!entry)
        return false;
    if (!json_take(entry, &err, KIND, "{s:o}", "features", &names) ||
        !json_take_names(names, "features of a tap", is_feature, features, &err)) {
        log_debug("not used again: %s", err.message);
        return false;
    }
    log_debug("%s: as it was since this boot", TAP);
    strlist_sort(features);
    return true;
}

bool backends_take_kept(const char *state_folder, struct device_offer *offer, struct error *err)
{
    char key[DIGEST_HEX_SIZE];
    autostrlist struct strlist features = {0};
    if (access(TAP_FILE, F_OK) < 0)
        return true;
    if (!make_key(key, err))
        return false;
    if (!read_entry(state_folder, key, &features))
        return true;
    struct backend_offer *tap = device_offer_add_backend(offer, TAP, BACKEND_KNOWN, NULL);
    if (!tap)
        return error_no_memory(err);
    tap->features = features;
    features = (struct strlist){0};
    return true;
}

bool backends_keep(const char *state_folder, struct device_offer *offer, struct error *err)
{
    char key[DIGEST_HEX_SIZE];
    struct backend_offer *tap = NULL;
    for (size_t i = 0; i < offer->backend_count; i++)
        if (strcmp(offer->backends[i].name, TAP) == 0)
            tap = &offer->backends[i];
    if (!tap || tap->state == BACKEND_ABSENT)
        return true;
    if (!make_key(key, err))
        return false;
    if (tap->state == BACKEND_KNOWN) {
        write_entry(state_folder, key, tap);
        return true;
    }
    autostrlist struct strlist features = {0};
    if (read_entry(state_folder, key, &features)) {
        tap->state = BACKEND_KNOWN;
        free(STEAL(tap->why));
        strlist_free(&tap->features);
        tap->features = features;
        features = (struct strlist){0};
    }
    return true;
}
