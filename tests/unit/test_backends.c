/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What the kernel says of device backends, told by a kernel of the test's own: the linker puts
 * __wrap_open and so on in place of the calls (-Wl,--wrap).
 */
#include "unit.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/vhost.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "host/backends.h"
#include "host/backends_kept.h"

#define GET_FEATURES_ARRAY 0x8008af83UL /* Linux 6.17, include/uapi/linux/vhost.h */
#define BIT(n) (1ULL << (n))

/* A device file of the test's kernel. */
struct fake {
    const char *path; /* NULL: none */
    int open_error;
    uint64_t words[2];
    bool array; /* VHOST_GET_FEATURES_ARRAY is known */
    int error;  /* of VHOST_GET_FEATURES */
    unsigned kind;
};

enum tap_trouble { FINE, NO_NAMESPACE, PRETENCE, NO_TAP, REFUSED, HANGS, KILLED };

static struct {
    struct fake files[6];
    const char *loaded; /* /sys/class/misc/… */
    int tun_error;      /* of open */
    unsigned tun_flags, offloads, headers_to;
    enum tap_trouble trouble;
    bool in_namespace; /* in the child only */
} kernel;

static const struct fake *asked; /* what is open in the child: one at a time */

int __wrap_open(const char *path, int flags, ...);
int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...)
{
    if (strcmp(path, "/dev/net/tun") == 0) {
        if (!kernel.in_namespace)
            abort(); /* it would be the host's */
        errno = kernel.tun_error;
        return kernel.tun_error ? -1 : __real_open("/dev/null", O_RDWR);
    }
    if (!string_starts_with(path, "/dev/vhost-"))
        return __real_open(path, flags, 0600);
    for (size_t i = 0; i < COUNT(kernel.files); i++)
        if (kernel.files[i].path && strcmp(kernel.files[i].path, path) == 0) {
            asked = &kernel.files[i];
            errno = asked->open_error;
            return asked->open_error ? -1 : __real_open("/dev/null", O_RDWR);
        }
    errno = ENOENT;
    return -1;
}

static int refuse(int error)
{
    errno = error;
    return -1;
}

static int ask_tap(unsigned long request, void *argument)
{
    switch (request) {
    case TUNGETFEATURES:
        *(unsigned *)argument = kernel.tun_flags;
        return 0;
    case TUNSETIFF:
        return kernel.trouble == NO_TAP ? refuse(EPERM) : 0;
    case TUNSETOFFLOAD:
        if (kernel.trouble == HANGS)
            pause();
        if (kernel.trouble == KILLED)
            raise(SIGSYS);
        if (kernel.trouble == REFUSED)
            return refuse(EACCES);
        return ((unsigned long)argument & ~(unsigned long)kernel.offloads) ? refuse(EINVAL) : 0;
    case TUNSETVNETHDRSZ:
        return *(int *)argument > (int)kernel.headers_to ? refuse(EINVAL) : 0;
    default:
        return 0;
    }
}

int __wrap_ioctl(int fd, unsigned long request, ...);
int __wrap_ioctl(int fd, unsigned long request, ...)
{
    va_list arguments;
    va_start(arguments, request);
    void *argument = va_arg(arguments, void *);
    va_end(arguments);
    (void)fd;
    if (kernel.in_namespace)
        return ask_tap(request, argument);
    if (request == VHOST_VDPA_GET_DEVICE_ID) {
        *(uint32_t *)argument = asked->kind;
        return asked->kind ? 0 : refuse(ENOTTY);
    }
    if (request == GET_FEATURES_ARRAY) {
        if (!asked->array)
            return refuse(ENOTTY);
        memcpy((uint64_t *)argument + 1, asked->words, sizeof(asked->words));
        return 0;
    }
    if (request != VHOST_GET_FEATURES || asked->error)
        return refuse(asked->error ? asked->error : ENOTTY);
    memcpy(argument, asked->words, sizeof(asked->words[0]));
    return 0;
}

