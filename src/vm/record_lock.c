/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Who is at work on a VM.
 */
#include <poll.h>

#include "base/cleanup.h"
#include "base/deadline.h"
#include "base/file.h"
#include "vm/record.h"

/* How long a command waits for those who need a VM for a moment. */
#define MOMENT_MS 2000
#define MOMENT_STEP_MS 20

int vm_record_lock(const struct paths *paths, const char *vm, struct error *err)
{
    autofree char *folder = path_join(paths->state, "vms", "");
    autofree char *path = string_format("%s/vms/%s.lock", paths->state, vm);
    if (!folder || !path) {
        error_no_memory(err);
        return -1;
    }
    bool busy = false;
    int fd = folder_make(folder, 0700, err) ? file_lock(path, false, &busy, err) : -1;
    if (busy)
        error_set(err, STATUS_DECISION, "another command is at work on %s: wait for its end", vm);
    return fd;
}

int vm_record_lock_soon(const struct paths *paths, const char *vm, struct error *err)
{
    deadline until = deadline_in_ms(MOMENT_MS);
    for (;;) {
        struct error busy = ERROR_INIT;
        int lock = vm_record_lock(paths, vm, &busy);
        if (lock >= 0)
            return lock;
        if (busy.status != STATUS_DECISION || deadline_left_ms(until) == 0) {
            error_set(err, busy.status, "%s", busy.message);
            return -1;
        }
        poll(NULL, 0, MOMENT_STEP_MS);
    }
}
