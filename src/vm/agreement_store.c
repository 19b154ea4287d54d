/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/paths.h"
#include "vm/agreement.h"

static json_t *parse_envelope(const char *text, struct error *err)
{
    return json_parse_strict(text, strlen(text), AGREEMENT_SIZE_MAX, err);
}

json_t *agreement_document(const char *agreement_text, const struct strlist *approvals,
                           struct error *err)
{
    autojson json_t *agreement = parse_envelope(agreement_text, err);
    if (!agreement)
        return NULL;
    autojson json_t *list = json_array();
    for (size_t i = 0; i < approvals->count; i++) {
        json_t *approval = parse_envelope(approvals->items[i], err);
        if (!approval)
            return NULL;
        if (json_array_append_new(list, approval) != 0) {
            error_no_memory(err);
            return NULL;
        }
    }
    json_t *document = json_pack("{s:i, s:O, s:O}", "version", AGREEMENT_VERSION, "agreement",
                                 agreement, "approvals", list);
    if (!document)
        error_no_memory(err);
    return document;
}

/* Approvals that have been checked in this thread, the newest first: with many parties most of the
 * time of a launch would go into checking the same signatures again. A digest of an agreement, then
 * one of its approvals' text. */
#define CHECKED_MAX 16

static _Thread_local char checked[CHECKED_MAX][2][DIGEST_HEX_SIZE];

static bool was_checked(const char *digest, const char *approvals)
{
    for (size_t i = 0; i < CHECKED_MAX; i++)
        if (strcmp(checked[i][0], digest) == 0 && strcmp(checked[i][1], approvals) == 0)
            return true;
    return false;
}

static void note_checked(const char *digest, const char *approvals)
{
    memmove(checked[1], checked[0], sizeof(checked) - sizeof(checked[0]));
    memcpy(checked[0][0], digest, DIGEST_HEX_SIZE);
    memcpy(checked[0][1], approvals, DIGEST_HEX_SIZE);
}

/* Every party but the signer has approved, once. */
static bool check_each_approval(json_t *approvals, const struct agreement *agreement,
                                const char *signer, const char *digest, struct error *err)
{
    autostrlist struct strlist seen = {0};
    size_t i;
    json_t *entry;
    if (!strlist_push(&seen, signer))
        return error_no_memory(err);
    json_array_foreach(approvals, i, entry)
    {
        char pin[PIN_SIZE];
        if (!json_is_object(entry))
            return error_set(err, STATUS_DATA, "an approval of the agreement is not an object");
        autofree char *text = json_to_text(entry);
        if (!text)
            return error_no_memory(err);
        if (!approval_check(text, agreement, digest, pin, err))
            return false;
        if (strlist_contains(&seen, pin))
            return error_set(err, STATUS_DATA, "the agreement has two approvals by %s", pin);
        if (!strlist_push(&seen, pin))
            return error_no_memory(err);
    }
    for (size_t p = 0; p < agreement->party_count; p++)
        if (!strlist_contains(&seen, agreement->parties[p].pin))
            return error_set(err, STATUS_NOT_TRUSTED, "%s has not approved the agreement",
                             agreement->parties[p].host);
    return true;
}

static bool check_approvals(json_t *approvals, const struct agreement *agreement,
                            const char *signer, const char *digest, struct error *err)
{
    char hex[DIGEST_HEX_SIZE];
    autofree char *text = json_to_text(approvals);
    if (!text)
        return error_no_memory(err);
    if (!digest_hex(text, strlen(text), hex, err))
        return false;
    if (was_checked(digest, hex))
        return true;
    if (!check_each_approval(approvals, agreement, signer, digest, err))
        return false;
    note_checked(digest, hex);
    return true;
}

bool agreement_document_open_by(json_t *document, struct agreement *out,
                                char digest[DIGEST_HEX_SIZE], char pin[PIN_SIZE], struct error *err)
{
    autoagreement struct agreement agreement = {0};
    autoenvelope struct envelope envelope = {0};
    json_t *signed_agreement, *approvals;
    json_int_t version;
    if (!json_take(document, err, "the agreement's document", "{s:I, s:o, s:o}", "version",
                   &version, "agreement", &signed_agreement, "approvals", &approvals))
        return false;
    if (!agreement_reads_version(version) || !json_is_object(signed_agreement) ||
        !json_is_array(approvals))
        return error_set(err, STATUS_DATA, "the agreement's document is not valid");
    autofree char *text = json_to_text(signed_agreement);
    if (!text)
        return error_no_memory(err);
    if (!envelope_open(text, strlen(text), AGREEMENT_SIZE_MAX, AGREEMENT_TYPE, &envelope, err) ||
        !agreement_from_json(envelope.payload, &agreement, err))
        return false;
    if (!agreement_find_party(&agreement, envelope.pin))
        return error_set(err, STATUS_NOT_TRUSTED, "the agreement is not signed by a party of it");
    if (!check_approvals(approvals, &agreement, envelope.pin, envelope.digest, err))
        return false;
    agreement_free(out);
    *out = agreement;
    agreement = (struct agreement){0};
    if (digest)
        memcpy(digest, envelope.digest, DIGEST_HEX_SIZE);
    if (pin)
        memcpy(pin, envelope.pin, PIN_SIZE);
    return true;
}

bool agreement_document_open(json_t *document, struct agreement *out, char digest[DIGEST_HEX_SIZE],
                             struct error *err)
{
    return agreement_document_open_by(document, out, digest, NULL, err);
}

