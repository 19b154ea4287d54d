/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Files of the configuration and state folders. An object with any of the members below, each the
 * text of one file; what else the input is, it is the text of a key's or certificate's file ('k' or
 * 'c' first) or of all of them. What can be read and stored again is the same.
 */
#include <dirent.h>

#include "base/file.h"
#include "home.h"
#include "host/backends_kept.h"
#include "host/probe_cache.h"
#include "pool/seen.h"
#include "vm/agreement.h"
#include "vm/drift_facts.h"
#include "vm/proof_cache.h"
#include "vm/record.h"

#define VM "vm"
#define KEPT "k.example" /* a name that an authority vouches for */

/* The text of a file that was read, and stored again. */
static char *stored(const char *folder, const char *name)
{
    autofree char *path = path_join(folder, name, "");
    char *text = NULL;
    size_t length;
    MUST(path && file_read(path, (size_t)4 << 20, false, &text, &length, NULL));
    return text;
}

static void try_record(const struct fuzz_home *home)
{
    autovmrecord struct vm_record record = {0}, again = {0};
    struct error err = ERROR_INIT;
    autofree char *folder = path_join(home->paths.state, "vms", "");
    MUST(folder);
    if (!vm_record_load(&home->paths, VM, &record, &err)) {
        MUST(*err.message && !record.vm);
        return;
    }
    if (!record.vm || strcmp(record.vm, VM) != 0)
        return;
    vm_record_check_launch(&record, false, false, NULL);
    MUST(vm_record_store(&home->paths, &record, NULL));
    autofree char *one = stored(folder, VM ".json");
    MUST(vm_record_load(&home->paths, VM, &again, NULL));
    MUST(vm_record_store(&home->paths, &again, NULL));
    autofree char *other = stored(folder, VM ".json");
    MUST(strcmp(one, other) == 0);
}

static void try_trust(const struct fuzz_home *home)
{
    autotrust struct trust trust = {0};
    struct error err = ERROR_INIT;
    if (!trust_load(home->paths.config, &trust, &err)) {
        MUST(err.status == STATUS_CONFIG && *err.message && !trust.entries);
        return;
    }
    for (size_t i = 0; i < trust.count; i++) {
        const struct trust_entry *entry = &trust.entries[i];
        MUST(trust_find(&trust, entry->name) == entry);
        const struct trust_entry *same =
            entry->pin_count > 0 ? trust_find_pin(&trust, entry->pins[entry->pin_count - 1]) : NULL;
        MUST(same == entry || entry->authority || (same && same->authority));
        const struct trust_entry *found = entry->host ? trust_find(&trust, entry->host) : NULL;
        MUST(!found || found->host);
        trust_entry_is_expired(entry, FUZZ_NOW);
    }
    trust_find(&trust, "b.example");
    trust_find(&trust, "2001:db8::2");
    trust_find(&trust, "[2001:db8::2]:4000");
}

static void try_seen(const struct fuzz_home *home)
{
    autoseen struct seen seen = {0}, again = {0};
    struct error err = ERROR_INIT;
    if (!seen_load(home->paths.state, &seen, &err)) {
        MUST(*err.message && !seen.hosts);
        return;
    }
    autoclose int lock = seen_lock(home->paths.state, NULL);
    MUST(lock >= 0 && seen_store(home->paths.state, &seen, FUZZ_NOW, NULL));
    MUST(seen_load(home->paths.state, &again, NULL) && again.count <= seen.count);
    for (size_t i = 0; i < again.count; i++)
        MUST(seen_find(&seen, again.hosts[i].pin));
}

static void try_agreement(const struct fuzz_home *home)
{
    autojson json_t *document = NULL, *committing = NULL;
    autoagreement struct agreement agreement = {0};
    struct agreement_pending pending;
    struct error err = ERROR_INIT;
    char pin[PIN_SIZE];
    agreement_load_pending(home->paths.state, VM, &pending);
    MUST(!*pending.digest || digest_is_hex(pending.digest));
    agreement_load_committing(home->paths.state, VM, &committing, NULL);
    if (!agreement_load(home->paths.state, VM, &document, &err)) {
        MUST(*err.message);
        return;
    }
    if (document && agreement_document_open_by(document, &agreement, NULL, pin, NULL))
        MUST(agreement_find_party(&agreement, pin));
}

static void try_facts(const struct fuzz_home *home, json_t *payload)
{
    autojson json_t *then = NULL, *now = drift_facts(payload, NULL);
    autodriftchanges struct drift_changes changes = {0}, none = {0};
    if (!drift_facts_load(home->paths.state, VM, &then, NULL) || !now)
        return;
    MUST(drift_facts_compare(then, now, &changes, NULL));
    for (int cause = 0; cause <= LOSS_POLICY; cause++)
        free(drift_changes_for(&changes, (enum loss_cause)cause));
    free(drift_changes_text(&changes));
    MUST(drift_facts_compare(now, now, &none, NULL) && none.count == 0);
    MUST(drift_facts_store(home->paths.state, VM, now, NULL));
}

