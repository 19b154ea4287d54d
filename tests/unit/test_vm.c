/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What a guest's memory needs of address bits, and what QEMU's configuration files may not say.
 */
#include "unit.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "vm/address_space.h"
#include "vm/command_line.h"
#include "vm/config_file.h"

static unsigned bits_of(const char *machine, const char *memory, const char *vendor)
{
    autokeyval struct keyval keyval = {0};
    unsigned bits = 99;
    MUST(keyval_parse(&keyval, memory, KEYVAL_OPTS, "size", &err));
    MUST(address_space_bits(machine, &keyval, vendor, &bits, &err));
    return bits;
}

/* Rows marked M were measured: QEMU 7.2 under KVM with host-phys-bits-limit=36 starts or says
 * "Address space limit 0xfffffffff < 0x10bfffffff". */
START_TEST(address_bits)
{
    static const struct {
        const char *machine, *memory, *vendor;
        unsigned bits;
    } rows[] = {
        {"pc-q35-7.2", "16", "GenuineIntel", 36},
        {"pc-q35-7.2", "1G,maxmem=27G,slots=1", "GenuineIntel", 36},    /* M */
        {"pc-q35-7.2", "1G,maxmem=28G,slots=1", "GenuineIntel", 36},    /* M */
        {"pc-q35-7.2", "1G,maxmem=28G,slots=4", "GenuineIntel", 37},    /* M */
        {"pc-q35-7.2", "1G,maxmem=30G,slots=2", "GenuineIntel", 37},    /* M */
        {"pc-i440fx-7.2", "1G,maxmem=28G,slots=4", "GenuineIntel", 36}, /* M */
        {"pc-i440fx-7.2", "16", "GenuineIntel", 33},
        {"pc-q35-10.0", "30G", "GenuineIntel", 36}, /* 2 below, 28 above: 4 + 28 + 32 = 64 */
        {"pc-q35-10.0", "30721M", "GenuineIntel", 37},
        {"pc-q35-10.0", "30.5g", "GenuineIntel", 37},
        {"pc-q35-10.0", "2815", "GenuineIntel", 36}, /* all of it below 0xb0000000 */
        {"pc-q35-7.2", "978G", "AuthenticAMD", 40},  /* ends just below AMD's hole … */
        {"pc-q35-7.2", "979G", "AuthenticAMD", 41},  /* … or is moved to 1 TiB */
        {"pc-q35-7.2", "979G", "GenuineIntel", 40},
        {"microvm", "64T", "GenuineIntel", 0},
    };
    for (size_t i = 0; i < COUNT(rows); i++)
        ck_assert_msg(bits_of(rows[i].machine, rows[i].memory, rows[i].vendor) == rows[i].bits,
                      "%s -m %s: %u bits, not %u", rows[i].machine, rows[i].memory,
                      bits_of(rows[i].machine, rows[i].memory, rows[i].vendor), rows[i].bits);
}
END_TEST

START_TEST(bad_sizes)
{
    static const char *const rows[] = {"x",           "1Q",       "1GB",
                                       "-1",          "0x10",     "1e300",
                                       "1G,maxmem=",  "inf",      "1G,maxmem=2G,slots=257",
                                       "1G,slots=-1", "99999999E"};
    for (size_t i = 0; i < COUNT(rows); i++) {
        autokeyval struct keyval keyval = {0};
        unsigned bits = 99;
        MUST(keyval_parse(&keyval, rows[i], KEYVAL_OPTS, "size", &err));
        MUST_FAIL(STATUS_USAGE,
                  "-m: ", address_space_bits("pc-q35-7.2", &keyval, "GenuineIntel", &bits, &err));
        ck_assert_uint_eq(bits, 99);
    }
}
END_TEST

START_TEST(config_files)
{
    static const struct {
        const char *text, *words; /* NULL: good */
    } rows[] = {
        {"", NULL},
        {"# a comment\n\n[drive \"d\"]\n  file = \"/x\"\n\tif = \"virtio\"\r\n", NULL},
        {"[device]\n driver = \"virtio-net-pci\"\n", NULL},
        {"[global]\n driver = \"virtio-blk\"\n property = \"x\"\n value = \"\"\n", NULL},
        {"[overcommit]\n cpu-pm = \"on\"\n", NULL},
        {"[smp-opts]\n cpus = \"2\"\n", "line 1"},
        {"[memory]\n size = \"2G\"\n", "line 1"},
        {"[global]\n driver = \"cpu\"\n property = \"smap\"\n value = \"off\"\n", "line 2"},
        {"\n[global]\n\n driver = \"Haswell-x86_64-cpu\"\n", "line 4"},
        {"[device \"c1\"]\n driver = \"max-x86_64-cpu\"\n", "line 2"},
        {"[machine]\n type = \"q35\"\n", "line 1"},
        {"[drive \"a\"]\n[accel]\n", "line 2"},
        {"x = \"1\"\n", "before any"},
        {"[device]\n driver = cpu\n", "line 2: neither"},
        {"[device\n", "line 1: neither"},
        {"garbage", "line 1: neither"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct error err = ERROR_INIT;
        bool good = config_file_check("f.conf", rows[i].text, &err);
        ck_assert_msg(good == (rows[i].words == NULL), "%s: %s", rows[i].text, err.message);
        if (!good) {
            check_error(&err, STATUS_USAGE, rows[i].words, rows[i].text);
            check_error(&err, STATUS_USAGE, "f.conf: ", rows[i].text);
        }
    }
}
END_TEST

/* A listening socket on a port of the kernel's choice, which comes with it. */
static int listening(uint16_t *port)
{
    const int on = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert(fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0 &&
              bind(fd, (struct sockaddr *)&address, length) == 0 && listen(fd, 1) == 0 &&
              getsockname(fd, (struct sockaddr *)&address, &length) == 0);
    *port = ntohs(address.sin_port);
    return fd;
}

START_TEST(free_ports)
{
    struct error err = ERROR_INIT;
    uint16_t port, other;
    autoclose int listener = listening(&port);
    ck_assert_uint_eq(find_free_port("127.0.0.1", port, port, &err), 0);
    ck_assert_int_eq(err.status, STATUS_CONFIG);
    /* A connection that this end has closed first keeps the port for a minute. */
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    autoclose int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(connect(client, (struct sockaddr *)&address, sizeof(address)), 0);
    autoclose int accepted = accept(listener, NULL, NULL);
    ck_assert_int_ge(accepted, 0);
    close(steal_fd(&accepted));
    close(steal_fd(&client));
    close(steal_fd(&listener));
    ck_assert_uint_eq(find_free_port("127.0.0.1", port, port, &err), port);
    /* Of two, the one that nobody has. */
    autoclose int taken = listening(&other);
    if (other < UINT16_MAX)
        ck_assert_uint_ne(find_free_port("127.0.0.1", other, other + 1, &err), other);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {address_bits, bad_sizes, config_files, free_ports};
    return unit_run("vm", tests, COUNT(tests));
}
