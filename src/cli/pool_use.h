/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The pool, as the commands use it: an agreement that it handed out is a stranger's.
 */
#ifndef QML_CLI_POOL_USE_H
#define QML_CLI_POOL_USE_H

#include "pool/pool.h"
#include "vm/agreement.h"

/* For whom an agreement is judged; all borrowed. */
struct pool_use {
    const char *vm;
    const struct trust *trust;
    const char *pin; /* of this host */
};

/* A document of an agreement about this VM, complete, with a party that is trusted here now or that
 * is this host. STATUS_DATA, STATUS_NOT_TRUSTED. */
bool pool_use_check(const struct pool_use *use, json_t *document, struct agreement *agreement,
                    struct error *err);

/* The same for struct pool_judge; context is a struct pool_use. */
bool pool_use_judge(void *context, json_t *document, int64_t *issued);

#endif