static char *agreement_path(const char *state_folder, const char *vm, const char *suffix)
{
    return string_format("%s/agreements/%s%s", state_folder, vm, suffix);
}

static bool store(const char *state_folder, const char *vm, const char *suffix, const char *text,
                  struct error *err)
{
    autofree char *folder = path_join(state_folder, "agreements", "");
    autofree char *path = agreement_path(state_folder, vm, suffix);
    if (!folder || !path)
        return error_no_memory(err);
    return folder_make(folder, 0700, err) && file_write_atomic(path, text, strlen(text), 0600, err);
}

static bool store_document(const char *state_folder, const char *vm, const char *suffix,
                           json_t *document, struct error *err)
{
    autofree char *text = json_to_text(document);
    if (!text)
        return error_no_memory(err);
    if (strlen(text) > AGREEMENT_SIZE_MAX)
        return error_set(err, STATUS_INCOMPATIBLE,
                         "the agreement about %s is too large (%zu bytes, %zu at most): launch it "
                         "with fewer parties, or fewer words in -cpu",
                         vm, strlen(text), AGREEMENT_SIZE_MAX);
    return store(state_folder, vm, suffix, text, err);
}

bool agreement_store(const char *state_folder, const char *vm, json_t *document, struct error *err)
{
    if (!store_document(state_folder, vm, ".json", document, err))
        return false;
    agreement_forget_pending(state_folder, vm);
    agreement_forget_committing(state_folder, vm);
    return true;
}

bool agreement_keep_committing(const char *state_folder, const char *vm, struct error *err)
{
    autofree char *from = agreement_path(state_folder, vm, ".committing");
    autofree char *to = agreement_path(state_folder, vm, ".json");
    if (!from || !to)
        return error_no_memory(err);
    if (!file_move(from, to, err))
        return false;
    agreement_forget_pending(state_folder, vm);
    return true;
}

static bool load(const char *state_folder, const char *vm, const char *suffix, json_t **document,
                 struct error *err)
{
    autofree char *path = agreement_path(state_folder, vm, suffix);
    autofree char *text = NULL;
    size_t length;
    if (!path)
        return error_no_memory(err);
    if (!file_read_trusted(path, AGREEMENT_SIZE_MAX, true, &text, &length, err))
        return false;
    json_t *json = NULL;
    if (text && !(json = json_parse_strict(text, length, AGREEMENT_SIZE_MAX, err)))
        return error_wrap(err, "%s", path);
    *document = json;
    return true;
}

bool agreement_load(const char *state_folder, const char *vm, json_t **document, struct error *err)
{
    return load(state_folder, vm, ".json", document, err);
}

bool agreement_store_committing(const char *state_folder, const char *vm, json_t *document,
                                struct error *err)
{
    return store_document(state_folder, vm, ".committing", document, err);
}

bool agreement_load_committing(const char *state_folder, const char *vm, json_t **document,
                               struct error *err)
{
    return load(state_folder, vm, ".committing", document, err);
}

bool agreement_check_room(const char *state_folder, const char *vm, struct error *err)
{
    static const char *const suffixes[] = {".json", ".pending"};
    autofree char *folder = path_join(state_folder, "agreements", "");
    size_t count = 0;
    if (!folder)
        return error_no_memory(err);
    for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
        autofree char *path = agreement_path(state_folder, vm, suffixes[i]);
        if (!path)
            return error_no_memory(err);
        if (access(path, F_OK) == 0)
            return true;
    }
    DIR *dir = opendir(folder);
    for (struct dirent *entry; dir && (entry = readdir(dir));)
        count += entry->d_name[0] != '.';
    if (dir)
        closedir(dir);
    return count < AGREEMENTS_MAX ||
           error_set(
               err, STATUS_CANNOT_WRITE,
               "%zu agreements are kept already: remove those about VMs that are gone from %s",
               count, folder);
}

bool agreement_store_pending(const char *state_folder, const char *vm, const char *text,
                             struct error *err)
{
    return store(state_folder, vm, ".pending", text, err);
}

void agreement_load_pending(const char *state_folder, const char *vm,
                            struct agreement_pending *pending)
{
    autofree char *path = agreement_path(state_folder, vm, ".pending");
    autofree char *text = NULL;
    autoenvelope struct envelope envelope = {0};
    size_t length;
    struct stat info;
    *pending = (struct agreement_pending){0};
    if (!path || stat(path, &info) < 0 ||
        !file_read_trusted(path, AGREEMENT_SIZE_MAX, true, &text, &length, NULL) || !text ||
        !envelope_open(text, length, AGREEMENT_SIZE_MAX, AGREEMENT_TYPE, &envelope, NULL))
        return;
    memcpy(pending->digest, envelope.digest, DIGEST_HEX_SIZE);
    memcpy(pending->pin, envelope.pin, PIN_SIZE);
    pending->issued = json_integer_value(json_object_get(envelope.payload, "issued"));
    pending->stored = info.st_mtime;
}

static void forget(const char *state_folder, const char *vm, const char *suffix)
{
    autofree char *path = agreement_path(state_folder, vm, suffix);
    if (path)
        unlink(path);
}

void agreement_forget_pending(const char *state_folder, const char *vm)
{
    forget(state_folder, vm, ".pending");
}

void agreement_forget_committing(const char *state_folder, const char *vm)
{
    forget(state_folder, vm, ".committing");
}
