/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Trust entries of an authority: one for each name that it may vouch for. The pins of such an entry
 * are those of certificates that were seen, and were good then.
 */
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "base/paths.h"
#include "peer/trust_private.h"

#define CERTIFICATE_SUFFIX ".crt"
#define CERTIFICATE_FILE_MAX 16384

/* The entries that callers hand around are const for them; what an authority has vouched for is
 * noted in them all the same, here alone. */
static bool learn(const struct trust_entry *entry, X509 *certificate, int64_t until)
{
    struct trust_entry *own = (struct trust_entry *)entry;
    char pin[PIN_SIZE];
    if (!pin_from_certificate(certificate, pin, NULL) || X509_up_ref(certificate) != 1)
        return false;
    X509_free(own->certificate);
    own->certificate = certificate;
    own->expires = until < own->authority->expires ? until : own->authority->expires;
    memcpy(own->pins[0], pin, PIN_SIZE);
    own->pin_count = 1;
    return true;
}

enum vouch trust_vouch_entry(const struct trust_entry *entry, X509 *certificate, bool server)
{
    int64_t until = 0;
    enum vouch verdict =
        authority_vouch(entry->authority, certificate, entry->name, server, &until);
    if (verdict == VOUCH_GOOD && entry->authority->expires <= (int64_t)time(NULL))
        return VOUCH_OVER;
    if (verdict == VOUCH_GOOD && !learn(entry, certificate, until))
        return VOUCH_NOBODY;
    return verdict;
}

enum vouch trust_vouch(const struct trust *trust, X509 *certificate,
                       const struct trust_entry **entry)
{
    const struct trust_entry *found = NULL;
    for (size_t i = 0; i < trust->count; i++) {
        const struct trust_entry *item = &trust->entries[i];
        if (!item->authority || !authority_has_name(certificate, item->name))
            continue;
        if (found) /* which of them it is cannot be said */
            return VOUCH_NAME;
        found = item;
    }
    if (!found)
        return VOUCH_NOBODY;
    enum vouch verdict = trust_vouch_entry(found, certificate, false);
    *entry = verdict == VOUCH_GOOD ? found : NULL;
    return verdict;
}

void trust_carry(struct trust *fresh, const struct trust *old)
{
    for (size_t i = 0; i < fresh->count; i++) {
        struct trust_entry *entry = &fresh->entries[i];
        for (size_t k = 0; entry->authority && k < old->count; k++) {
            const struct trust_entry *before = &old->entries[k];
            if (before->authority && before->certificate &&
                strcmp(before->name, entry->name) == 0 &&
                authority_is_same(before->authority, entry->authority))
                learn(entry, before->certificate, before->expires);
        }
    }
}

static X509 *read_certificate(const char *path)
{
    autofree char *text = NULL;
    size_t length = 0;
    if (!file_read_trusted(path, CERTIFICATE_FILE_MAX, true, &text, &length, NULL) || !text)
        return NULL;
    BIO *bio = BIO_new_mem_buf(text, (int)length);
    X509 *certificate = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
    BIO_free(bio);
    ERR_clear_error();
    return certificate;
}

/* What was kept of an earlier connection; if it does not count any more, that is found out when
 * there is one again. */
static bool remember(const char *folder, struct trust_entry *entry, struct error *err)
{
    autofree char *path = path_join(folder, entry->name, CERTIFICATE_SUFFIX);
    if (!path)
        return error_no_memory(err);
    X509 *certificate = read_certificate(path);
    if (certificate && trust_vouch_entry(entry, certificate, true) != VOUCH_GOOD)
        trust_vouch_entry(entry, certificate, false);
    X509_free(certificate);
    return true;
}

void trust_keep(const char *config_folder, const struct trust *trust)
{
    autofree char *folder = path_join(config_folder, TRUST_FOLDER, "");
    for (size_t i = 0; folder && i < trust->count; i++) {
        const struct trust_entry *entry = &trust->entries[i];
        autofree char *path = path_join(folder, entry->name, CERTIFICATE_SUFFIX);
        struct error err = ERROR_INIT;
        char *text = NULL;
        if (!entry->certificate || !path)
            continue;
        X509 *kept = read_certificate(path);
        BIO *bio = BIO_new(BIO_s_mem());
        bool same = kept && X509_cmp(kept, entry->certificate) == 0;
        if (!same && bio && PEM_write_bio_X509(bio, entry->certificate) == 1) {
            long length = BIO_get_mem_data(bio, &text);
            if (!file_write_atomic(path, text, (size_t)length, 0644, &err))
                log_warning("the certificate of %s is not kept: %s", entry->name, err.message);
        }
        BIO_free(bio);
        X509_free(kept);
        ERR_clear_error();
    }
}

