/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What inject.c and inject_calls.c share with each other, and with tests/e2e/lib/injection.py.
 */
#ifndef QML_TESTS_INJECT_H
#define QML_TESTS_INJECT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define INJECT_FRAMES 40
#define INJECT_ENTRIES 32768
#define INJECT_OURS (UINT64_C(1) << 63) /* in a frame: the program's, not a library's */
#define INJECT_SHORT (-1)

enum inject_class {
    INJECT_ALLOC,
    INJECT_READ,
    INJECT_WRITE,
    INJECT_SYNC,
    INJECT_FILE,
    INJECT_OPEN,
    INJECT_SOCKET,
    INJECT_PROCESS,
    INJECT_WAIT,
    INJECT_CLASSES
};

/* One stack that a call was seen with. */
struct inject_entry {
    _Atomic uint64_t hash; /* 0: free */
    _Atomic uint32_t calls;
    uint32_t class;
    uint64_t first; /* the number of the first one among the calls of its class */
    char function[16];
    uint64_t frames[INJECT_FRAMES]; /* innermost first; addresses within their object */
};

/* The file. Zeros in it are a file that nothing fails by. */
struct inject_file {
    _Atomic uint32_t armed; /* 0: calls are not looked at */
    _Atomic uint32_t fired; /* so many calls have failed */
    uint64_t target;        /* the hash of what is to fail */
    uint32_t target_class;
    uint32_t skip;     /* so many calls with this stack go well before */
    uint32_t lasting;  /* not 0: from then on all calls of its class fail */
    int32_t mode;      /* an errno value, or INJECT_SHORT: one byte is read or written, no more */
    uint64_t from, to; /* of the calls of its class only these are looked at, if `to` is not 0 */
    _Atomic uint64_t calls[INJECT_CLASSES];
    struct inject_entry entries[INJECT_ENTRIES];
};

/* The next definition of a function, kept in *kept. */
void *inject_next(void **kept, const char *name);

/* Is this call to fail? errno is set then. To be called by the function that stands in for another
 * one. */
bool inject_fails(enum inject_class class, const char *function) __attribute__((noinline));

/* How a read or write fails that is to fail: by being short. */
bool inject_shortens(void);

#endif
