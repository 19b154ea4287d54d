/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "vm/proof_cache.h"

#include <string.h>

#include "base/cache.h"
#include "base/cleanup.h"
#include "base/json.h"
#include "base/log.h"
#include "guest/rom.h"

#define KIND "proofs"
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

bool proof_cache_find(const char *state_folder, const char *key, struct guest_table *table)
{
    struct error err = ERROR_INIT;
    autojson json_t *json = cache_read(state_folder, KIND, key, ENTRY_SIZE_MAX);
    const char *its_key;
    json_t *its_table;
    if (!json)
        return false;
    if (json_take(json, &err, KIND, "{s:s, s:o}", "key", &its_key, "table", &its_table) &&
        strcmp(its_key, key) == 0 && guest_table_from_json(its_table, table, &err))
        return true;
    log_debug("the proof is made again: %s: %s", key, err.message);
    return false;
}

void proof_cache_store(const char *state_folder, const char *key, const struct guest_table *table)
{
    autojson json_t *json =
        json_pack("{s:s, s:o}", "key", key, "table", guest_table_to_json(table));
    if (json)
        cache_write(state_folder, KIND, key, json);
}