int __wrap_access(const char *path, int mode);
int __real_access(const char *path, int mode);
int __wrap_access(const char *path, int mode)
{
    if (string_starts_with(path, "/sys/class/misc/"))
        return kernel.loaded && strcmp(kernel.loaded, path) == 0 ? 0 : refuse(ENOENT);
    if (strcmp(path, "/dev/net/tun") == 0)
        return kernel.tun_error == ENOENT ? refuse(ENOENT) : 0;
    for (size_t i = 0; i < COUNT(kernel.files); i++)
        if (kernel.files[i].path && strcmp(kernel.files[i].path, path) == 0)
            return 0;
    return string_starts_with(path, "/dev/") ? refuse(ENOENT) : __real_access(path, mode);
}

int __wrap_unshare(int flags);
int __wrap_unshare(int flags)
{
    ck_assert(flags & CLONE_NEWNET);
    if (kernel.trouble == NO_NAMESPACE)
        return refuse(EPERM);
    kernel.in_namespace = kernel.trouble != PRETENCE;
    return 0;
}

/* The namespace's file is another one behind unshare. */
int __wrap_stat(const char *path, struct stat *st);
int __real_stat(const char *path, struct stat *st);
int __wrap_stat(const char *path, struct stat *st)
{
    if (strcmp(path, "/proc/self/ns/net") != 0)
        return __real_stat(path, st);
    *st = (struct stat){.st_dev = 4, .st_ino = kernel.in_namespace ? 2 : 1};
    return 0;
}

/* A folder with files of the same names in place of /dev. */
DIR *__wrap_opendir(const char *path);
DIR *__real_opendir(const char *path);
DIR *__wrap_opendir(const char *path)
{
    return __real_opendir(strcmp(path, "/dev") == 0 ? unit_folder : path);
}

static void kernel_reset(void)
{
    memset(&kernel, 0, sizeof(kernel));
    kernel.tun_flags = IFF_TUN | IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE;
    kernel.offloads = 0x1ff;
    kernel.headers_to = 24;
}

static void add_file(struct fake file)
{
    autofree char *place = in_folder(strrchr(file.path, '/') + 1);
    size_t i = 0;
    while (kernel.files[i].path)
        i++;
    kernel.files[i] = file;
    FILE *made = fopen(place, "w");
    ck_assert_ptr_nonnull(made);
    fclose(made);
}

static size_t count_descriptors(void)
{
    DIR *folder = __real_opendir("/proc/self/fd");
    size_t count = 0;
    ck_assert_ptr_nonnull(folder);
    while (readdir(folder))
        count++;
    closedir(folder);
    return count;
}

/* What came of one backend: "absent", "unknown: WHY", "known: FEATURES". Nothing may be left. */
static char *examine(const char *backend)
{
    autodeviceoffer struct device_offer offer = {.table = BACKEND_TABLE_VERSION};
    size_t before = count_descriptors(), count;
    MUST(backends_examine(&offer, &err));
    ck_assert_uint_eq(count_descriptors(), before);
    ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
    ck_assert_int_eq(errno, ECHILD);
    backend_table(&count);
    ck_assert_uint_eq(offer.backend_count, count - 1); /* vhost-user is no part of the kernel */
    autojson json_t *json = device_offer_to_json(&offer);
    autodeviceoffer struct device_offer read = {0};
    MUST(device_offer_from_json(json, &read, &err));
    const struct backend_offer *found = device_offer_find_backend(&read, backend);
    ck_assert_ptr_nonnull(found);
    if (found->state == BACKEND_ABSENT)
        return string_format("absent");
    if (found->state == BACKEND_UNKNOWN)
        return string_format("unknown: %s", found->why);
    autofree char *features = strlist_join(&found->features, " ");
    return string_format("known: %s", features);
}

static void check_backend(const char *backend, const char *expected)
{
    autofree char *found = examine(backend);
    ck_assert_str_eq(found, expected);
}

