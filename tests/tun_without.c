/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A library for LD_PRELOAD that makes a kernel of another age out of this one, for what asks tun
 * devices: QEMU and this program. For tests/e2e/lib/taps.py.
 *
 * QML_TUN_WITHOUT has words with blanks between them, each something that the kernel then does not
 * have: uso, ufo, udp-tunnel (TUNSETOFFLOAD), header-10, header-12, header-20, header-24
 * (TUNSETVNETHDRSZ), vnet-hdr (TUNGETFEATURES).
 *
 * It needs nothing of the C library that is younger than 2.2.5, so that a QEMU with a C library of
 * its own takes it, too.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* linux/if_tun.h; what it has of it depends on its version. */
#define GET_FEATURES 0x800454cfUL
#define SET_OFFLOAD 0x400454d0UL
#define SET_HEADER_SIZE 0x400454d8UL
#define IFF_VNET_HDR 0x4000u

static const struct {
    const char *word;
    unsigned long offloads; /* TUN_F_… */
    int header_size;
} lacks[] = {
    {"ufo", 0x10, 0},     {"uso", 0x20 | 0x40, 0}, {"udp-tunnel", 0x80 | 0x100, 0},
    {"header-10", 0, 10}, {"header-12", 0, 12},    {"header-20", 0, 20},
    {"header-24", 0, 24},
};

static bool is_without(const char *word)
{
    size_t length = strlen(word);
    const char *rest = getenv("QML_TUN_WITHOUT");
    while (rest && *rest) {
        size_t end = strcspn(rest, " ");
        if (end == length && strncmp(rest, word, length) == 0)
            return true;
        rest += end + (rest[end] == ' ');
    }
    return false;
}

int ioctl(int fd, unsigned long request, ...)
{
    va_list arguments;
    va_start(arguments, request);
    void *argument = va_arg(arguments, void *);
    va_end(arguments);
    for (size_t i = 0; i < sizeof(lacks) / sizeof(lacks[0]); i++) {
        bool asks = (request == SET_OFFLOAD && ((unsigned long)argument & lacks[i].offloads)) ||
                    (request == SET_HEADER_SIZE && *(int *)argument == lacks[i].header_size);
        if (asks && is_without(lacks[i].word)) {
            errno = EINVAL;
            return -1;
        }
    }
    int result = (int)syscall(SYS_ioctl, fd, request, argument);
    if (result == 0 && request == GET_FEATURES && is_without("vnet-hdr"))
        *(unsigned int *)argument &= ~IFF_VNET_HDR;
    return result;
}
