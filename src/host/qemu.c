/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "host/qemu.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/process.h"
#include "host/probe_cache.h"
#include "host/probe_key.h"
#include "host/qemu_files.h"
#include "host/qemu_session.h"

void qemu_free(struct qemu *qemu)
{
    free(qemu->binary.path);
    free(qemu->version);
    free(qemu->package);
    machine_list_free(&qemu->machines);
    host_view_free(&qemu->view);
    *qemu = (struct qemu){0};
}

static bool binary_stat(const char *path, struct stat *st, struct error *err)
{
    if (stat(path, st) < 0)
        return error_set_errno(err, STATUS_CONFIG, errno, "%s", path);
    return true;
}

bool qemu_binary_check(const struct qemu_binary *binary, struct error *err)
{
    struct stat st;
    if (!binary_stat(binary->path, &st, err))
        return false;
    if (st.st_dev != binary->device || st.st_ino != binary->inode ||
        st.st_ctim.tv_sec != binary->changed.tv_sec ||
        st.st_ctim.tv_nsec != binary->changed.tv_nsec)
        return error_set(err, STATUS_CONFIG,
                         "%s is not the QEMU that was examined any more: start again",
                         binary->path);
    return true;
}

static bool read_machines(struct qemu_session *session, struct machine_list *machines,
                          struct error *err)
{
    autojson json_t *reply = NULL;
    size_t i;
    json_t *entry;
    if (!qemu_session_ask(session, "query-machines", NULL, &reply, err))
        return false;
    json_array_foreach(reply, i, entry)
    {
        const char *name = json_string_value(json_object_get(entry, "name"));
        const char *alias = json_string_value(json_object_get(entry, "alias"));
        if (!name || !name_is_machine(name) || (alias && !name_is_machine(alias)))
            continue; /* no name of ours can mean it */
        if (!machine_list_add(machines, name, alias,
                              json_is_true(json_object_get(entry, "deprecated")),
                              json_is_true(json_object_get(entry, "is-default"))))
            return error_no_memory(err);
    }
    return true;
}

static bool check_target(struct qemu_session *session, struct error *err)
{
    autojson json_t *reply = NULL;
    if (!qemu_session_ask(session, "query-target", NULL, &reply, err))
        return false;
    const char *arch = json_string_value(json_object_get(reply, "arch"));
    if (!arch || strcmp(arch, "x86_64") != 0)
        return error_set(err, STATUS_CONFIG, "it emulates %.40s; only x86_64 guests are supported",
                         arch ? arch : "something unknown");
    return true;
}

static bool find_binary(const char *name, struct qemu_binary *binary, struct error *err)
{
    struct stat st;
    binary->path = process_find_executable(name, err);
    if (!binary->path || !binary_stat(binary->path, &st, err))
        return false;
    binary->device = st.st_dev;
    binary->inode = st.st_ino;
    binary->changed = st.st_ctim;
    return true;
}

/* Start it. files: what it is made of. */
static bool examine(struct qemu *qemu, struct strlist *files, struct error *err)
{
    autoqemusession struct qemu_session session = QEMU_SESSION_INIT;
    autostrlist struct strlist arguments = {0};
    const struct qemu_binary *binary = &qemu->binary;
    if (!strlist_push(&arguments, "-machine") || !strlist_push(&arguments, "none"))
        return error_no_memory(err);
    if (!qemu_session_start(&session, binary->path, &arguments, deadline_in_ms(QEMU_PROBE_MS),
                            err) ||
        !check_target(&session, err) || !read_machines(&session, &qemu->machines, err) ||
        !qemu_files_list(session.process.pid, binary->device, binary->inode, files, err))
        return error_wrap(err, "%s", binary->path);
    unsigned version = qmp_version(session.qmp);
    qemu->version = string_format("%u.%u.%u", version / 10000, version / 100 % 100, version % 100);
    qemu->package = strdup(qmp_package(session.qmp));
    return (qemu->version && qemu->package) || error_no_memory(err);
}

static json_t *answer_to_json(const struct qemu *qemu)
{
    return json_pack("{s:s, s:s, s:o}", "version", qemu->version, "package", qemu->package,
                     "machines", machine_list_to_json(&qemu->machines));
}

/* Fills what examine fills, or nothing. */
static bool answer_from_json(json_t *answer, struct qemu *qemu, struct error *err)
{
    autoqemu struct qemu kept = {0};
    const char *version, *package;
    json_t *machines;
    if (!json_take(answer, err, "what is kept", "{s:s, s:s, s:o}", "version", &version, "package",
                   &package, "machines", &machines) ||
        !machine_list_from_json(machines, &kept.machines, err))
        return false;
    kept.version = strdup(version);
    kept.package = strdup(package);
    if (!kept.version || !kept.package)
        return error_no_memory(err);
    qemu->version = STEAL(kept.version);
    qemu->package = STEAL(kept.package);
    qemu->machines = kept.machines;
    kept.machines = (struct machine_list){0};
    return true;
}

bool qemu_open_cached(const char *name, const char *state_folder, struct qemu *out,
                      struct error *err)
{
    autoqemu struct qemu qemu = {0};
    autoprobequestion struct probe_question question = {0};
    autostrlist struct strlist files = {0};
    autojson json_t *known = NULL;
    struct error doubt = ERROR_INIT;
    if (!find_binary(name, &qemu.binary, err))
        return false;
    if (state_folder) {
        if (host_view_read(&qemu.view, &doubt))
            probe_question_init(&question, probe_key_words(&qemu.binary, NULL, &qemu.view, &doubt));
        known = probe_cache_find(state_folder, &question, &files);
    }
    if (known && answer_from_json(known, &qemu, &doubt))
        log_debug("%s was examined before: %s", qemu.binary.path, question.key);
    else {
        if (*doubt.message)
            log_debug("%s is examined: %s", qemu.binary.path, doubt.message);
        strlist_free(&files);
        if (!examine(&qemu, &files, err))
            return false;
        if (question.words)
            probe_cache_store(state_folder, &question, &files,
                              probe_key_words_now(&qemu.binary, NULL, NULL), answer_to_json(&qemu));
    }
    *out = qemu;
    qemu = (struct qemu){0};
    return true;
}

bool qemu_open(const char *name, struct qemu *qemu, struct error *err)
{
    return qemu_open_cached(name, NULL, qemu, err);
}

const char *qemu_choose_accel(const char *const accels[], size_t count, struct error *err)
{
    const char *kvm_problem = NULL;
    for (size_t i = 0; i < count; i++) {
        const char *accel = accels[i];
        if (strcmp(accel, "tcg") == 0)
            return accel;
        if (strcmp(accel, "kvm") != 0)
            continue;
        autoclose int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
        if (fd >= 0)
            return accel;
        kvm_problem = strerror(errno);
    }
    if (kvm_problem)
        error_set(err, STATUS_CONFIG, "KVM is asked for, but /dev/kvm cannot be used: %s",
                  kvm_problem);
    else
        error_set(err, STATUS_CONFIG, "accelerator '%s' is not supported: use kvm or tcg",
                  count > 0 ? accels[0] : "");
    return NULL;
}
