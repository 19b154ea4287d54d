/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What launch and receive have to know of QEMU's arguments before they ask anybody.
 */
#include "base/cleanup.h"
#include "base/log.h"
#include "cli/cmd_launch.h"
#include "vm/args_file.h"
#include "vm/config_files.h"
#include "vm/device_use.h"
#include "vm/invocation.h"

/* file: where it could stand; NULL: nowhere. */
static bool nothing_to_start(const char *file, struct error *err)
{
    return error_set(err, STATUS_USAGE,
                     "say what to start: -- qemu-system-x86_64 ...%s%s (see --help)",
                     file ? ", or write it into " : "", file ? file : "");
}

bool launch_find_arguments(struct launch *launch, const struct operands *operands,
                           struct error *err)
{
    const struct paths *paths = &launch->context->paths;
    const char *vm = launch->options.vm;
    autostrlist struct strlist argv = {0};
    autofree char *path = NULL;
    if (operands->rest_count > 0)
        return arglist_parse(&launch->arguments, operands->rest_count, operands->rest, err);
    if (!vm || operands->rest_count == 0)
        return nothing_to_start(NULL, err);
    if (!args_file_load(paths, vm, &path, &argv, err))
        return false;
    if (!path) {
        autofree char *file = args_file_path(paths, vm);
        return nothing_to_start(file, err);
    }
    return arglist_parse(&launch->arguments, (int)argv.count, argv.items, err) ||
           error_wrap(err, "%s", path);
}

/* What cannot be understood here need not be wrong: QEMU itself decides. */
static bool read_visible(struct launch *launch, struct error *err)
{
    struct error why = ERROR_INIT;
    if (visible_host_read(&launch->arguments, &launch->visible, &why))
        return true;
    if (why.status == STATUS_INTERNAL)
        return error_set(err, why.status, "%s", why.message);
    if (why.status == STATUS_INCOMPATIBLE &&
        !strlist_contains(&launch->options.accepted_differences, VISIBLE_TOO_LONG))
        return error_set(err, why.status,
                         "%s. Give it fewer devices; or nobody compares it, if "
                         "--accept-difference %s is said",
                         why.message, VISIBLE_TOO_LONG);
    log_warning("it is not compared with other hosts what a guest sees of QEMU's arguments: %s",
                why.message);
    return true;
}

bool launch_read_arguments(struct launch *launch, struct error *err)
{
    struct invocation *invocation = &launch->invocation;
    if (!invocation_read(&launch->arguments, invocation, err))
        return false;
    if (!config_files_check(invocation, false, err) ||
        !device_use_read(&launch->arguments, &launch->backends, err))
        return false;
    if (invocation->cpu_overrides.count > 0)
        return error_set(err, STATUS_USAGE,
                         "%s changes the CPU behind -cpu's back: say it with -cpu",
                         invocation->cpu_overrides.items[0]);
    if (invocation->machine_none)
        return error_set(err, STATUS_USAGE, "-machine none has no guest");
    if (!cpu_request_parse(invocation->cpu, &launch->request, err) ||
        !featureset_unite(&launch->request.off, &launch->options.deny))
        return false;
    featureset_subtract(&launch->request.on, &launch->options.deny);
    if (!read_visible(launch, err))
        return false;
    launch->vm = launch->options.vm ? launch->options.vm : invocation->name;
    if (!launch->vm)
        return error_set(err, STATUS_USAGE, "the VM has no name: give --vm NAME, or QEMU's -name");
    if (!name_is_vm(launch->vm))
        return error_set(err, STATUS_USAGE,
                         "'%.80s' (QEMU's -name) cannot name a VM: give --vm NAME", launch->vm);
    launch->accel = qemu_choose_accel((const char *const *)invocation->accels.items,
                                      invocation->accels.count, err);
    if (!launch->accel || launch->options.no_proof)
        return launch->accel != NULL;
    /* What can never be proven is said now, not when a peer is there. */
    autoproofarguments struct proof_arguments arguments = {0};
    return proof_arguments_make(invocation, "pc", launch->accel, &arguments, err);
}
