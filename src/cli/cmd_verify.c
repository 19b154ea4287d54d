/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "vm/verify.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "cli/cmd_agreement.h"
#include "vm/record.h"

#define GREETING_MS 2000

const struct option_spec verify_options[] = {{NULL, 0, ARGUMENT_NONE, NULL}};

/* The record of a VM that runs here. */
static bool find_running(const struct context *context, const char *vm, struct vm_record *record,
                         struct error *err)
{
    vm_record_free(record);
    if (!vm_record_load(&context->paths, vm, record, err))
        return false;
    if (!record->vm)
        return error_set(err, STATUS_USAGE,
                         "no VM %s was launched here ('agreement list' shows those that are known)",
                         vm);
    bool running = vm_record_is_running(record);
    if (record->place == PLACE_MOVED || record->place == PLACE_ELSEWHERE)
        return error_set(err, STATUS_DECISION, "%s %s %s: verify it there", vm,
                         record->place == PLACE_MOVED ? "has moved to" : "lives on", record->peer);
    if (!running)
        return error_set(err, STATUS_DECISION, "%s does not run here any more: launch it again",
                         vm);
    return true;
}

/* The agreement that it was started under. */
static bool find_agreement(const struct context *context, const struct vm_record *record,
                           struct agreement *agreement, struct error *err)
{
    char digest[DIGEST_HEX_SIZE];
    const char *vm = record->vm;
    if (!open_agreement(context, vm, STATUS_CONFIG, agreement, digest, err))
        return false;
    if (strcmp(digest, record->agreement) != 0)
        return error_set(err, STATUS_DATA,
                         "%s was started under the agreement %.12s, and the one that is kept here "
                         "is %.12s: it was changed since, so there is nothing to compare with",
                         vm, record->agreement, digest);
    return true;
}

static bool read_cpu(const struct vm_record *record, struct running_cpu *cpu, struct error *err)
{
    struct error inner = ERROR_INIT;
    autoqmp struct qmp *qmp = qmp_connect(record->socket, GREETING_MS, &inner);
    if (qmp && running_cpu_read(qmp, cpu, &inner))
        return true;
    if (inner.status != STATUS_UNAVAILABLE)
        return error_set(err, inner.status, "%s: its QEMU: %s", record->vm, inner.message);
    if (access(record->socket, F_OK) != 0 && errno == ENOENT)
        return error_set(err, STATUS_UNAVAILABLE,
                         "%s: its QEMU (pid %lld) cannot be asked any more, %s is gone: shut its "
                         "guest down, and launch it again",
                         record->vm, (long long)record->pid, record->socket);
    return error_set(err, STATUS_UNAVAILABLE,
                     "%s: its QEMU (pid %lld) cannot be asked (%s): see that no other client is at "
                     "that socket, and try again",
                     record->vm, (long long)record->pid, inner.message);
}

static bool is_same(const struct difference *a, const struct difference *b)
{
    return strcmp(a->what, b->what) == 0 && strcmp(a->agreed, b->agreed) == 0 &&
           strcmp(a->found, b->found) == 0 &&
           (a->vcpu == DIFFERENCE_MACHINE) == (b->vcpu == DIFFERENCE_MACHINE);
}

/* "0-3, 6": the vCPUs that differ as items[first] does. */
static void put_vcpus(struct strbuf *text, const struct differences *differences, size_t first)
{
    const struct difference *items = differences->items;
    int begin = items[first].vcpu, end = begin;
    strbuf_printf(text, "%d", begin);
    for (size_t i = first + 1; i < differences->count; i++) {
        if (!is_same(&items[first], &items[i]))
            continue;
        if (items[i].vcpu != end + 1) {
            if (end > begin)
                strbuf_printf(text, "-%d", end);
            begin = items[i].vcpu;
            strbuf_printf(text, ", %d", begin);
        }
        end = items[i].vcpu;
    }
    if (end > begin)
        strbuf_printf(text, "-%d", end);
}

