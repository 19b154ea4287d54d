/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "migration/migrate.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/progress.h"
#include "cli/tofu.h"

#define BANDWIDTH_MIN 1024
#define MULTIFD_MAX 63 /* and the main channel */

struct migrate_command {
    struct context *context;
    struct migration_options options;
    struct progress progress;
    bool tofu; /* ask a person about a peer that is not known */
};

static bool set_to(void *target, const char *value, struct error *err)
{
    ((struct migrate_command *)target)->options.to = value;
    return true;
}

/* Bytes a second, with K, M or G for powers of 1024. */
static bool set_bandwidth(void *target, const char *value, struct error *err)
{
    static const char suffixes[] = "KMG";
    autofree char *digits = strdup(value);
    uint64_t number, factor = 1;
    size_t length = strlen(value);
    const char *suffix = length > 1 ? strchr(suffixes, value[length - 1]) : NULL;
    if (!digits)
        return error_no_memory(err);
    if (suffix && *suffix) {
        digits[length - 1] = '\0';
        factor = (uint64_t)1 << (10 * (suffix - suffixes + 1));
    }
    if (!parse_number(digits, 1, (uint64_t)1 << 30, &number) || number > (1ULL << 50) / factor)
        return error_set(err, STATUS_USAGE, "--bandwidth: '%.40s' is not a rate like 100M", value);
    if (number * factor < BANDWIDTH_MIN) /* QEMU counts in tenths of a second, and 0 is no limit */
        return error_set(err, STATUS_USAGE, "--bandwidth: at least 1K bytes a second");
    ((struct migrate_command *)target)->options.wishes.bandwidth = (int64_t)(number * factor);
    return true;
}

static bool set_downtime(void *target, const char *value, struct error *err)
{
    uint64_t number;
    if (!parse_number(value, 1, 2000000, &number))
        return error_set(err, STATUS_USAGE, "--downtime: '%.40s' is not milliseconds", value);
    ((struct migrate_command *)target)->options.wishes.downtime_ms = (int64_t)number;
    return true;
}

static bool set_multifd(void *target, const char *value, struct error *err)
{
    uint64_t number;
    if (!parse_number(value, 1, MULTIFD_MAX, &number))
        return error_set(err, STATUS_USAGE, "--multifd: '%.40s' is not 1 to %d channels", value,
                         MULTIFD_MAX);
    ((struct migrate_command *)target)->options.wishes.multifd = (int)number;
    return true;
}

static bool set_postcopy(void *target, const char *value, struct error *err)
{
    ((struct migrate_command *)target)->options.wishes.postcopy = true;
    return true;
}

static bool set_auto_converge(void *target, const char *value, struct error *err)
{
    ((struct migrate_command *)target)->options.wishes.auto_converge = true;
    return true;
}

static bool set_direct(void *target, const char *value, struct error *err)
{
    ((struct migrate_command *)target)->options.wishes.direct = true;
    return true;
}

static bool set_resume_on(void *target, const char *value, struct error *err)
{
    enum migration_resume *resume_on = &((struct migrate_command *)target)->options.resume_on;
    if (strcmp(value, "source") == 0)
        *resume_on = RESUME_ON_SOURCE;
    else if (strcmp(value, "destination") == 0)
        *resume_on = RESUME_ON_DESTINATION;
    else
        return error_set(err, STATUS_USAGE, "--resume-on is source or destination");
    return true;
}

static bool set_tofu(void *target, const char *value, struct error *err)
{
    ((struct migrate_command *)target)->tofu = true;
    return true;
}

static bool set_keep_source(void *target, const char *value, struct error *err)
{
    ((struct migrate_command *)target)->options.keep_source = true;
    return true;
}

const struct option_spec migrate_options[] = {
    {"to", 0, ARGUMENT_REQUIRED, set_to},
    {"tofu", 0, ARGUMENT_NONE, set_tofu},
    {"bandwidth", 0, ARGUMENT_REQUIRED, set_bandwidth},
    {"downtime", 0, ARGUMENT_REQUIRED, set_downtime},
    {"multifd", 0, ARGUMENT_REQUIRED, set_multifd},
    {"postcopy", 0, ARGUMENT_NONE, set_postcopy},
    {"auto-converge", 0, ARGUMENT_NONE, set_auto_converge},
    {"direct", 0, ARGUMENT_NONE, set_direct},
    {"keep-source", 0, ARGUMENT_NONE, set_keep_source},
    {"resume-on", 0, ARGUMENT_REQUIRED, set_resume_on},
    {NULL, 0, ARGUMENT_NONE, NULL},
};

