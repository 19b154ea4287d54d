/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A signed statement from outside. Of an object with "header" and "payload" a statement is made
 * that is rightly signed, by the key that the payload says it is by or not; or has the "signature".
 */
#include "base/digest.h"
#include "home.h"
#include "host/profile.h"
#include "peer/envelope.h"

static void try_text(const char *text, size_t size)
{
    struct error err = ERROR_INIT;
    autoenvelope struct envelope envelope = {0};
    if (!envelope_open(text, size, PROFILE_SIZE_MAX * 2, PROFILE_TYPE, &envelope, &err))
        MUST(err.status == STATUS_DATA && *err.message);
    else
        MUST(envelope.payload && *envelope.pin);
}

static char *encode(json_t *json)
{
    autofree char *text = json ? json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
    char *encoded = base64url_encode(text ? text : "", text ? strlen(text) : 0);
    MUST(encoded);
    return encoded;
}

static void try_signed(json_t *json)
{
    uint8_t signature[64];
    size_t length = sizeof(signature);
    autofree char *header = encode(json_object_get(json, "header"));
    autofree char *payload = encode(json_object_get(json, "payload"));
    autofree char *input = string_format("%s.%s", header, payload);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    MUST(input && context);
    MUST(EVP_DigestSignInit(context, NULL, NULL, NULL, fuzz_home()->own->key) == 1);
    MUST(EVP_DigestSign(context, signature, &length, (const uint8_t *)input, strlen(input)) == 1);
    EVP_MD_CTX_free(context);
    const char *given = json_string_value(json_object_get(json, "signature"));
    autofree char *encoded = given ? strdup(given) : base64url_encode(signature, length);
    autofree char *text =
        string_format("{\"payload\":\"%s\",\"protected\":\"%s\",\"signature\":\"%s\"}", payload,
                      header, encoded ? encoded : "");
    MUST(text);
    try_text(text, strlen(text));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    autojson json_t *json = json_loadb((const char *)data, size, 0, NULL);
    try_text((const char *)data, size);
    if (json_object_get(json, "header"))
        try_signed(json);
    return 0;
}
