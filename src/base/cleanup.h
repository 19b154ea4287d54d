/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Cleanup attributes: a local that owns something gives it back when it goes out of scope.
 * Descriptors start at -1, pointers at NULL. To hand ownership on: STEAL(x).
 */
#ifndef QML_BASE_CLEANUP_H
#define QML_BASE_CLEANUP_H

#include <stdlib.h>
#include <unistd.h>

static inline void cleanup_free(void *p)
{
    free(*(void **)p);
}

static inline void cleanup_close(const int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

#define autofree __attribute__((cleanup(cleanup_free)))
#define autoclose __attribute__((cleanup(cleanup_close)))
/* Beside one of these: a local that nobody reads, and that is there for what happens at the end of
 * its scope. */
#define UNREAD __attribute__((unused))

/* How many elements an array has (not a pointer). */
#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

/* The value of a pointer variable, which is NULL afterwards. */
#define STEAL(pointer)                                                                             \
    ({                                                                                             \
        __typeof__(pointer) stolen_ = (pointer);                                                   \
        (pointer) = NULL;                                                                          \
        stolen_;                                                                                   \
    })

/* The value of a descriptor variable, which is -1 afterwards. */
static inline int steal_fd(int *fd)
{
    int value = *fd;
    *fd = -1;
    return value;
}

#endif
