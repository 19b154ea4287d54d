/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "host/backend_ask.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <linux/vhost.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"

/* Linux 6.17, include/uapi/linux/vhost.h */
#ifndef VHOST_GET_FEATURES_ARRAY
struct vhost_features_array {
    __u64 count;
    __u64 features[];
};
#define VHOST_GET_FEATURES_ARRAY _IOR(VHOST_VIRTIO, 0x83, struct vhost_features_array)
#endif

#define FEATURE_WORDS 2

/* From here to become(): in the child, only what is async-signal-safe. */

static void fail(struct backend_answer *answer, enum backend_step step)
{
    answer->step = step;
    answer->error = errno;
}

/* The feature words, as QEMU 10.2's hw/virtio/vhost-backend.c vhost_kernel_get_features asks. */
static bool read_words(int fd, uint64_t words[FEATURE_WORDS])
{
    uint64_t array[1 + FEATURE_WORDS] = {FEATURE_WORDS};
    if (ioctl(fd, VHOST_GET_FEATURES_ARRAY, array) == 0) {
        memcpy(words, array + 1, FEATURE_WORDS * sizeof(words[0]));
        return true;
    }
    memset(words, 0, FEATURE_WORDS * sizeof(words[0]));
    return ioctl(fd, VHOST_GET_FEATURES, words) == 0;
}

static void ask_vhost(const struct backend_question *question, struct backend_answer *answer)
{
    uint64_t words[FEATURE_WORDS];
    size_t count;
    const struct backend_feature *features = backend_features(&count);
    if (question->loaded && access(question->loaded, F_OK) < 0) {
        fail(answer, access(question->path, F_OK) == 0 ? BACKEND_NOT_LOADED : BACKEND_OPEN);
        return;
    }
    autoclose int fd = open(question->path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        fail(answer, BACKEND_OPEN);
        return;
    }
    /* Refused by all others: they have no such question. */
    if (ioctl(fd, VHOST_VDPA_GET_DEVICE_ID, &answer->kind) < 0)
        answer->kind = 0;
    if (!read_words(fd, words)) {
        fail(answer, BACKEND_QUESTION);
        return;
    }
    for (size_t i = 0; i < count && i < BACKEND_FEATURES_MAX; i++)
        answer->has[i] = strcmp(features[i].backend, question->backend) == 0 &&
                         features[i].how == PROBE_VIRTIO_BIT &&
                         features[i].value < FEATURE_WORDS * 64 &&
                         words[features[i].value / 64] >> features[i].value % 64 & 1;
    answer->step = BACKEND_ANSWERED;
}

/* A tap that nobody else sees: as QEMU's net/tap-linux.c tap_open makes one. */
static int open_tap(const char *path, unsigned *flags, struct backend_answer *answer)
{
    struct ifreq request = {0};
    autoclose int fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        fail(answer, BACKEND_OPEN);
        return -1;
    }
    if (ioctl(fd, TUNGETFEATURES, flags) < 0) {
        fail(answer, BACKEND_QUESTION);
        return -1;
    }
    request.ifr_flags = (short)(IFF_TAP | IFF_NO_PI | (*flags & IFF_VNET_HDR));
    if (ioctl(fd, TUNSETIFF, &request) < 0) {
        fail(answer, BACKEND_TAP);
        return -1;
    }
    return steal_fd(&fd);
}

/* 1: it has the feature, 0: it has not, -1 with errno. What the kernel does not know is EINVAL
 * (drivers/net/tun.c set_offload, __tun_chr_ioctl). */
static int try_tap(int fd, unsigned flags, const struct backend_feature *feature)
{
    int size = (int)feature->value;
    if (feature->how == PROBE_TUN_FLAG)
        return (flags & feature->value) == feature->value;
    if ((feature->how == PROBE_TUN_OFFLOAD ? ioctl(fd, TUNSETOFFLOAD, (unsigned long)feature->value)
                                           : ioctl(fd, TUNSETVNETHDRSZ, &size)) == 0)
        return 1;
    return errno == EINVAL ? 0 : -1;
}

/* A network namespace for this process alone. Without the rights in this one, a user namespace
 * gives them over a new network namespace. A sandbox that says yes and does nothing is not
 * believed: the tap would be the host's. False with errno. */
static bool leave_network(void)
{
    static const char path[] = "/proc/self/ns/net";
    struct stat before, after;
    if (stat(path, &before) < 0 ||
        (unshare(CLONE_NEWNET) < 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0) ||
        stat(path, &after) < 0)
        return false;
    errno = EPERM;
    return before.st_dev != after.st_dev || before.st_ino != after.st_ino;
}

static void ask_tun(const struct backend_question *question, struct backend_answer *answer)
{
    unsigned flags = 0;
    size_t count;
    const struct backend_feature *features = backend_features(&count);
    if (!leave_network()) {
        fail(answer, BACKEND_NAMESPACE);
        return;
    }
    autoclose int fd = open_tap(question->path, &flags, answer);
    if (fd < 0)
        return;
    for (size_t i = 0; i < count && i < BACKEND_FEATURES_MAX; i++) {
        if (strcmp(features[i].backend, question->backend) != 0)
            continue;
        int has = try_tap(fd, flags, &features[i]);
        if (has < 0) {
            fail(answer, BACKEND_QUESTION);
            return;
        }
        answer->has[i] = has > 0;
    }
    /* Closing the tap would wait for all CPUs (rcu_barrier, 20 ms and more). One that stays goes
     * with its namespace, and so with this process, and nobody waits. */
    ioctl(fd, TUNSETPERSIST, 1UL);
    answer->step = BACKEND_ANSWERED;
}

_Noreturn static void become(const struct backend_question *questions, size_t count, int report,
                             pid_t parent)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    for (size_t i = 0; i < count; i++) {
        struct backend_answer answer = {0};
        if (strcmp(questions[i].backend, "tun") == 0)
            ask_tun(&questions[i], &answer);
        else
            ask_vhost(&questions[i], &answer);
        if (write(report, &answer, sizeof(answer)) != sizeof(answer)) /* whole: below PIPE_BUF */
            _exit(1);
    }
    _exit(0);
}

/* Answers until the child has ended or the deadline; how many. */
static size_t collect(int fd, size_t count, deadline when, struct backend_answer *answers)
{
    struct pollfd readable = {.fd = fd, .events = POLLIN};
    size_t got = 0;
    while (got < count) {
        int n = poll(&readable, 1, deadline_left_ms(when));
        if (n < 0 && errno == EINTR)
            continue;
        ssize_t length = n > 0 ? read(fd, &answers[got], sizeof(answers[got])) : 0;
        if (length < 0 && errno == EINTR)
            continue;
        if (length != sizeof(answers[got]))
            break;
        got++;
    }
    return got;
}

bool backend_ask(const struct backend_question *questions, size_t count, deadline when,
                 struct backend_answer *answers, int *ended_by, struct error *err)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return error_set_errno(err, STATUS_INTERNAL, errno, "cannot ask the kernel");
    autoclose int ours = ends[0], theirs = ends[1];
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid < 0)
        return error_set_errno(err, STATUS_INTERNAL, errno, "cannot ask the kernel");
    if (pid == 0)
        become(questions, count, theirs, parent);
    close(steal_fd(&theirs));
    memset(answers, 0, count * sizeof(*answers));
    int status = 0;
    bool whole = collect(ours, count, when, answers) == count;
    bool late = !whole && deadline_left_ms(when) == 0;
    if (!whole)
        kill(pid, SIGKILL); /* if it has not ended by itself */
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    *ended_by = !whole && !late && WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    return true;
}
