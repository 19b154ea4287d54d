/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "host/probe_key.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "cpu/feature_table.h"
#include "device/backend_table.h"
#include "host/qemu_files.h"

/* A line for what is at path: its identity, or the path alone when there is nothing. */
static bool push_identity(struct strlist *list, const char *path)
{
    struct stat st;
    if (stat(path, &st) < 0)
        return strlist_push(list, path);
    return strlist_push_owned(list, file_identity(path, &st));
}

/* Where QEMU looks for its modules (util/module.c module_load, util/cutils.c get_relocated_path,
 * QEMU 7.2 to 10.0): $QEMU_MODULE_DIR, the folder it was built for, seen from where the program
 * lies, and a package's own under /var/run/qemu. */
static json_t *module_folders(const char *binary)
{
    static const char *const beside[] = {"../lib/qemu", "../lib64/qemu",
                                         "../lib/x86_64-linux-gnu/qemu", "qemu-bundle"};
    static const char *const fixed[] = {"/usr/lib/qemu", "/usr/lib64/qemu",
                                        "/usr/lib/x86_64-linux-gnu/qemu", "/var/run/qemu"};
    autostrlist struct strlist list = {0};
    const char *own = getenv("QEMU_MODULE_DIR");
    int folder = (int)(strrchr(binary, '/') + 1 - binary);
    bool good = !own || push_identity(&list, own);
    for (size_t i = 0; good && i < sizeof(beside) / sizeof(beside[0]); i++) {
        autofree char *path = string_format("%.*s%s", folder, binary, beside[i]);
        good = path && push_identity(&list, path);
    }
    for (size_t i = 0; good && i < sizeof(fixed) / sizeof(fixed[0]); i++)
        good = push_identity(&list, fixed[i]);
    return good ? json_from_names(&list) : NULL;
}

/* What ld.so(8) goes by. */
static json_t *loader(void)
{
    autostrlist struct strlist list = {0}, folders = {0};
    const char *path = getenv("LD_LIBRARY_PATH");
    bool good =
        push_identity(&list, "/etc/ld.so.cache") && push_identity(&list, "/etc/ld.so.preload");
    for (char **variable = environ; good && variable && *variable; variable++)
        if (string_starts_with(*variable, "LD_") ||
            string_starts_with(*variable, "GLIBC_TUNABLES=") ||
            string_starts_with(*variable, "QEMU_MODULE_DIR="))
            good = strlist_push(&list, *variable);
    good = good && (!path || strlist_split(&folders, path, ':'));
    for (size_t i = 0; good && i < folders.count; i++)
        good = push_identity(&list, folders.items[i]);
    if (!good)
        return NULL;
    strlist_sort(&list);
    return json_from_names(&list);
}

static json_t *asked(const struct probe_parameters *parameters)
{
    if (!parameters)
        return json_string("open");
    return json_pack("{s:s, s:s, s:s, s:b}", "machine", parameters->machine, "accel",
                     parameters->accel, "kernel_irqchip",
                     parameters->kernel_irqchip ? parameters->kernel_irqchip : "", "cpu_pm",
                     (int)parameters->cpu_pm);
}

json_t *probe_key_words(const struct qemu_binary *binary, const struct probe_parameters *parameters,
                        const struct host_view *view, struct error *err)
{
    autofree char *path = realpath(binary->path, NULL);
    struct stat st;
    if (!path || stat(path, &st) < 0) {
        error_set_errno(err, STATUS_CONFIG, errno, "%s", binary->path);
        return NULL;
    }
    if (st.st_dev != binary->device || st.st_ino != binary->inode) {
        error_set(err, STATUS_CONFIG, "%s has been replaced meanwhile", binary->path);
        return NULL;
    }
    autofree char *identity = file_identity(path, &st);
    json_t *words =
        identity ? json_pack("{s:i, s:i, s:i, s:o, s:s, s:s, s:o, s:o, s:s, s:O, s:s, s:O}",
                             "format", PROBE_CACHE_VERSION, "table", FEATURE_TABLE_VERSION,
                             "backend_table", BACKEND_TABLE_VERSION, "asked", asked(parameters),
                             "path", binary->path, "binary", identity, "modules",
                             module_folders(path), "loader", loader(), "boot_id", view->boot_id,
                             "kernel", view->kernel, "cpuid", view->cpuid, "kvm", view->kvm)
                 : NULL;
    if (!words)
        error_no_memory(err);
    return words;
}

json_t *probe_key_words_now(const struct qemu_binary *binary,
                            const struct probe_parameters *parameters, struct error *err)
{
    autohostview struct host_view view = {0};
    return host_view_read(&view, err) ? probe_key_words(binary, parameters, &view, err) : NULL;
}
