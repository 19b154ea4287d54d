/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "host/probe_cache.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cache.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "base/paths.h"
#include "cpu/feature_table.h"
#include "host/qemu_files.h"
#include "host/system.h"

#define CACHE_VERSION 1
#define ENTRY_SIZE_MAX ((size_t)512 << 10)
#define NO_HOST "probe" /* in place of a host's name, which no probe knows */

static const char *environment(const char *name)
{
    const char *value = getenv(name);
    return value ? value : "";
}

bool probe_cache_key(const struct qemu *qemu, const struct probe_parameters *parameters,
                     char key[DIGEST_HEX_SIZE], struct error *err)
{
    const struct qemu_binary *binary = &qemu->binary;
    const char *irqchip = parameters->kernel_irqchip;
    char boot_id[40];
    if (!system_boot_id(boot_id, sizeof(boot_id), err))
        return false;
    json_t *kernel = system_kernel(err);
    json_t *processor = kernel ? system_processor(err) : NULL;
    if (!processor) {
        json_decref(kernel);
        return false;
    }
    /* Of the environment, what decides which libraries and modules are taken. */
    autojson json_t *json = json_pack(
        "[i, i, s, o, o, [s, I, I, I, I, s, s], [s, s, s, b, b], [s, s, s]]", CACHE_VERSION,
        FEATURE_TABLE_VERSION, boot_id, kernel, processor, binary->path, (json_int_t)binary->device,
        (json_int_t)binary->inode, (json_int_t)binary->changed.tv_sec,
        (json_int_t)binary->changed.tv_nsec, qemu->version, qemu->package, parameters->machine,
        parameters->accel, irqchip ? irqchip : "", (int)parameters->cpu_pm,
        access("/dev/kvm", R_OK | W_OK) == 0, environment("LD_LIBRARY_PATH"),
        environment("LD_PRELOAD"), environment("QEMU_MODULE_DIR"));
    autofree char *text = json ? json_to_text(json) : NULL;
    return text ? digest_hex(text, strlen(text), key, err) : error_no_memory(err);
}

static bool read_names(json_t *json, struct strlist *names)
{
    size_t i;
    json_t *name;
    json_array_foreach(json, i, name)
    {
        if (!json_is_string(name) || !strlist_push(names, json_string_value(name)))
            return false;
    }
    return names->count > 0;
}

/* They are as they were. */
static bool is_same(const struct strlist *paths, const char *digest)
{
    char now[DIGEST_HEX_SIZE];
    return qemu_files_digest(paths, now, NULL) && strcmp(now, digest) == 0;
}

static bool read_entry(json_t *json, const char *key, struct probe *probe, struct error *err)
{
    const char *its_key, *files_digest, *folders_digest;
    json_t *files, *folders, *cpu, *models;
    if (!json_take(json, err, "a probe that was kept", "{s:s, s:o, s:s, s:o, s:s, s:o, s:o}", "key",
                   &its_key, "files", &files, "files_digest", &files_digest, "folders", &folders,
                   "folders_digest", &folders_digest, "cpu", &cpu, "models", &models))
        return false;
    if (strcmp(its_key, key) != 0 || !json_is_object(models) || !read_names(files, &probe->files) ||
        !read_names(folders, &probe->folders))
        return error_set(err, STATUS_DATA, "a probe that was kept is not valid");
    if (!is_same(&probe->files, files_digest) || !is_same(&probe->folders, folders_digest))
        return error_set(err, STATUS_DATA, "QEMU, or a library of its, is another one now");
    if (!cpu_offer_from_json(cpu, &probe->offer, err))
        return false;
    free(probe->offer.host);
    probe->offer.host = NULL;
    probe->models = json_incref(models);
    return true;
}

bool probe_cache_find(const char *state_folder, const char *key, struct probe *out)
{
    autofree char *path = string_format("%s/probes/%s.json", state_folder, key);
    autofree char *text = NULL;
    autoprobe struct probe probe = {0};
    struct error err = ERROR_INIT;
    size_t length = 0;
    if (!path || !file_read_trusted(path, ENTRY_SIZE_MAX, true, &text, &length, &err)) {
        log_debug("QEMU is asked again: %s", err.message);
        return false;
    }
    if (!text)
        return false;
    autojson json_t *json = json_parse_strict(text, length, ENTRY_SIZE_MAX, &err);
    if (!json || !read_entry(json, key, &probe, &err)) {
        log_debug("QEMU is asked again: %s", err.message);
        return false;
    }
    *out = probe;
    probe = (struct probe){0};
    return true;
}

static json_t *entry_to_json(const char *key, const struct probe *probe)
{
    char files[DIGEST_HEX_SIZE], folders[DIGEST_HEX_SIZE];
    struct cpu_offer offer = probe->offer; /* borrowed, but for the name */
    offer.host = (char *)NO_HOST;
    if (!qemu_files_digest(&probe->files, files, NULL) || !*files ||
        !qemu_files_digest(&probe->folders, folders, NULL) || !*folders)
        return NULL;
    return json_pack("{s:s, s:o, s:s, s:o, s:s, s:o, s:O}", "key", key, "files",
                     json_from_names(&probe->files), "files_digest", files, "folders",
                     json_from_names(&probe->folders), "folders_digest", folders, "cpu",
                     cpu_offer_to_json(&offer), "models", probe->models);
}

void probe_cache_store(const char *state_folder, const char *key, const struct probe *probe)
{
    struct error err = ERROR_INIT;
    autofree char *folder = path_join(state_folder, "probes", "");
    autofree char *path = folder ? path_join(folder, key, ".json") : NULL;
    autojson json_t *json = entry_to_json(key, probe);
    autofree char *text = json ? json_to_text(json) : NULL;
    if (!path || !text)
        return;
    bool good = folder_make(folder, 0700, &err);
    if (good)
        cache_make_room(folder, PROBE_CACHE_MAX);
    if (!good || !file_write_atomic(path, text, strlen(text), 0600, &err))
        log_debug("what QEMU said is not kept: %s", err.message);
}
