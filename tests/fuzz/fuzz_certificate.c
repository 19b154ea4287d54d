/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What a stranger shows in TLS, to a host that trusts an authority: the DER of a certificate behind
 * a letter that says who has signed it. As it is ('c'), by the authority ('s'), or by itself, as
 * the authority's own, which then vouches for a good one ('a'; 'b': as one below the authority).
 * Else the text of an authority's file, PEM ('p'), or of a certificate in the agent's pipe, base64
 * ('t').
 *
 * Whoever is vouched for has the authority's signature and the name, by a reading of its own, and
 * is still so after it was kept and read back.
 */
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <strings.h>

#include "base/file.h"
#include "home.h"
#include "peer/authority.h"

#define NAME "a.example"
#define OTHER "b"
#define YEAR (365L * 24 * 3600)

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);

/* The authority's key is the home's, a host's that of its peer. */
static X509 *authority_certificate, *good_certificate;

static void extend(X509 *certificate, int kind, const char *value)
{
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, kind, value);
    MUST(extension && X509_add_ext(certificate, extension, -1) == 1);
    X509_EXTENSION_free(extension);
}

static X509 *make(const char *subject, EVP_PKEY *key, bool is_authority)
{
    X509 *made = X509_new();
    MUST(made && X509_set_version(made, X509_VERSION_3) == 1);
    MUST(ASN1_INTEGER_set(X509_get_serialNumber(made), is_authority ? 1 : 2) == 1);
    MUST(X509_NAME_add_entry_by_txt(X509_get_subject_name(made), "CN", MBSTRING_ASC,
                                    (const unsigned char *)subject, -1, -1, 0) == 1);
    MUST(ASN1_TIME_set(X509_getm_notBefore(made), FUZZ_NOW - YEAR));
    MUST(ASN1_TIME_set(X509_getm_notAfter(made), FUZZ_NOW + YEAR));
    MUST(X509_set_pubkey(made, key) == 1);
    extend(made, NID_basic_constraints, is_authority ? "critical,CA:TRUE" : "CA:FALSE");
    if (!is_authority)
        extend(made, NID_subject_alt_name, "DNS:" NAME);
    return made;
}

/* Signed by the authority, whatever it says of itself. */
static bool sign(X509 *certificate, const X509 *by)
{
    bool good = X509_set_issuer_name(certificate, X509_get_subject_name(by)) == 1 &&
                X509_sign(certificate, fuzz_home()->own->key, NULL) > 0;
    ERR_clear_error();
    return good;
}

/* Of one certificate or two (NULL: not); NULL: one is no authority's. */
static struct authority *authority_of(X509 *one, X509 *other)
{
    struct error err = ERROR_INIT;
    autostrlist struct strlist list = {0};
    char *text = certificate_to_text(one), *more = other ? certificate_to_text(other) : NULL;
    MUST(text && strlist_push_owned(&list, text));
    MUST(!other || (more && strlist_push_owned(&list, more)));
    struct authority *authority = authority_new("fleet", &list, TRUST_NEVER, &err);
    MUST(authority ? authority_is_same(authority, authority) : *err.message != '\0');
    return authority;
}

static char *pem_of(X509 *certificate, size_t *length)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *data = NULL;
    MUST(bio && PEM_write_bio_X509(bio, certificate) == 1);
    *length = (size_t)BIO_get_mem_data(bio, &data);
    char *text = strndup(data, *length);
    MUST(text);
    BIO_free(bio);
    return text;
}

static void forget(void)
{
    X509_free(authority_certificate);
    X509_free(good_certificate);
}

/* trust.d: the authority's file, and the entry that names it. */
static void begin(const struct fuzz_home *home)
{
    static const char entry[] = "{\"version\":1,\"name\":\"fleet\",\"ca\":\"fleet.pem\","
                                "\"names\":[\"" NAME "\",\"" OTHER "\"]}";
    size_t length;
    if (authority_certificate)
        return;
    authority_certificate = make("authority", home->own->key, true);
    good_certificate = make("host", home->peer->key, false);
    MUST(sign(authority_certificate, authority_certificate));
    MUST(sign(good_certificate, authority_certificate));
    atexit(forget);
    autofree char *pem = pem_of(authority_certificate, &length);
    fuzz_write(home->paths.config, "trust.d/fleet.pem", pem, length);
    fuzz_write(home->paths.config, "trust.d/fleet.json", entry, strlen(entry));
}