static void report(void *context, const struct progress_sample *sample)
{
    struct migrate_command *command = context;
    if (sample)
        progress_show(&command->progress, sample, clock_now_ms());
    else
        progress_clear(&command->progress);
}

static struct progress begin_progress(const struct context *context, const char *vm)
{
    int color = context->color == COLOR_ALWAYS ? 1 : context->color == COLOR_NEVER ? 0 : -1;
    return progress_begin(context->json ? STDOUT_FILENO : STDERR_FILENO, vm, context->json,
                          log_get_level() < LOG_LEVEL_INFO, color);
}

static json_t *number_or_null(int64_t number)
{
    return number < 0 ? json_null() : json_integer(number);
}

/* One line, or the last document. */
static bool put_result(const struct context *context, const char *vm,
                       const struct migration_result *result, struct error *err)
{
    if (context->json)
        return put_json(json_pack("{s:s, s:s, s:s?, s:o, s:o, s:o}", "status", "completed", "vm",
                                  vm, "to", *result->peer ? result->peer : NULL, "transferred",
                                  number_or_null(result->transferred), "elapsed_ms",
                                  number_or_null(result->elapsed_ms), "downtime_ms",
                                  number_or_null(result->downtime_ms)),
                        err);
    if (!*result->peer) /* --resume-on has said what it did */
        return true;
    autofree char *size = progress_size(result->transferred);
    if (result->transferred < 0 || result->elapsed_ms < 0 || result->downtime_ms < 0 || !size)
        log_info("%s has moved to %s", vm, result->peer);
    else
        log_info("%s has moved to %s: %s in %.1f s, stopped for %lld ms", vm, result->peer, size,
                 (double)result->elapsed_ms / 1000, (long long)result->downtime_ms);
    return true;
}

static bool check_options(const struct migration_options *options, struct error *err)
{
    const struct migration_wishes *wishes = &options->wishes;
    bool any = options->to || options->keep_source || wishes->bandwidth > 0 ||
               wishes->downtime_ms > 0 || wishes->multifd > 0 || wishes->postcopy ||
               wishes->auto_converge || wishes->direct;
    if (options->resume_on != RESUME_BY_ITSELF && any)
        return error_set(err, STATUS_USAGE, "--resume-on takes no other option");
    if (wishes->multifd > 0 && wishes->postcopy)
        return error_set(err, STATUS_USAGE, "--postcopy and --multifd do not go together");
    /* A stream between the QEMUs themselves cannot be given a successor. */
    if (wishes->direct && wishes->postcopy)
        return error_set(err, STATUS_USAGE, "--postcopy and --direct do not go together");
    return true;
}

/* --tofu: whoever --to means is trusted before the migration looks for it. */
static bool meet_peer(const struct migrate_command *command, struct error *err)
{
    const struct context *context = command->context;
    autotrust struct trust trust = {0};
    if (!command->tofu || !command->options.to)
        return true;
    autoidentity struct identity *identity = identity_load(context->paths.config, err);
    return identity && trust_load(context->paths.config, &trust, err) &&
           tofu_meet(context, identity, "--to", command->options.to, &trust, err);
}

bool command_migrate(struct context *context, int count, char **words, struct error *err)
{
    struct migrate_command command = {.context = context};
    struct migration_result result = {0};
    struct operands operands;
    if (!command_options(context, count, words, migrate_options, &command, &operands, err))
        return false;
    if (context->help || context->version)
        return true;
    if (operands.count != 1 || operands.rest_count >= 0 || !name_is_vm(operands.words[0]))
        return error_set(err, STATUS_USAGE, "migrate needs the name of one VM");
    if (!check_options(&command.options, err))
        return false;
    const char *vm = operands.words[0];
    catch_interrupts(false);
    signal(SIGPIPE, SIG_IGN); /* who reads the progress may go: the guest is more important */
    if (!meet_peer(&command, err))
        return false;
    command.progress = begin_progress(context, vm);
    command.options.interrupted = &interrupted;
    command.options.report = report;
    command.options.context = &command;
    bool good = migrate_vm(&context->paths, vm, &command.options, &result, err);
    progress_clear(&command.progress);
    if (!good)
        return false;
    /* Wherever the result cannot be written: that it has moved is to be known. */
    if (put_result(context, vm, &result, err))
        return true;
    log_error("%s has moved to %s all the same", vm, result.peer);
    return false;
}
