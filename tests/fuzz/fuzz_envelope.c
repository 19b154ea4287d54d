/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A signed statement from outside.
 */
#include "fuzz.h"
#include "host/profile.h"
#include "peer/envelope.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct error err = ERROR_INIT;
    autoenvelope struct envelope envelope = {0};
    if (!envelope_open((const char *)data, size, PROFILE_SIZE_MAX * 2, PROFILE_TYPE, &envelope,
                       &err))
        MUST(err.status == STATUS_DATA && *err.message);
    else
        MUST(envelope.payload && *envelope.pin);
    return 0;
}
