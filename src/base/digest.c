/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/digest.h"

#include <errno.h>
#include <limits.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"

#define BLOCK_SIZE ((size_t)64 << 10)

static void to_hex(const uint8_t *bytes, size_t count, char *hex)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < count; i++) {
        hex[2 * i] = digits[bytes[i] >> 4];
        hex[2 * i + 1] = digits[bytes[i] & 15];
    }
    hex[2 * count] = '\0';
}

bool digest_bytes(const void *data, size_t length, uint8_t digest[DIGEST_SIZE], struct error *err)
{
    if (EVP_Digest(data, length, digest, NULL, EVP_sha256(), NULL) != 1)
        return error_set(err, STATUS_INTERNAL, "OpenSSL cannot compute SHA-256");
    return true;
}

bool digest_hex(const void *data, size_t length, char hex[DIGEST_HEX_SIZE], struct error *err)
{
    uint8_t digest[DIGEST_SIZE];
    if (!digest_bytes(data, length, digest, err))
        return false;
    to_hex(digest, sizeof(digest), hex);
    return true;
}

bool digest_file(int fd, char hex[DIGEST_HEX_SIZE], struct error *err)
{
    uint8_t digest[DIGEST_SIZE];
    autofree uint8_t *block = malloc(BLOCK_SIZE);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool good = context && block && EVP_DigestInit_ex(context, EVP_sha256(), NULL) == 1;
    ssize_t length = 0;
    off_t at = 0;
    do {
        length = good ? pread(fd, block, BLOCK_SIZE, at) : 0;
        at += length > 0 ? length : 0;
        good = good && (length <= 0 || EVP_DigestUpdate(context, block, (size_t)length) == 1);
    } while (length > 0 || (length < 0 && errno == EINTR));
    int errnum = errno;
    good = good && EVP_DigestFinal_ex(context, digest, NULL) == 1;
    EVP_MD_CTX_free(context);
    if (!good)
        return error_set(err, STATUS_INTERNAL, "OpenSSL cannot compute SHA-256");
    if (length < 0)
        return error_set_errno(err, STATUS_CONFIG, errnum, "cannot read");
    to_hex(digest, sizeof(digest), hex);
    return true;
}

bool digest_is_hex(const char *text)
{
    return strlen(text) == 2 * (size_t)DIGEST_SIZE &&
           strspn(text, "0123456789abcdef") == 2 * (size_t)DIGEST_SIZE;
}

bool random_hex(size_t count, char *hex, struct error *err)
{
    uint8_t bytes[64];
    if (count > sizeof(bytes) || RAND_bytes(bytes, (int)count) != 1)
        return error_set(err, STATUS_INTERNAL, "OpenSSL has no random bytes");
    to_hex(bytes, count, hex);
    return true;
}

char *base64_encode(const void *data, size_t length)
{
    if (length > INT_MAX / 2)
        return NULL;
    char *text = malloc((length + 2) / 3 * 4 + 1);
    if (!text)
        return NULL;
    EVP_EncodeBlock((unsigned char *)text, data, (int)length);
    return text;
}

bool base64_decode(const char *text, uint8_t **data, size_t *length, struct error *err)
{
    size_t size = strlen(text);
    size_t padding = 0;
    if (size >= 2 && text[size - 1] == '=')
        padding = text[size - 2] == '=' ? 2 : 1;
    if (size % 4 != 0 || size > INT_MAX ||
        strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/") !=
            size - padding)
        return error_set(err, STATUS_DATA, "not base64");
    autofree uint8_t *bytes = malloc(size / 4 * 3 + 1);
    if (!bytes)
        return error_no_memory(err);
    int n = EVP_DecodeBlock(bytes, (const unsigned char *)text, (int)size);
    if (n < 0 || (size_t)n < padding)
        return error_set(err, STATUS_DATA, "not base64");
    size_t count = (size_t)n - padding;
    /* One value has one text: bits that do not count must be 0, or two texts would verify. */
    autofree char *again = base64_encode(bytes, count);
    if (!again)
        return error_no_memory(err);
    if (strcmp(again, text) != 0)
        return error_set(err, STATUS_DATA, "not base64");
    bytes[count] = '\0';
    *data = STEAL(bytes);
    *length = count;
    return true;
}

char *base64url_encode(const void *data, size_t length)
{
    char *text = base64_encode(data, length);
    for (char *p = text; p && *p; p++) {
        if (*p == '+')
            *p = '-';
        else if (*p == '/')
            *p = '_';
        else if (*p == '=')
            *p = '\0';
    }
    return text;
}

bool base64url_decode(const char *text, uint8_t **data, size_t *length, struct error *err)
{
    size_t size = strlen(text);
    if (size % 4 == 1 || strpbrk(text, "+/="))
        return error_set(err, STATUS_DATA, "not base64url");
    autofree char *padded = malloc(size + 4);
    if (!padded)
        return error_no_memory(err);
    for (size_t i = 0; i < size; i++)
        padded[i] = text[i] == '-' ? '+' : text[i] == '_' ? '/' : text[i];
    while (size % 4 != 0)
        padded[size++] = '=';
    padded[size] = '\0';
    return base64_decode(padded, data, length, err);
}
