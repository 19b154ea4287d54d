/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Memory that lacks: one allocation fails, the n-th from a moment on. A program that has this is
 * linked with --wrap (Makefile.am, FAILING_LDFLAGS).
 */
#ifndef QML_TESTS_FAILING_H
#define QML_TESTS_FAILING_H

#include <stdbool.h>

#include "base/error.h"

/* What fails besides the allocations that the program makes by itself. */
extern bool failing_jansson; /* not where JSON is read: it takes the want of memory for a mistake */
extern bool failing_openssl, failing_libcurl; /* libevent 2.1 crashes too often */

/* First of all in main(). */
void failing_setup(void);

/* From now on allocation n of this thread fails. */
void failing_at(unsigned long n);
/* None will any more; from any thread. */
void failing_stop(void);
/* Whether it has failed since. */
bool failing_has_failed(void);

/* Plays scene() with each allocation failing in turn, until none is left. It returns what the code
 * under test returned: true, or false with STATUS_INTERNAL or the system's word for it. */
void failing_play(const char *name, bool (*scene)(struct error *err));
/* The same with something to be done before each, while memory lasts. */
void failing_play_with(const char *name, void (*prepare)(void), bool (*scene)(struct error *err));

#endif
