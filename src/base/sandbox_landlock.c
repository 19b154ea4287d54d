/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Landlock, by its system calls: the C library has no functions for them. Its rights by version are
 * in Linux Documentation/userspace-api/landlock.rst; headers may be older than the kernel.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/sandbox.h"

#define RIGHTS_READ (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
/* Making devices and executing are in nobody's rights. */
#define RIGHTS_WRITE                                                                               \
    (RIGHTS_READ | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR |                 \
     LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG |  \
     LANDLOCK_ACCESS_FS_MAKE_SOCK)
#define RIGHTS_FIRST ((LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1) /* all of version 1 */
#define RIGHT_REFER (UINT64_C(1) << 13)                       /* version 2 */
#define RIGHT_TRUNCATE (UINT64_C(1) << 14)                    /* version 3 */
#define RIGHT_IOCTL_DEVICE (UINT64_C(1) << 15)                /* version 5 */
#define NET_CONNECT_TCP (UINT64_C(1) << 1)                    /* version 4 */
#define NET_BIND_TCP (UINT64_C(1) << 0)
#define SCOPE_ABSTRACT_SOCKETS (UINT64_C(1) << 0) /* version 6 */
#define SCOPE_SIGNALS (UINT64_C(1) << 1)

/* As of version 6; an older kernel wants the bytes that it does not know to be zero. */
struct rules {
    uint64_t files;
    uint64_t network;
    uint64_t scopes;
};

static uint64_t handled_files(long version)
{
    return RIGHTS_FIRST | (version >= 2 ? RIGHT_REFER : 0) | (version >= 3 ? RIGHT_TRUNCATE : 0) |
           (version >= 5 ? RIGHT_IOCTL_DEVICE : 0);
}

/* Allow what is under each of the folders. */
static bool allow(int ruleset, const char *const *folders, uint64_t rights, struct error *err)
{
    for (; folders && *folders; folders++) {
        autoclose int fd = open(*folders, O_PATH | O_CLOEXEC);
        if (fd < 0 && (errno == ENOENT || errno == EACCES))
            continue;
        struct landlock_path_beneath_attr rule = {.allowed_access = rights, .parent_fd = fd};
        if (fd < 0 ||
            syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0)
            return error_set_errno(err, STATUS_INTERNAL, errno, "cannot allow %s", *folders);
    }
    return true;
}

bool sandbox_restrict_files(const struct sandbox *sandbox, struct error *err)
{
    long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    if (version < 1)
        return true; /* the kernel has no Landlock, or it is switched off */
    bool guardian = sandbox->kind == SANDBOX_GUARDIAN;
    struct rules rules = {.files = handled_files(version)};
    if (version >= 4) /* the guardian looks for free ports */
        rules.network = NET_CONNECT_TCP | (guardian ? 0 : NET_BIND_TCP);
    if (version >= 6) /* the guardian ends QEMU */
        rules.scopes = SCOPE_ABSTRACT_SOCKETS | (guardian ? 0 : SCOPE_SIGNALS);
    size_t size = version >= 6   ? sizeof(rules)
                  : version >= 4 ? offsetof(struct rules, scopes)
                                 : offsetof(struct rules, network);
    autoclose int ruleset = (int)syscall(SYS_landlock_create_ruleset, &rules, size, 0);
    if (ruleset < 0)
        return error_set_errno(err, STATUS_INTERNAL, errno, "the kernel takes no Landlock rules");
    if (guardian) {
        uint64_t write = RIGHTS_WRITE | (rules.files & (RIGHT_REFER | RIGHT_TRUNCATE));
        if (!allow(ruleset, sandbox->read, RIGHTS_READ, err) ||
            !allow(ruleset, sandbox->write, write, err))
            return false;
    }
    if (syscall(SYS_landlock_restrict_self, ruleset, 0) < 0)
        return error_set_errno(err, STATUS_INTERNAL, errno, "cannot take Landlock's rules on");
    return true;
}