/* A file of trust.d that is no JSON. */
static void put_text(const char *folder, const char *name, const json_t *text)
{
    fuzz_write_json(folder, name, NULL);
    if (json_is_string(text))
        fuzz_write(folder, name, json_string_value(text), json_string_length(text));
}

/* What was asked of QEMU; QEMU is made of this program. */
static void try_probe(const struct fuzz_home *home, json_t *entry)
{
    autoprobequestion struct probe_question question = {0};
    autostrlist struct strlist files = {0};
    autofree char *folder = path_join(home->paths.state, "probes", "");
    autofree char *name = NULL;
    probe_question_init(&question, json_pack("{s:s}", "words", "any"));
    MUST(folder && question.words && (name = path_join("", question.key, ".json")));
    fuzz_write_json(folder, name, entry);
    json_decref(probe_cache_find(home->paths.state, &question, &files));
}

static void try_proof(const struct fuzz_home *home, json_t *entry)
{
    autoguesttable struct guest_table table = {0};
    autofree char *folder = path_join(home->paths.state, "proofs", "");
    MUST(folder);
    fuzz_write_json(folder, "key.json", entry);
    if (proof_cache_find(home->paths.state, "key", &table))
        proof_cache_store(home->paths.state, "key", &table);
}

/* The file's name depends on the kernel that runs: what is known of a tap is stored, and then the
 * entry is put in its place. */
static void try_backends(const struct fuzz_home *home, json_t *entry)
{
    autodeviceoffer struct device_offer known = {0}, unknown = {0};
    struct error err = ERROR_INIT;
    autofree char *folder = path_join(home->paths.state, "backends", "");
    MUST(folder && device_offer_add_backend(&known, "tun", BACKEND_KNOWN, NULL));
    MUST(device_offer_add_backend(&unknown, "tun", BACKEND_UNKNOWN, "not allowed"));
    MUST(backends_keep(home->paths.state, &known, &err));
    DIR *dir = opendir(folder);
    for (struct dirent *item; dir && (item = readdir(dir));)
        if (item->d_name[0] != '.')
            fuzz_write_json(folder, item->d_name, entry);
    MUST(dir && closedir(dir) == 0);
    autodeviceoffer struct device_offer kept = {0};
    MUST(backends_take_kept(home->paths.state, &kept, &err));
    MUST(backends_keep(home->paths.state, &unknown, &err));
}

static void try_identity(const char *folder)
{
    struct error err = ERROR_INIT;
    autoidentity struct identity *identity = identity_load(folder, &err);
    MUST(identity ? pin_is_valid(identity->pin) : err.status == STATUS_CONFIG && *err.message);
}

/* Raw bytes in place of one file, or of all that are JSON. */
static void try_bytes(const struct fuzz_home *home, const uint8_t *data, size_t size)
{
    bool key = size > 0 && data[0] == 'k', certificate = size > 0 && data[0] == 'c';
    autofree char *folder = path_join(home->folder, "other", "");
    autofree char *good = path_join(home->folder, "own", key ? "/identity.crt" : "/identity.key");
    autofree char *text = NULL;
    size_t length;
    if (!key && !certificate) {
        fuzz_write(home->paths.state, "vms/" VM ".json", data, size);
        try_record(home);
        return;
    }
    MUST(folder && good && file_read(good, 65536, false, &text, &length, NULL));
    fuzz_write(folder, key ? "identity.crt" : "identity.key", text, length);
    fuzz_write_json(folder, key ? "identity.key" : "identity.crt", NULL);
    if (size > 1)
        fuzz_write(folder, key ? "identity.key" : "identity.crt", data + 1, size - 1);
    try_identity(folder);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct fuzz_home *home = fuzz_home();
    autofree char *agreements = path_join(home->paths.state, "agreements", "");
    autofree char *trust = path_join(home->paths.config, "trust.d", "");
    autojson json_t *json = json_loadb((const char *)data, size, 0, NULL);
    MUST(agreements && trust);
    if (!json_is_object(json)) {
        try_bytes(home, data, size);
        return 0;
    }
    fuzz_write_json(home->paths.state, "vms/" VM ".json", json_object_get(json, "record"));
    try_record(home);
    fuzz_write_json(trust, "b.json", json_object_get(json, "trust"));
    fuzz_write_json(trust, "c.json", json_object_get(json, "trust2"));
    put_text(trust, "fleet.pem", json_object_get(json, "authority"));
    put_text(trust, KEPT ".crt", json_object_get(json, "kept"));
    try_trust(home);
    fuzz_write_json(home->paths.state, "pool/seen.json", json_object_get(json, "seen"));
    try_seen(home);
    fuzz_write_json(agreements, VM ".json", json_object_get(json, "agreement"));
    fuzz_write_json(agreements, VM ".pending", json_object_get(json, "pending"));
    fuzz_write_json(agreements, VM ".committing", json_object_get(json, "agreement"));
    try_agreement(home);
    fuzz_write_json(agreements, VM ".facts", json_object_get(json, "facts"));
    try_facts(home, json_object_get(json, "payload"));
    try_probe(home, json_object_get(json, "probe"));
    try_proof(home, json_object_get(json, "proof"));
    try_backends(home, json_object_get(json, "backends"));
    return 0;
}