/* A certificate's name has no case: one that is there twice would be nobody's, whoever shows it. */
static bool check_names(const struct strlist *names, struct error *err)
{
    for (size_t i = 0; i < names->count; i++)
        for (size_t k = 0; k < i; k++)
            if (strcasecmp(names->items[i], names->items[k]) == 0)
                return error_set(err, STATUS_DATA, "the name '%.80s' twice", names->items[i]);
    return true;
}

/* Its address: that of `addresses`, else its name. */
static bool take_address(struct trust_entry *entry, const json_t *addresses, struct error *err)
{
    const json_t *item = json_object_get(addresses, entry->name);
    const char *address = item ? json_string_value(item) : entry->name;
    return (address && parse_address(address, &entry->host, &entry->port) && *entry->host) ||
           error_refuse(err, STATUS_DATA, "the address of %s is not HOST[:PORT]", entry->name);
}

static struct authority *read_authority(const char *folder, const char *name, const char *file,
                                        int64_t expires, struct error *err)
{
    autofree char *path = path_join(folder, file, "");
    autofree char *pem = NULL;
    size_t length = 0;
    if (!name_is_vm(file)) {
        error_set(err, STATUS_CONFIG, "'%.80s' is not the name of a file in trust.d", file);
        return NULL;
    }
    if (!path || !file_read_trusted(path, TRUST_FILE_MAX, false, &pem, &length, err))
        return NULL;
    autostrlist struct strlist certificates = {0};
    struct authority *authority = authority_read_pem(pem, &certificates, err)
                                      ? authority_new(name, &certificates, expires, err)
                                      : NULL;
    if (!authority)
        error_wrap(err, "%s", path);
    return authority;
}

bool trust_authority_read(json_t *json, const char *folder, const char *name,
                          struct trust_entry **entries, size_t *count, struct error *err)
{
    json_int_t version = 0, expires = TRUST_NEVER;
    const char *inner, *file;
    json_t *names, *addresses = NULL;
    autostrlist struct strlist list = {0};
    if (!json_take(json, err, "entry", "{s:I,s:s,s:s,s:o,s?o,s?I}", "version", &version, "name",
                   &inner, "ca", &file, "names", &names, "addresses", &addresses, "expires",
                   &expires) ||
        !json_take_names(names, "names", name_is_vm, &list, err))
        return false;
    if (version != TRUST_VERSION || strcmp(inner, name) != 0 || expires < 0 || list.count < 1 ||
        list.count > TRUST_ENTRIES_MAX || (addresses && !json_is_object(addresses)))
        return error_set(err, STATUS_DATA,
                         "version is not %d, name not that of the file, names empty, or addresses "
                         "or expires of another kind",
                         TRUST_VERSION);
    if (!check_names(&list, err))
        return false;
    const char *other;
    json_t *value;
    json_object_foreach(addresses, other, value)
    {
        if (!strlist_contains(&list, other))
            return error_set(err, STATUS_DATA, "an address of '%.80s', which is none of the names",
                             other);
    }
    struct authority *authority = read_authority(folder, name, file, expires, err);
    struct trust_entry *result = authority ? calloc(list.count, sizeof(*result)) : NULL;
    bool good = result != NULL || (authority && error_no_memory(err));
    for (size_t i = 0; good && i < list.count; i++) {
        struct trust_entry *entry = &result[i];
        *entry = (struct trust_entry){.name = strdup(list.items[i]),
                                      .authority = authority_hold(authority),
                                      .expires = expires};
        good = entry->name ? take_address(entry, addresses, err) && remember(folder, entry, err)
                           : error_no_memory(err);
    }
    authority_free(authority);
    if (!good) {
        for (size_t i = 0; result && i < list.count; i++)
            trust_entry_free(&result[i]);
        free(result);
        return false;
    }
    *entries = result;
    *count = list.count;
    return true;
}