/* RFC 5280, section 4.2.1.6, read once more: any of its names is this one, byte for byte. */
static bool has_name(const X509 *certificate, const char *name)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    bool has = false;
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *item = sk_GENERAL_NAME_value(names, i);
        if (item->type != GEN_DNS)
            continue;
        int length = ASN1_STRING_length(item->d.dNSName);
        has = has || ((size_t)length == strlen(name) &&
                      strncasecmp((const char *)ASN1_STRING_get0_data(item->d.dNSName), name,
                                  strlen(name)) == 0);
    }
    GENERAL_NAMES_free(names);
    ERR_clear_error();
    return has;
}

/* What was kept of it counts for whoever starts next. */
static void check_kept(const struct fuzz_home *home, const struct trust *trust, const char *pin)
{
    autotrust struct trust again = {0};
    autofree char *kept = path_join(home->paths.config, "trust.d/" NAME ".crt", "");
    MUST(kept);
    trust_keep(home->paths.config, trust);
    trust_keep(home->paths.config, trust);
    MUST(trust_load(home->paths.config, &again, NULL));
    const struct trust_entry *entry = trust_find(&again, NAME);
    MUST(entry && entry->pin_count == 1 && strcmp(entry->pins[0], pin) == 0);
    MUST(unlink(kept) == 0);
}

/* The whole way, as TLS takes it: who is it that shows this? */
static void try_shown(const struct fuzz_home *home, X509 *certificate)
{
    autotrust struct trust trust = {0}, fresh = {0};
    const struct trust_entry *entry = NULL;
    char pin[PIN_SIZE];
    if (!pin_from_certificate(certificate, pin, NULL))
        return;
    MUST(pin_is_valid(pin));
    MUST(trust_load(home->paths.config, &trust, NULL) && trust.count == 2);
    MUST(trust_load(home->paths.config, &fresh, NULL));
    bool named = has_name(certificate, NAME), other = has_name(certificate, OTHER);
    enum vouch verdict = trust_vouch(&trust, certificate, &entry);
    MUST(verdict != VOUCH_GOOD || (named != other && entry));
    MUST(!named || !other || verdict == VOUCH_NAME);
    MUST(named || other || verdict == VOUCH_NOBODY);
    if (verdict != VOUCH_GOOD) {
        MUST(!entry && !trust_find_pin(&trust, pin));
    } else {
        MUST(strcmp(entry->name, named ? NAME : OTHER) == 0);
        MUST(trust_find_pin(&trust, pin) == entry && !trust_entry_is_expired(entry, FUZZ_NOW));
        MUST(X509_verify(certificate, home->own->key) == 1);
        trust_carry(&fresh, &trust);
        MUST(trust_find_pin(&fresh, pin));
    }
    entry = trust_find(&trust, NAME);
    if (trust_vouch_entry(entry, certificate, true) == VOUCH_GOOD) {
        MUST(named && X509_verify(certificate, home->own->key) == 1);
        if (!other)
            check_kept(home, &trust, pin);
    }
    ERR_clear_error();
}

/* Its text is that of one like it. */
static void check_text(X509 *certificate)
{
    autofree char *text = certificate_to_text(certificate), *again = NULL;
    if (!text) /* what was read can have a part that cannot be written */
        return;
    X509 *other = certificate_from_text(text, NULL);
    MUST(other && (again = certificate_to_text(other)) && strcmp(text, again) == 0);
    X509_free(other);
}

/* As an authority's own, or one below it, by which a good one is vouched for. */
static void try_authority(X509 *own, X509 *above)
{
    int64_t until = 0;
    struct authority *authority = authority_of(own, above);
    X509 *certificate = X509_dup(good_certificate);
    MUST(certificate);
    if (authority && sign(certificate, own)) {
        bool good = authority_vouch(authority, certificate, NAME, true, &until) == VOUCH_GOOD;
        MUST(!good || (until > FUZZ_NOW && X509_check_ca(own) == 1));
        MUST(authority_vouch(authority, certificate, OTHER, true, &until) == VOUCH_NAME);
    }
    X509_free(certificate);
    authority_free(authority);
}

static void try_certificate(const struct fuzz_home *home, char kind, const uint8_t *data,
                            size_t size)
{
    X509 *certificate = d2i_X509(NULL, &data, (long)size);
    ERR_clear_error();
    if (!certificate)
        return;
    bool below = kind == 'b', own = below || kind == 'a';
    X509 *by = kind == 'a' ? certificate : authority_certificate;
    if (kind == 'c' ||
        ((!own || X509_set_pubkey(certificate, home->own->key) == 1) && sign(certificate, by))) {
        check_text(certificate);
        if (own)
            try_authority(certificate, below ? by : NULL);
        else
            try_shown(home, certificate);
    }
    X509_free(certificate);
}

