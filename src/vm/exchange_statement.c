/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * This host's own profile in an exchange: examined, signed, and kept as long as it says what is so.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "vm/exchange.h"

/* A statement that says what is still so is made once an hour, not for each exchange: then a peer
 * knows it again. */
#define STATEMENT_LIFE_S 3600

static char *statement_path(const struct exchange *exchange, struct error *err)
{
    char digest[DIGEST_HEX_SIZE];
    autofree char *folder = path_join(exchange->self->paths->state, "statements", "");
    autofree char *what = string_format("%s %s %s %d", exchange->machine, exchange->accel,
                                        exchange->kernel_irqchip, exchange->cpu_pm);
    char *path = NULL;
    if (!folder || !what)
        error_no_memory(err);
    else if (digest_hex(what, strlen(what), digest, err) && folder_make(folder, 0700, err)) {
        digest[16] = '\0';
        path = path_join(folder, digest, ".json");
        if (!path)
            error_no_memory(err);
    }
    return path;
}

/* The last statement, if it is by this key, young, and of a host that was as it is now. One that
 * another has followed, for another machine type, would be taken for one that is played back. A
 * line about it, and the envelope behind that, which is hardly ever read: peers know it by its
 * digest. */
static bool reuse_statement(struct exchange *exchange, const char *path)
{
    autofree char *text = NULL;
    const char *host, *pin, *digest;
    json_int_t issued, serial;
    size_t length;
    if (!file_read_trusted(path, PROFILE_SIZE_MAX * 2, true, &text, &length, NULL) || !text)
        return false;
    size_t line = strcspn(text, "\n");
    autojson json_t *kept =
        line < length ? json_parse_strict(text, line, PROFILE_SIZE_MAX, NULL) : NULL;
    if (!kept || !json_take(kept, NULL, "", "{s:s, s:s, s:s, s:I, s:I}", "host", &host, "pin", &pin,
                            "digest", &digest, "issued", &issued, "serial", &serial))
        return false;
    int64_t age = (int64_t)time(NULL) - issued;
    if (strcmp(host, exchange->host_digest) != 0 || serial != exchange->profile.serial ||
        !digest_is_hex(digest) || strcmp(pin, exchange->self->identity->pin) != 0 || age < 0 ||
        age > STATEMENT_LIFE_S)
        return false;
    char *envelope = strdup(text + line + 1);
    if (!envelope)
        return false;
    memcpy(exchange->profile_digest, digest, DIGEST_HEX_SIZE);
    exchange->profile_text = envelope;
    return true;
}

static void keep_statement(const struct exchange *exchange, const char *path)
{
    struct error err = ERROR_INIT;
    autojson json_t *kept = json_pack(
        "{s:s, s:s, s:s, s:I, s:I}", "host", exchange->host_digest, "pin",
        exchange->self->identity->pin, "digest", exchange->profile_digest, "issued",
        (json_int_t)exchange->profile.issued, "serial", (json_int_t)exchange->profile.serial);
    autofree char *line = kept ? json_to_text(kept) : NULL;
    autofree char *text = line ? string_format("%s\n%s", line, exchange->profile_text) : NULL;
    if (!text || !file_write_atomic(path, text, strlen(text), 0600, &err))
        log_debug("the profile's statement is not kept: %s", err.message);
}

static bool sign_statement(struct exchange *exchange, struct error *err)
{
    return envelope_sign_digest(exchange->self->identity, PROFILE_TYPE, exchange->profile_payload,
                                &exchange->profile_text, exchange->profile_digest, err);
}

void exchange_drop_profile(struct exchange *exchange)
{
    profile_free(&exchange->profile);
    json_decref(exchange->profile_payload);
    exchange->profile_payload = NULL;
    free(STEAL(exchange->profile_text));
    exchange->host_digest[0] = exchange->profile_digest[0] = '\0';
    exchange->profile_is_new = false;
}

static bool make(struct exchange *exchange, struct error *err)
{
    const struct exchange_self *self = exchange->self;
    struct probe_parameters parameters = {
        .machine = exchange->machine,
        .accel = exchange->accel,
        .kernel_irqchip = *exchange->kernel_irqchip ? exchange->kernel_irqchip : NULL,
        .cpu_pm = exchange->cpu_pm};
    autojson json_t *payload =
        profile_make(self->config, self->paths->state, self->qemu, &parameters,
                     &exchange->request.model, exchange->host_digest, err);
    autofree char *path = payload ? statement_path(exchange, err) : NULL;
    if (!path || !profile_read(payload, &exchange->profile, err))
        return false;
    if (self->role != ROLE_PARTY &&
        !cpu_request_check_names(&exchange->request, &exchange->profile.offer.known, err))
        return false;
    exchange->profile_payload = STEAL(payload);
    if (*exchange->host_digest && reuse_statement(exchange, path))
        return true;
    if (!sign_statement(exchange, err))
        return false;
    exchange->profile_is_new = true;
    if (*exchange->host_digest)
        keep_statement(exchange, path);
    return true;
}

bool exchange_make_profile(struct exchange *exchange, struct error *err)
{
    if (make(exchange, err))
        return true;
    exchange_drop_profile(exchange);
    return false;
}
