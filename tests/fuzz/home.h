/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A host for the targets whose readers need one: folders, two identities that are the same in every
 * run, and a clock that stands still, so that an input does the same each time.
 */
#ifndef QML_TESTS_HOME_H
#define QML_TESTS_HOME_H

#include "base/paths.h"
#include "fuzz.h"
#include "peer/identity.h"
#include "peer/trust.h"

/* What time() says in every target that uses this file (Unix seconds). */
#define FUZZ_NOW 1750000000

struct fuzz_home {
    const char *folder; /* everything is below it; "own" and "peer" have the identities */
    struct paths paths;
    struct identity *own, *peer;
    struct trust_entry entry; /* of the peer, "peer" */
    struct trust trust;       /* that alone */
};

/* The only one, made with the first call; gone when the program ends. */
const struct fuzz_home *fuzz_home(void);

/* Write a file FOLDER/NAME, of mode 0600; the folder is made. */
void fuzz_write(const char *folder, const char *name, const void *data, size_t size);
/* The JSON (borrowed; NULL: no file) as a file's text. */
void fuzz_write_json(const char *folder, const char *name, const json_t *json);

#endif