START_TEST(nothing_there)
{
    kernel_reset();
    kernel.tun_error = ENOENT;
    check_backend("tun", "absent");
    check_backend("vhost-net", "absent");
    check_backend("vhost-scsi", "absent");
    check_backend("vhost-vdpa", "absent");
    check_backend("vhost-vsock", "absent");
    static const int errors[] = {ENODEV, ENXIO};
    for (size_t i = 0; i < COUNT(errors); i++) {
        kernel_reset();
        kernel.tun_error = errors[i];
        add_file((struct fake){"/dev/vhost-net", .open_error = errors[i]});
        check_backend("tun", "absent");
        check_backend("vhost-net", "absent");
    }
}
END_TEST

START_TEST(vhost_words)
{
    const uint64_t low = BIT(15) | BIT(28) | BIT(33) | BIT(40), high = BIT(1);
    kernel_reset();
    add_file((struct fake){"/dev/vhost-net", .words = {low, high}, .array = true});
    add_file((struct fake){"/dev/vhost-scsi", .words = {BIT(3) | BIT(15), 0}});
    check_backend("vhost-net",
                  "known: access-platform guest-udp-tunnel indirect-desc mrg-rxbuf ring-reset");
    check_backend("vhost-scsi", "known: t10-pi");
    kernel.files[0].array = false; /* before Linux 6.17 */
    check_backend("vhost-net", "known: access-platform indirect-desc mrg-rxbuf ring-reset");
    kernel.files[0].words[0] = 0;
    check_backend("vhost-net", "known: ");
    kernel.files[0].error = EPERM;
    check_backend("vhost-net",
                  "unknown: /dev/vhost-net: a question is refused: Operation not permitted");
    kernel.files[0].open_error = EACCES;
    check_backend("vhost-net", "unknown: /dev/vhost-net: Permission denied");
    check_backend("vhost-scsi", "known: t10-pi");
}
END_TEST

START_TEST(vsock_is_not_loaded)
{
    kernel_reset();
    add_file((struct fake){"/dev/vhost-vsock", .words = {BIT(1) | BIT(35), 0}});
    check_backend("vhost-vsock",
                  "unknown: the module of /dev/vhost-vsock is not loaded (modprobe vhost_vsock)");
    kernel.loaded = "/sys/class/misc/vhost-vsock";
    check_backend("vhost-vsock", "known: in-order seqpacket");
    kernel.files[0].open_error = EPERM;
    check_backend("vhost-vsock", "unknown: /dev/vhost-vsock: Operation not permitted");
}
END_TEST

START_TEST(vdpa_is_what_all_have)
{
    kernel_reset();
    add_file((struct fake){"/dev/vhost-vdpa-1", .words = {BIT(0) | BIT(22), 0}, .kind = 2});
    check_backend("vhost-vdpa", "absent"); /* a block device */
    add_file((struct fake){"/dev/vhost-vdpa-0", .words = {BIT(0) | BIT(15), 0}, .kind = 1});
    check_backend("vhost-vdpa", "known: csum mrg-rxbuf");
    add_file((struct fake){"/dev/vhost-vdpa-12", .words = {BIT(0) | BIT(17), 0}, .kind = 1});
    check_backend("vhost-vdpa", "known: csum");
    kernel.files[1].open_error = ENXIO; /* it went away meanwhile */
    check_backend("vhost-vdpa", "known: csum ctrl-vq");
    kernel.files[1].open_error = EBUSY;
    check_backend("vhost-vdpa", "unknown: /dev/vhost-vdpa-0: Device or resource busy");
}
END_TEST

START_TEST(taps)
{
    static const char all[] =
        "known: header-10 header-12 header-20 header-24 multi-queue udp-tunnel "
        "ufo uso vnet-hdr";
    kernel_reset();
    check_backend("tun", all);
    kernel.offloads = 0x1f; /* Linux 6.1 */
    check_backend("tun", "known: header-10 header-12 header-20 header-24 multi-queue ufo vnet-hdr");
    kernel.offloads = 0x7f & ~0x10; /* no UFO */
    kernel.headers_to = 12;
    kernel.tun_flags &= ~(unsigned)IFF_MULTI_QUEUE;
    check_backend("tun", "known: header-10 header-12 uso vnet-hdr");
    kernel.offloads = 0x5f; /* no USO4: one of two is not enough */
    check_backend("tun", "known: header-10 header-12 ufo vnet-hdr");
}
END_TEST

