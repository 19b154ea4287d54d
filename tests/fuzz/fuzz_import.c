/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Recorded QMP replies: what is made of them is a profile that can be stored and read.
 */
#include "fuzz.h"
#include "host/profile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct error err = ERROR_INIT;
    autojson json_t *payload = profile_import((const char *)data, size, &err);
    if (!payload) {
        MUST(err.status == STATUS_DATA);
        return 0;
    }
    autofree char *text = fuzz_written(json_incref(payload));
    autojson json_t *again = fuzz_reread(text);
    autoprofile struct profile profile = {0};
    MUST(profile_read(again, &profile, NULL));
    MUST(profile.imported);
    return 0;
}
