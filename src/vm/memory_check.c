/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "vm/memory_check.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "host/qemu_session.h"

#define MEMORY_CHECK_MS 60000 /* KVM's tables for terabytes take their time */
#define BACKEND "qml"

struct memory_run {
    struct qemu_session session;
    const struct proof_arguments *arguments;
    struct error failure; /* why it has not started */
};

void memory_run_free(struct memory_run *run)
{
    if (!run)
        return;
    qemu_session_end(&run->session);
    free(run);
}

/* -preconfig stops QEMU when it has read -m, and has neither made the memory nor the machine. */
static bool make_arguments(const struct proof_arguments *arguments, const char *cpu,
                           struct strlist *list)
{
    return strlist_push(list, "-preconfig") && strlist_push(list, "-machine") &&
           strlist_pushf(list, "%s%s%s", arguments->machine, arguments->memory_options ? "," : "",
                         arguments->memory_options ? arguments->memory_options : "") &&
           strlist_push(list, "-accel") && strlist_push(list, arguments->accel) &&
           strlist_push(list, "-cpu") && strlist_push(list, cpu) &&
           (!arguments->memory ||
            (strlist_push(list, "-m") && strlist_push(list, arguments->memory)));
}

/* Give the machine memory of the size that QEMU itself read, in a file without a name that stays
 * empty: the kernel counts shared memory when it is touched, private memory, which is QEMU's
 * default, when it is mapped (also with reserve=off where overcommitting is forbidden). */
static bool give_memory(struct qemu_session *session, struct error *err)
{
    autojson json_t *memory = NULL;
    json_t *question = json_pack("{s:s, s:s}", "path", "/machine", "property", "memory");
    if (!question)
        return error_no_memory(err);
    if (!qemu_session_ask(session, "qom-get", question, &memory, err))
        return false;
    const json_t *size = json_object_get(memory, "size");
    if (!json_is_integer(size))
        return error_set(err, STATUS_CONFIG, "QEMU does not tell the size of the memory");
    json_t *backend = json_pack("{s:s, s:s, s:I}", "qom-type", "memory-backend-memfd", "id",
                                BACKEND, "size", json_integer_value(size));
    if (!backend)
        return error_no_memory(err);
    if (!qemu_session_ask(session, "object-add", backend, NULL, err))
        return false;
    json_t *link = json_pack("{s:s, s:s, s:s}", "path", "/machine", "property", "memory-backend",
                             "value", "/objects/" BACKEND);
    return link ? qemu_session_ask(session, "qom-set", link, NULL, err) : error_no_memory(err);
}

/* QEMU's own words behind those of qemu_session.c; NULL if there are none, for then it was not the
 * memory: it does not answer, cannot be executed, was killed. */
static const char *refusal(const char *message)
{
    static const char *const before[] = {" when it was asked what it can do: ", "QEMU: "};
    for (size_t i = 0; i < sizeof(before) / sizeof(*before); i++) {
        const char *at = strstr(message, before[i]);
        if (at)
            return at + strlen(before[i]);
    }
    return NULL;
}

bool memory_check_start(struct memory_run **run, const char *qemu,
                        const struct proof_arguments *arguments, const char *cpu, struct error *err)
{
    autostrlist struct strlist list = {0};
    *run = NULL;
    if (!arguments->memory && !arguments->memory_options)
        return true;
    automemoryrun struct memory_run *made = malloc(sizeof(*made));
    if (!made)
        return error_no_memory(err);
    *made = (struct memory_run){.session = QEMU_SESSION_INIT, .arguments = arguments};
    if (!make_arguments(arguments, cpu, &list))
        return error_no_memory(err);
    qemu_session_begin(&made->session, qemu, &list, deadline_in_ms(MEMORY_CHECK_MS),
                       &made->failure);
    *run = STEAL(made);
    return true;
}

bool memory_check_finish(struct memory_run *run, struct error *err)
{
    if (!run)
        return true;
    struct error *failure = &run->failure;
    struct qemu_session *session = &run->session;
    if (failure->status == STATUS_OK && qemu_session_greet(session, failure) &&
        give_memory(session, failure) &&
        qemu_session_ask(session, "x-exit-preconfig", NULL, NULL, failure)) {
        qemu_session_quit(session);
        return true; /* the machine is made */
    }
    const char *words = failure->status == STATUS_CONFIG ? refusal(failure->message) : NULL;
    const char *memory = run->arguments->memory, *options = run->arguments->memory_options;
    if (!words)
        return error_set(err, failure->status, "the guest's memory cannot be checked: %s",
                         failure->message);
    return error_set(err, STATUS_INCOMPATIBLE, "QEMU does not take%s%s%s%s: %s",
                     memory ? " -m " : "", memory ? memory : "", options ? " -machine " : "",
                     options ? options : "", words);
}

bool memory_check(const char *qemu, const struct proof_arguments *arguments, const char *cpu,
                  struct error *err)
{
    automemoryrun struct memory_run *run = NULL;
    return memory_check_start(&run, qemu, arguments, cpu, err) && memory_check_finish(run, err);
}