static void try_pem(const char *text)
{
    autostrlist struct strlist list = {0};
    struct error err = ERROR_INIT;
    if (!authority_read_pem(text, &list, &err)) {
        MUST(*err.message);
        return;
    }
    struct authority *authority = authority_new("fleet", &list, TRUST_NEVER, &err);
    MUST(list.count > 0 && (authority || *err.message));
    MUST(!authority || authority->certificates.count == list.count);
    authority_free(authority);
}

/* Mutations of DER that stay DER: else nearly every input would end in OpenSSL's reader. */

#define ROOM 64 /* by which a value may grow */

static unsigned pick(unsigned *state, unsigned below)
{
    *state = *state * 1103515245U + 12345U;
    return (*state >> 8) % below;
}

/* The size of the tag and length that der begins with; 0: of none, or it ends too soon. */
static size_t header(const uint8_t *der, size_t size, size_t *length)
{
    if (size < 2 || (der[0] & 0x1f) == 0x1f)
        return 0;
    size_t more = der[1] < 0x80 ? 0 : der[1] & 0x7f, value = more ? 0 : der[1];
    if (more > 3 || (der[1] == 0x80) || 2 + more > size)
        return 0;
    for (size_t i = 0; i < more; i++)
        value = value << 8 | der[2 + i];
    *length = value;
    return value <= size - 2 - more ? 2 + more : 0;
}

/* An extension's value is an octet string (4) that has DER in it. */
static bool has_parts(uint8_t tag, const uint8_t *value, size_t size)
{
    size_t length = 0;
    return tag & 0x20 || (tag == 4 && size > 0 && value[0] & 0x20 &&
                          header(value, size, &length) + length == size);
}

static void add_part(struct strbuf *out, uint8_t tag, const struct strbuf *value)
{
    const uint8_t length[] = {tag, 0x82, (uint8_t)(value->length >> 8), (uint8_t)value->length};
    const uint8_t small[] = {tag, (uint8_t)value->length};
    if (value->length < 0x80)
        strbuf_add(out, small, sizeof(small));
    else
        strbuf_add(out, length, sizeof(length));
    strbuf_add(out, value->data, value->length);
}

/* A copy with one part changed: that before which there are *left others. */
static void copy_changed(struct strbuf *out, const uint8_t *der, size_t size, unsigned *left,
                         unsigned *state)
{
    size_t length, used;
    for (; size > 0 && (used = header(der, size, &length)) > 0; der += used, size -= used) {
        autostrbuf struct strbuf value = {0};
        uint8_t tag = der[0];
        bool chosen = (*left)-- == 0;
        unsigned how = chosen ? pick(state, 8) : 8, times = 1;
        if (how == 0)
            times = 2 * pick(state, 2);
        else if (how == 1)
            tag = (uint8_t)pick(state, 256);
        if (how > 1 && how < 8) {
            autofree uint8_t *changed = malloc(length + ROOM);
            MUST(changed);
            memcpy(changed, der + used, length);
            strbuf_add(&value, changed, LLVMFuzzerMutate(changed, length, length + ROOM));
        } else if (!chosen && has_parts(tag, der + used, length)) {
            copy_changed(&value, der + used, length, left, state);
        } else {
            strbuf_add(&value, der + used, length);
        }
        used += length;
        while (times-- > 0)
            add_part(out, tag, &value);
    }
    strbuf_add(out, der, size);
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
    autostrbuf struct strbuf all = {0}, changed = {0};
    unsigned state = seed, count = UINT32_MAX, left;
    if (size < 2 || !strchr("abcs", data[0]) || pick(&state, 4) == 0)
        return LLVMFuzzerMutate(data, size, max_size);
    copy_changed(&all, data + 1, size - 1, &count, &state);
    left = pick(&state, UINT32_MAX - count + 1);
    copy_changed(&changed, data + 1, size - 1, &left, &state);
    if (changed.failed || changed.length == 0 || changed.length >= max_size)
        return LLVMFuzzerMutate(data, size, max_size);
    memcpy(data + 1, changed.data, changed.length);
    if (pick(&state, 8) == 0)
        data[0] = (uint8_t) "abcs"[pick(&state, 4)];
    return changed.length + 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct fuzz_home *home = fuzz_home();
    begin(home);
    if (size == 0)
        return 0;
    autofree char *text = fuzz_text(data + 1, size - 1);
    switch (data[0]) {
    case 'p':
        try_pem(text);
        break;
    case 't': {
        X509 *certificate = certificate_from_text(text, NULL);
        if (certificate)
            check_text(certificate);
        X509_free(certificate);
        break;
    }
    case 'a':
    case 'b':
    case 'c':
    case 's':
        try_certificate(home, (char)data[0], data + 1, size - 1);
        break;
    }
    return 0;
}