START_TEST(taps_that_may_not_be_asked)
{
    static const struct {
        enum tap_trouble trouble;
        int error;
        const char *expected;
    } rows[] = {
        {FINE, EACCES, "unknown: /dev/net/tun: Permission denied"},
        {FINE, EMFILE, "unknown: /dev/net/tun: Too many open files"},
        {NO_NAMESPACE, 0, "unknown: no network namespace to try a tap in: Operation not permitted"},
        {PRETENCE, 0, "unknown: no network namespace to try a tap in: Operation not permitted"},
        {NO_TAP, 0, "unknown: /dev/net/tun: no tap to try: Operation not permitted"},
        {REFUSED, 0, "unknown: /dev/net/tun: a question is refused: Permission denied"},
        {KILLED, 0, "unknown: /dev/net/tun: asking was ended by signal 31 (Bad system call)"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        kernel_reset();
        kernel.trouble = rows[i].trouble;
        kernel.tun_error = rows[i].error;
        add_file((struct fake){"/dev/vhost-net", .words = {BIT(15), 0}});
        check_backend("tun", rows[i].expected);
        check_backend("vhost-net", "known: mrg-rxbuf"); /* what was answered before counts */
    }
}
END_TEST

START_TEST(tap_that_hangs)
{
    kernel_reset();
    kernel.trouble = HANGS;
    check_backend("tun", "unknown: /dev/net/tun: no answer in 2 s");
}
END_TEST

/* What `examine` finds when it begins with what is kept, and keeps what it finds. */
static char *examine_kept(bool kept)
{
    autodeviceoffer struct device_offer offer = {.table = BACKEND_TABLE_VERSION};
    MUST(backends_take_kept(unit_folder, &offer, &err));
    ck_assert((device_offer_find_backend(&offer, "tun") != NULL) == kept);
    MUST(backends_examine(&offer, &err));
    MUST(backends_keep(unit_folder, &offer, &err));
    const struct backend_offer *tap = device_offer_find_backend(&offer, "tun");
    ck_assert_ptr_nonnull(tap);
    if (tap->state != BACKEND_KNOWN)
        return string_format("%s", tap->state == BACKEND_ABSENT ? "absent" : "unknown");
    autofree char *features = strlist_join(&tap->features, " ");
    return string_format("known: %s", features);
}

START_TEST(tap_is_tried_once)
{
    static const char known[] = "known: header-10 header-12 uso vnet-hdr";
    static const struct {
        enum tap_trouble trouble;
        int error;
        bool kept; /* nobody tries */
        const char *expected;
    } rows[] = {
        {NO_TAP, 0, false, "unknown"},   {FINE, 0, false, known},     {KILLED, 0, true, known},
        {FINE, ENOENT, false, "absent"}, {FINE, EACCES, true, known},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        kernel_reset();
        kernel.offloads = 0x7f & ~0x10;
        kernel.headers_to = 12;
        kernel.tun_flags &= ~(unsigned)IFF_MULTI_QUEUE;
        kernel.trouble = rows[i].trouble;
        kernel.tun_error = rows[i].error;
        autofree char *found = examine_kept(rows[i].kept);
        ck_assert_str_eq(found, rows[i].expected);
    }
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {nothing_there,
                                  vhost_words,
                                  vsock_is_not_loaded,
                                  vdpa_is_what_all_have,
                                  taps,
                                  taps_that_may_not_be_asked,
                                  tap_that_hangs,
                                  tap_is_tried_once};
    return unit_run("backends", tests, COUNT(tests));
}