/* A line for each thing that differs, with all the vCPUs that have it so. */
static bool put_differences(const struct differences *differences, struct error *err)
{
    for (size_t i = 0; i < differences->count; i++) {
        const struct difference *item = &differences->items[i];
        autostrbuf struct strbuf line = {0}, vcpus = {0};
        bool said = false;
        for (size_t before = 0; before < i && !said; before++)
            said = is_same(&differences->items[before], item);
        if (said)
            continue;
        if (item->vcpu != DIFFERENCE_MACHINE) {
            put_vcpus(&vcpus, differences, i);
            strbuf_printf(&line, "vCPU%s %s: ", strpbrk(vcpus.data, "-,") ? "s" : "", vcpus.data);
        }
        bool is_switch = strcmp(item->agreed, "on") == 0 || strcmp(item->agreed, "off") == 0;
        strbuf_printf(&line, "%s is %s, the agreement has %s%s", item->what, item->found,
                      is_switch ? "it " : "", item->agreed);
        if (line.failed || vcpus.failed)
            return error_no_memory(err);
        if (!put_line(line.data, err))
            return false;
    }
    return true;
}

static bool put_document(const struct vm_record *record, size_t vcpus,
                         const struct differences *differences, struct error *err)
{
    autojson json_t *array = json_array();
    for (size_t i = 0; i < differences->count; i++) {
        const struct difference *item = &differences->items[i];
        json_t *vcpu = item->vcpu == DIFFERENCE_MACHINE ? json_null() : json_integer(item->vcpu);
        if (json_array_append_new(array, json_pack("{s:o, s:s, s:s, s:s}", "vcpu", vcpu, "what",
                                                   item->what, "agreed", item->agreed, "found",
                                                   item->found)) != 0)
            return error_no_memory(err);
    }
    return put_json(json_pack("{s:s, s:s, s:I, s:s, s:I, s:O}", "vm", record->vm, "place",
                              vm_place_name(record->place), "pid", (json_int_t)record->pid,
                              "status", differences->count == 0 ? "agreed" : "differs", "vcpus",
                              (json_int_t)vcpus, "differences", array),
                    err);
}

static bool put_agreed(const struct agreement *agreement, size_t vcpus, struct error *err)
{
    const char *model = agreement->baseline.model;
    autofree char *line = string_format("%s: %zu vCPU%s as agreed (%s%s%s)", agreement->vm, vcpus,
                                        vcpus == 1 ? "" : "s", model ? model : "",
                                        model ? ", " : "", agreement->machine);
    return line ? put_line(line, err) : error_no_memory(err);
}

bool command_verify(struct context *context, int count, char **words, struct error *err)
{
    struct operands operands;
    if (!command_options(context, count, words, verify_options, NULL, &operands, err))
        return false;
    if (context->help || context->version)
        return true;
    if (operands.count != 1 || operands.rest_count >= 0 || !name_is_vm(operands.words[0]))
        return error_set(err, STATUS_USAGE, "verify needs the name of one VM");
    const char *vm = operands.words[0];
    autovmrecord struct vm_record record = {0};
    autoagreement struct agreement agreement = {0};
    autorunningcpu struct running_cpu cpu = {0};
    autodifferences struct differences differences = {0};
    /* Of one that does not run here nothing is locked: a launch of it may be about to begin. */
    if (!find_running(context, vm, &record, err))
        return false;
    /* A migration that is under way has QEMU's socket: better said at once. */
    autoclose int lock = vm_record_lock_soon(&context->paths, vm, err);
    if (lock < 0 || !find_running(context, vm, &record, err) ||
        !find_agreement(context, &record, &agreement, err) || !read_cpu(&record, &cpu, err) ||
        !verify_cpu(&agreement, &cpu, &differences, err))
        return false;
    if (context->json) {
        if (!put_document(&record, cpu.count, &differences, err))
            return false;
    } else if (!(differences.count == 0 ? put_agreed(&agreement, cpu.count, err)
                                        : put_differences(&differences, err))) {
        return false;
    }
    if (differences.count > 0)
        return error_set(err, STATUS_DRIFT,
                         "%s does not run with the CPU that was agreed on: do not migrate it; shut "
                         "it down and launch it again",
                         vm);
    return true;
}
