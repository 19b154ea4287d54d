/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What a process that is locked in may use, so that one that was taken over, or that strangers
 * feed, cannot use up the host.
 */
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "base/cleanup.h"
#include "base/sandbox.h"

#define MIB (UINT64_C(1) << 20)
#define AS_IT_IS RLIM_INFINITY

/* The network process opens no file; its log, which somebody else has opened, may be as long as it
 * likes. The guardian's streams are threads, and its user has other processes, which count too.
 * Data is what is written and nobody else's: the largest requests that may wait, parsed, are 600
 * MiB; a guardian's 64 streams have a stack of 8 MiB each. */
static const struct {
    int resource;
    const char *name;
    rlim_t network, guardian;
} limits[] = {
    {RLIMIT_CORE, "core files", 0, 0},
    {RLIMIT_NPROC, "processes", 0, AS_IT_IS},
    {RLIMIT_NOFILE, "descriptors", 512, 512},
    {RLIMIT_FSIZE, "the size of files", AS_IT_IS, 64 * MIB},
    {RLIMIT_DATA, "memory", 1024 * MIB, 2048 * MIB},
    {RLIMIT_MEMLOCK, "locked memory", 0, 0},
    {RLIMIT_MSGQUEUE, "message queues", 0, 0},
};

/* What is less already stays so. */
static bool lower(int resource, rlim_t most)
{
    struct rlimit limit;
    if (most == AS_IT_IS)
        return true;
    if (getrlimit(resource, &limit) < 0)
        return false;
    limit.rlim_max = limit.rlim_max < most ? limit.rlim_max : most;
    limit.rlim_cur = limit.rlim_cur < most ? limit.rlim_cur : most;
    return setrlimit(resource, &limit) == 0;
}

bool sandbox_limit(enum sandbox_kind kind, struct error *err)
{
    /* A file that is too long is an error of write(2), not the end. */
    const struct sigaction ignore = {.sa_handler = SIG_IGN};
    sigaction(SIGXFSZ, &ignore, NULL);
    for (size_t i = 0; i < COUNT_OF(limits); i++)
        if (!lower(limits[i].resource,
                   kind == SANDBOX_NETWORK ? limits[i].network : limits[i].guardian))
            return error_set_errno(err, STATUS_INTERNAL, errno, "cannot limit %s", limits[i].name);
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
        return error_set_errno(err, STATUS_INTERNAL, errno, "cannot keep memory from others");
    return true;
}
