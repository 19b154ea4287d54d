/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "vm/proof_cache.h"

#include <stdlib.h>
#include <string.h>

#include "base/cache.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/paths.h"
#include "guest/rom.h"

#define CACHE_VERSION 1
#define ENTRY_SIZE_MAX ((size_t)512 << 10)

bool proof_cache_key(const char *host, const struct strlist *words, char key[DIGEST_HEX_SIZE],
                     struct error *err)
{
    char rom[DIGEST_HEX_SIZE];
    if (!digest_hex(guest_rom, GUEST_ROM_SIZE, rom, err))
        return false;
    autojson json_t *json =
        json_pack("[i, s, s, o]", CACHE_VERSION, rom, host, json_from_names(words));
    autofree char *text = json ? json_to_text(json) : NULL;
    return text ? digest_hex(text, strlen(text), key, err) : error_no_memory(err);
}

static char *entry_path(const char *state_folder, const char *key)
{
    return string_format("%s/proofs/%s.json", state_folder, key);
}

bool proof_cache_find(const char *state_folder, const char *key, struct guest_table *table)
{
    autofree char *path = entry_path(state_folder, key);
    autofree char *text = NULL;
    size_t length = 0;
    struct error err = ERROR_INIT;
    if (!path || !file_read_trusted(path, ENTRY_SIZE_MAX, true, &text, &length, &err)) {
        log_debug("the proof is made again: %s", err.message);
        return false;
    }
    if (!text)
        return false;
    autojson json_t *json = json_parse_strict(text, length, ENTRY_SIZE_MAX, &err);
    const char *its_key;
    json_t *its_table;
    if (json && json_take(json, &err, path, "{s:s, s:o}", "key", &its_key, "table", &its_table) &&
        strcmp(its_key, key) == 0 && guest_table_from_json(its_table, table, &err))
        return true;
    log_debug("the proof is made again: %s: %s", path, err.message);
    return false;
}

void proof_cache_store(const char *state_folder, const char *key, const struct guest_table *table)
{
    struct error err = ERROR_INIT;
    autofree char *folder = path_join(state_folder, "proofs", "");
    autofree char *path = entry_path(state_folder, key);
    autojson json_t *json =
        json_pack("{s:s, s:o}", "key", key, "table", guest_table_to_json(table));
    autofree char *text = json ? json_to_text(json) : NULL;
    if (!folder || !path || !text)
        return;
    bool good = folder_make(folder, 0700, &err);
    if (good)
        cache_make_room(folder, PROOF_CACHE_MAX);
    if (!good || !file_write_atomic(path, text, strlen(text), 0600, &err))
        log_debug("the proof is not kept: %s", err.message);
}
