/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * `agreement check`: drift.
 */
#include "base/cleanup.h"
#include "cli/cmd_agreement.h"
#include "vm/drift.h"

static bool put_reasons(const struct context *context, const char *vm, const char *digest,
                        const struct strlist *reasons, struct error *err)
{
    if (context->json)
        return put_json(json_pack("{s:s, s:s, s:b, s:o}", "vm", vm, "agreement", digest, "holds",
                                  reasons->count == 0, "reasons", json_from_names(reasons)),
                        err);
    for (size_t i = 0; i < reasons->count; i++)
        if (!put_line(reasons->items[i], err))
            return false;
    autofree char *line = string_format("%s: a guest sees here what was agreed", vm);
    return reasons->count > 0 || (line ? put_line(line, err) : error_no_memory(err));
}

bool agreement_check(const struct context *context, const char *vm, struct error *err)
{
    autoagreement struct agreement agreement = {0};
    autovmrecord struct vm_record record = {0};
    autoconfig struct config config = {0};
    autostrlist struct strlist reasons = {0};
    char digest[DIGEST_HEX_SIZE];
    if (!open_agreement(context, vm, STATUS_USAGE, &agreement, digest, err) ||
        !config_load(context->paths.config, context->config_file, &config, err) ||
        !vm_record_load(&context->paths, vm, &record, err) ||
        !drift_check(&context->paths, &config, &agreement, digest, &record, &reasons, NULL, err) ||
        !put_reasons(context, vm, digest, &reasons, err))
        return false;
    return reasons.count == 0 ||
           error_set(err, STATUS_DRIFT,
                     "%s no longer gives %s what was agreed on: a guest that is restarted or moves "
                     "here would see something else: undo that change, or launch it anew with "
                     "--renegotiate",
                     config.host_name, vm);
}
