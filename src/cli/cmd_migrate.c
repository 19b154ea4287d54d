/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "migration/migrate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "cli/command.h"
#include "peer/trust.h"

struct migrate_command {
    struct context *context;
    const char *to;
    struct migration_options options;
    int64_t last_report_ms;
};

static bool set_to(void *target, const char *value, struct error *err)
{
    ((struct migrate_command *)target)->to = value;
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
    ((struct migrate_command *)target)->options.bandwidth = (int64_t)(number * factor);
    return true;
}

static bool set_downtime(void *target, const char *value, struct error *err)
{
    uint64_t number;
    if (!parse_number(value, 1, 2000000, &number))
        return error_set(err, STATUS_USAGE, "--downtime: '%.40s' is not milliseconds", value);
    ((struct migrate_command *)target)->options.downtime_ms = (int64_t)number;
    return true;
}

static bool set_keep_source(void *target, const char *value, struct error *err)
{
    ((struct migrate_command *)target)->options.keep_source = true;
    return true;
}

static const struct option_spec specs[] = {
    {"to", 0, ARGUMENT_REQUIRED, set_to},
    {"bandwidth", 0, ARGUMENT_REQUIRED, set_bandwidth},
    {"downtime", 0, ARGUMENT_REQUIRED, set_downtime},
    {"keep-source", 0, ARGUMENT_NONE, set_keep_source},
    {NULL, 0, ARGUMENT_NONE, NULL},
};

static double mebibytes(int64_t bytes)
{
    return bytes < 0 ? 0 : (double)bytes / 1048576;
}

/* On a terminal one line that changes, else a line a second; with --json a document each. */
static void report(void *context, const struct migration_progress *progress)
{
    struct migrate_command *command = context;
    bool terminal = isatty(STDERR_FILENO) && !command->context->json;
    if (progress->total <= 0) /* QEMU has not begun: there is nothing to tell */
        return;
    if (log_get_level() < LOG_LEVEL_INFO || progress->transferred <= 0 ||
        (!terminal && clock_now_ms() - command->last_report_ms < 1000))
        return;
    command->last_report_ms = clock_now_ms();
    if (command->context->json) {
        put_json(json_pack("{s:s, s:I, s:I, s:I, s:f, s:I}", "status", "active", "total",
                           (json_int_t)progress->total, "remaining",
                           (json_int_t)progress->remaining, "transferred",
                           (json_int_t)progress->transferred, "mbps", progress->megabits_per_second,
                           "elapsed_ms", (json_int_t)progress->elapsed_ms),
                 NULL);
        return;
    }
    double done = progress->total > 0 && progress->remaining >= 0
                      ? 100.0 * (1.0 - (double)progress->remaining / (double)progress->total)
                      : 0;
    char line[160];
    int length = snprintf(line, sizeof(line), "%5.1f %%  %.1f MiB sent, %.1f MiB left, %.0f Mbit/s",
                          done, mebibytes(progress->transferred), mebibytes(progress->remaining),
                          progress->megabits_per_second);
    if (terminal) {
        fd_write_all(STDERR_FILENO, "\r\033[K", 4, NULL);
        fd_write_all(STDERR_FILENO, line, (size_t)length, NULL);
    } else {
        log_info("%s", line);
    }
}

/* Where the destination's QEMU waits: as agreed at launch, or as --to says. */
static bool find_destination(const struct migrate_command *command, struct vm_record *record,
                             char **host, uint16_t *port, struct error *err)
{
    autotrust struct trust trust = {0};
    *port = record->peer_port;
    if (!command->to || strcmp(command->to, record->peer) == 0) {
        if (!(*host = strdup(record->peer_host)))
            return error_no_memory(err);
    } else {
        if (!trust_load(command->context->paths.config, &trust, err))
            return false;
        if (!parse_address(command->to, host, port) || !**host)
            return error_set(err, STATUS_USAGE, "--to: '%.80s' is not HOST[:PORT]", command->to);
        const struct trust_entry *entry = trust_find(&trust, *host);
        char *address = entry && entry->host ? strdup(entry->host) : NULL;
        if (address) {
            free(*host);
            *host = address;
        }
        char *name = strdup(entry ? entry->name : command->to);
        if (!name)
            return error_no_memory(err);
        free(record->peer);
        record->peer = name;
    }
    if ((!**host || *port == 0) && record->role == ROLE_DESTINATION)
        return error_set(err, STATUS_USAGE,
                         "%s was started here to be moved here: run 'migrate %s' on %s; to move it "
                         "on from here: give --to HOST:PORT",
                         record->vm, record->vm, record->peer);
    if (!**host || *port == 0)
        return error_set(err, STATUS_USAGE,
                         "where the destination's QEMU waits for %s is not known here: give --to "
                         "HOST:PORT",
                         record->vm);
    return true;
}

bool command_migrate(struct context *context, int count, char **words, struct error *err)
{
    struct migrate_command command = {.context = context};
    struct operands operands;
    if (!command_options(context, count, words, specs, &command, &operands, err))
        return false;
    if (context->help || context->version)
        return true;
    if (operands.count != 1 || operands.rest_count >= 0 || !name_is_vm(operands.words[0]))
        return error_set(err, STATUS_USAGE, "migrate needs the name of one VM");
    const char *vm = operands.words[0];
    autovmrecord struct vm_record record = {0};
    autofree char *host = NULL;
    uint16_t port;
    autoclose int lock = vm_record_lock(&context->paths, vm, err);
    if (lock < 0 || !vm_record_load(&context->paths, vm, &record, err))
        return false;
    if (!record.vm)
        return error_set(err, STATUS_USAGE, "no VM %s was launched here", vm);
    bool running = vm_record_is_running(&record);
    if (record.place == PLACE_MOVED)
        return error_set(err, STATUS_DECISION, "%s has moved to %s already", vm, record.peer);
    if (!running)
        return error_set(err, STATUS_DECISION, "%s does not run here any more", vm);
    catch_interrupts(false);
    command.options.interrupted = &interrupted;
    command.options.report = report;
    command.options.context = &command;
    struct migration_progress final = {0};
    autofree char *agreed_peer = strdup(record.peer);
    if (!agreed_peer)
        return error_no_memory(err);
    if (!find_destination(&command, &record, &host, &port, err))
        return false;
    bool moved = migrate_vm(&context->paths, &record, host, port, &command.options, &final, err);
    if (isatty(STDERR_FILENO) && !context->json && command.last_report_ms)
        fd_write_all(STDERR_FILENO, "\r\033[K", 4, NULL);
    if (!moved && record.place == PLACE_HERE && strcmp(record.peer, agreed_peer) != 0) {
        free(record.peer); /* --to led nowhere: what was agreed stands */
        record.peer = STEAL(agreed_peer);
        vm_record_store(&context->paths, &record, NULL);
    }
    if (!moved)
        return false;
    if (context->json)
        return put_json(json_pack("{s:s, s:s, s:s, s:I, s:I, s:I}", "status", "completed", "vm", vm,
                                  "to", record.peer, "transferred", (json_int_t) final.transferred,
                                  "elapsed_ms", (json_int_t) final.elapsed_ms, "downtime_ms",
                                  (json_int_t) final.downtime_ms),
                        err);
    log_info("%s has moved to %s: %.1f MiB in %.1f s, stopped for %lld ms", vm, record.peer,
             mebibytes(final.transferred), (double) final.elapsed_ms / 1000,
             (long long) final.downtime_ms);
    return true;
}
