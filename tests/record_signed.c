/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A library for LD_PRELOAD that writes down all that the program signs, statements and messages: a
 * line each, in the file in QML_SIGNED, which a test has made (tests/e2e/lib/signed.py) and holds
 * against the schemas then. The file begins with the length of what is there, 8 bytes. It is
 * mapped: processes that lock themselves in close all other descriptors.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* OpenSSL's, whose headers are not needed for this. */
int EVP_DigestSign(void *context, unsigned char *signature, size_t *size, const unsigned char *text,
                   size_t length);

static struct {
    _Atomic uint64_t length;
    char text[];
} * record;
static uint64_t room;

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("QML_SIGNED");
    int file = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    struct stat st;
    if (file < 0)
        return;
    if (fstat(file, &st) == 0 && (size_t)st.st_size > sizeof(*record)) {
        void *map = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        record = map == MAP_FAILED ? NULL : map;
        room = (uint64_t)st.st_size - sizeof(*record);
    }
    close(file);
}

int EVP_DigestSign(void *context, unsigned char *signature, size_t *size, const unsigned char *text,
                   size_t length)
{
    static const char start[] = "eyJ"; /* of '{"' in base64; what TLS signs begins otherwise */
    typeof(&EVP_DigestSign) next = (typeof(&EVP_DigestSign))dlsym(RTLD_NEXT, "EVP_DigestSign");
    if (!next)
        abort();
    int result = next(context, signature, size, text, length);
    if (!record || !signature || result != 1 || length < sizeof(start) ||
        memcmp(text, start, sizeof(start) - 1) != 0)
        return result;
    uint64_t at = atomic_fetch_add(&record->length, length + 1);
    if (at + length + 1 > room)
        abort();
    memcpy(record->text + at, text, length);
    record->text[at + length] = '\n';
    return result;
}
