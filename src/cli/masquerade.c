/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/masquerade.h"

#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/process.h"
#include "cli/cmd_launch.h"
#include "vm/exec.h"
#include "vm/query.h"

#define QEMU_NAME "qemu-system-x86_64"

bool masquerade_is_asked(const char *argv0)
{
    const char *slash = argv0 ? strrchr(argv0, '/') : NULL;
    return argv0 && strcmp(slash ? slash + 1 : argv0, QEMU_NAME) == 0;
}

/* The real one: the first of [qemu] binary, else the first on PATH that is not this program. */
static char *find_real(const struct config *config, struct error *err)
{
    if (config->qemu_binaries.count == 0)
        return process_find_executable(QEMU_NAME, err);
    char *path = process_find_executable(config->qemu_binaries.items[0], err);
    if (!path)
        error_wrap(err, "%s: [qemu] binary", config->path);
    return path;
}

static bool exec_real(const struct context *context, const char *path, int argc, char **argv,
                      struct error *err)
{
    autostrlist struct strlist words = {0};
    for (int i = 0; i < argc; i++)
        if (!strlist_push(&words, argv[i]))
            return error_no_memory(err);
    return exec_plain(context->start, path, &words, err);
}

/* QEMU runs no guest: it only prints something, or is asked without a machine what it can do. */
static bool has_no_guest(const struct arglist *arguments)
{
    autoinvocation struct invocation invocation = {0};
    return arglist_is_query(arguments) ||
           (invocation_read(arguments, &invocation, NULL) && invocation.machine_none);
}

static const struct option_spec *find_option(const char *name)
{
    const struct option_spec *spec = launch_options;
    while (spec->name && strcmp(spec->name, name) != 0)
        spec++;
    return spec->name ? spec : NULL;
}

/* A flag is on or off; so is --listen, which may have an address instead. */
static bool set_option(const struct option_spec *spec, const char *value,
                       struct launch_options *options, struct error *err)
{
    if (spec->argument == ARGUMENT_REQUIRED ||
        (spec->argument == ARGUMENT_ADDRESS && strchr(value, ':')))
        return spec->set(options, value, err);
    if (strcmp(value, "off") == 0)
        return true;
    if (strcmp(value, "on") != 0)
        return error_set(err, STATUS_CONFIG, "%s: '%.80s' is neither on nor off%s", spec->name,
                         value, spec->argument == ARGUMENT_ADDRESS ? ", nor [ADDR]:PORT" : "");
    return spec->set(options, NULL, err);
}

/* What [launch] says; values stay the configuration's. */
static bool read_options(const struct config *config, struct launch_options *options,
                         struct error *err)
{
    for (size_t i = 0; i < config->launch.count; i++) {
        const struct config_launch_entry *entry = &config->launch.entries[i];
        const struct option_spec *spec = find_option(entry->key);
        struct error inner = ERROR_INIT;
        if (!spec)
            return error_set(err, STATUS_INTERNAL, "[launch] has no key %s", entry->key);
        if (!set_option(spec, entry->value, options, &inner))
            return error_set(err, inner.status == STATUS_INTERNAL ? STATUS_INTERNAL : STATUS_CONFIG,
                             "%s: line %d: [launch]: %s", config->path, entry->line, inner.message);
    }
    struct error inner = ERROR_INIT;
    return launch_check_options(options, &inner) ||
           error_set(err, STATUS_CONFIG, "%s: [launch]: %s", config->path, inner.message);
}

static bool has_parties(const struct launch *launch)
{
    const struct launch_options *options = &launch->options;
    return options->peers.count + options->profiles.count > 0 || options->listen ||
           options->agreement || pool_is_configured(&launch->config);
}

/* Whether this host knows a VM of that name: then it is not for QEMU alone to start it, whoever is
 * configured. A command line that cannot be understood has no name: QEMU will say what is wrong. */
static bool is_known(const struct launch *launch, bool *known, struct error *err)
{
    const struct paths *paths = &launch->context->paths;
    autoinvocation struct invocation invocation = {0};
    autovmrecord struct vm_record record = {0};
    autojson json_t *agreement = NULL;
    if (!launch->options.vm && launch->arguments.program)
        invocation_read(&launch->arguments, &invocation, NULL);
    const char *vm = launch->options.vm ? launch->options.vm : invocation.name;
    if (!vm || !name_is_vm(vm))
        return true;
    if (!vm_record_load(paths, vm, &record, err) ||
        !agreement_load(paths->state, vm, &agreement, err))
        return false;
    *known = record.vm || agreement;
    return true;
}

static bool run(struct launch *launch, int argc, char **argv, struct error *err)
{
    struct context *context = launch->context;
    struct error config_error = ERROR_INIT, real_error = ERROR_INIT, words_error = ERROR_INIT;
    bool parsed = arglist_parse(&launch->arguments, argc, argv, &words_error);
    bool asks = parsed && has_no_guest(&launch->arguments);
    if (asks) /* QEMU alone speaks */
        log_set_level(LOG_LEVEL_ERROR);
    bool configured = paths_init(&context->paths, NULL, &config_error) &&
                      config_load(context->paths.config, NULL, &launch->config, &config_error);
    autofree char *real = find_real(&launch->config, &real_error);
    if (real && asks) /* whatever is wrong with the configuration */
        return exec_real(context, real, argc, argv, err);
    if (!configured)
        return error_set(err, config_error.status, "%s", config_error.message);
    if (!real)
        return error_set(err, real_error.status, "%s", real_error.message);
    if (!read_options(&launch->config, &launch->options, err))
        return false;
    bool known = false;
    if (!has_parties(launch) && !is_known(launch, &known, err))
        return false;
    if (!has_parties(launch) && !known)
        return exec_real(context, real, argc, argv, err);
    if (!parsed)
        return error_set(err, words_error.status, "%s", words_error.message);
    if (!launch_replace(&launch->arguments.program, real))
        return error_no_memory(err);
    return launch_with_arguments(launch, err);
}

bool masquerade_run(struct context *context, int argc, char **argv, struct error *err)
{
    struct launch launch = {.context = context, .lock = -1, .listener = -1};
    bool good = run(&launch, argc, argv, err);
    if (!good && interrupted)
        error_set(err, STATUS_INTERRUPTED, "interrupted");
    launch_free(&launch);
    return good;
}
