/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * SHA-256, random bytes and text encodings, all by OpenSSL.
 */
#ifndef QML_BASE_DIGEST_H
#define QML_BASE_DIGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define DIGEST_SIZE 32
#define DIGEST_HEX_SIZE (2 * DIGEST_SIZE + 1) /* with the NUL */

/* SHA-256 (FIPS 180-4). STATUS_INTERNAL if OpenSSL fails. */
bool digest_bytes(const void *data, size_t length, uint8_t digest[DIGEST_SIZE], struct error *err);
/* The same as 64 lower-case hexadecimal digits. */
bool digest_hex(const void *data, size_t length, char hex[DIGEST_HEX_SIZE], struct error *err);
/* Of what a descriptor gives from its beginning to its end. STATUS_CONFIG if it cannot be read. */
bool digest_file(int fd, char hex[DIGEST_HEX_SIZE], struct error *err);
/* True for 64 lower-case hexadecimal digits. */
bool digest_is_hex(const char *text);

/* count random bytes as 2*count hexadecimal digits and a NUL. */
bool random_hex(size_t count, char *hex, struct error *err);

/* Base64 with padding (RFC 4648 section 4). The caller frees it; NULL for want of memory. */
char *base64_encode(const void *data, size_t length);
/* Strict: right padding, no blanks, no spare bits. *data is for the caller to free. */
bool base64_decode(const char *text, uint8_t **data, size_t *length, struct error *err);
/* Base64url without padding (RFC 7515 section 2), the same way. */
char *base64url_encode(const void *data, size_t length);
bool base64url_decode(const char *text, uint8_t **data, size_t *length, struct error *err);

#endif
