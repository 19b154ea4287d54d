/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Which backends a command line uses, and configuration files as the options that they stand for.
 */
#include "unit.h"

#include "base/file.h"
#include "vm/args_file.h"
#include "vm/config_files.h"
#include "vm/device_use.h"

static void parse(const char *line, struct arglist *list)
{
    autostrlist struct strlist words = {0};
    autofree char *whole = string_format("qemu -no-user-config %s", line);
    MUST(args_parse("line", whole, &words, &err));
    MUST(arglist_parse(list, (int)words.count, words.items, &err));
}

static char *used(const char *line)
{
    autoarglist struct arglist list = {0};
    autostrlist struct strlist backends = {0};
    parse(line, &list);
    MUST(device_use_read(&list, &backends, &err));
    return strlist_join(&backends, " ");
}

static char *write_file(const char *name, const char *text)
{
    char *path = in_folder(name);
    MUST(file_write_atomic(path, text, strlen(text), 0600, &err));
    return path;
}

START_TEST(uses)
{
    static const char *const rows[][2] = {
        {"", ""},
        {"-nodefaults -device virtio-net-pci", ""},
        {"-netdev user,id=n -device virtio-net,netdev=n", ""},
        {"-netdev tap,id=n", "tun"}, /* no device is at it: it is opened */
        {"-netdev type=tap,id=n -device e1000", "tun"},
        {"-netdev tap,id=n,vnet_hdr=off", ""},
        {"-netdev tap,id=n,vnet_hdr=on", "tun"},
        {"-netdev tap,id=n,vnet_hdr=off,vhost=on", "vhost-net"},
        {"-netdev tap,id=n,fd=3 -device virtio-net,netdev=n", "tun"},
        {"-netdev id=n,type=tap", "tun"},
        {"-netdev tap,id=n,script=/a,,b,vhost=on", "tun vhost-net"},
        {"-netdev tap,id=n,script=/a,,vhost=on", "tun"},
        {"-netdev tap,id=n,vhost", "tun vhost-net"},
        {"-netdev tap,id=n,vhost=yes", "tun vhost-net"},
        {"-netdev tap,id=n,vhost=off", "tun"},
        {"-netdev tap,id=n,novhost,vhostfd=3", "tun"},
        {"-netdev tap,id=n,vhost=on,vhost=off", "tun"},
        {"-netdev tap,id=n,vhostfd=3", "tun vhost-net"},
        {"-netdev tap,id=n,vhostfds=3:4", "tun vhost-net"},
        {"-netdev tap,id=n,vhostforce=on", "tun vhost-net"},
        {"-netdev tap,id=n,vhostforce=off", "tun"},
        {"-netdev tap,id=n -set netdev.n.vhost=on", "tun vhost-net"},
        {"-netdev tap,id=n -set netdev.m.vhost=on", "tun"},
        {"-netdev tap,id=n -set device.n.vhost=on", "tun"},
        {"-netdev bridge,id=n,br=br0", "tun"},
        {"-netdev '{\"type\":\"tap\",\"id\":\"n\"}'", "tun"},
        {"-netdev '{\"type\":\"tap\",\"id\":\"n\",\"vhost\":true}'", "tun vhost-net"},
        {"-netdev '{\"type\":\"tap\",\"id\":\"n\",\"vhost\":false,\"vhostfd\":\"3\"}'", "tun"},
        {"-netdev '{\"id\":\"tap\",\"type\":\"user\"}'", ""},
        {"-netdev \"{'type':'user','id':'n'}\"", ""},
        {"-netdev vhost-vdpa,id=n,vhostdev=/dev/vhost-vdpa-0", "vhost-vdpa"},
        {"-netdev vhost-user,id=n,chardev=c", "vhost-user"},
        {"-netdev passt,id=n", ""},
        {"-netdev passt,id=n,vhost-user=on", "vhost-user"},
        {"-netdev socket,id=n,listen=:1 -netdev hubport,id=h,hubid=0", ""},
        {"-netdev stream,id=n,addr.type=unix,addr.path=/x", ""},
        {"-nic tap,model=virtio", "tun"},
        {"-nic tap,vhost=on", "tun vhost-net"},
        {"-nic bridge", "tun"},
        {"-nic user -nic none", ""},
        {"-net nic,model=virtio -net tap,ifname=t", "tun"},
        {"-net nic -net user", ""},
        {"-device vhost-vsock-pci,guest-cid=3", "vhost-vsock"},
        {"-device vhost-vsock-pci-non-transitional,guest-cid=3", "vhost-vsock"},
        {"-device '{\"driver\":\"vhost-vsock-device\",\"guest-cid\":3}'", "vhost-vsock"},
        {"-device id=d,driver=vhost-scsi-pci,wwpn=naa.1", "vhost-scsi"},
        {"-device vhost-user-scsi-pci,chardev=c", "vhost-user"},
        {"-device vhost-user-fs-pci,chardev=c,tag=t -device vhost-user-vsock-pci,chardev=d",
         "vhost-user"},
        {"-device vhost-vdpa-device-pci,vhostdev=/dev/vhost-vdpa-0", "vhost-vdpa"},
        {"-device virtio-scsi-pci,id=vhost-scsi-pci -name vhost-vsock-pci", ""},
        {"-netdev tap,id=a,vhost=on -netdev tap,id=b -device vhost-vsock-pci,guest-cid=3",
         "tun vhost-net vhost-vsock"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        autofree char *got = used(rows[i][0]);
        ck_assert_msg(strcmp(got, rows[i][1]) == 0, "%s: '%s', not '%s'", rows[i][0], got,
                      rows[i][1]);
    }
}
END_TEST

START_TEST(unread)
{
    static const char *const lines[] = {
        "-netdev \"{'type':'tap','id':'n'}\"",
        "-device \"{'driver':'vhost-vsock-pci'}\"",
        "-netdev '{\"type\":\"tap\",\"type\":\"user\"}'",
        "-netdev \"{'type':'\\\\u0074ap'}\"",
    };
    for (size_t i = 0; i < COUNT(lines); i++) {
        autoarglist struct arglist list = {0};
        autostrlist struct strlist backends = {0};
        parse(lines[i], &list);
        MUST_FAIL(STATUS_USAGE, "this JSON cannot be read here",
                  device_use_read(&list, &backends, &err));
        ck_assert_uint_eq(backends.count, 0);
    }
}
END_TEST

START_TEST(in_files)
{
    autofree char *path = write_file("a.conf", "[netdev \"n0\"]\n"
                                               "  type = \"tap\"\n"
                                               "# vhost = \"off\"\n"
                                               "  vhost = \"on\"\n"
                                               "[device]\n"
                                               "  driver = \"vhost-vsock-pci\"\n"
                                               "  guest-cid = \"3\"\n");
    autofree char *line = string_format("-readconfig %s", path);
    autofree char *got = used(line);
    ck_assert_str_eq(got, "tun vhost-net vhost-vsock");
    autofree char *set = string_format("-readconfig %s -set netdev.n0.vhost=off", path);
    autofree char *less = used(set);
    ck_assert_str_eq(less, "tun vhost-vsock");
    autofree char *none = used("-readconfig /nowhere/a.conf");
    ck_assert_str_eq(none, "");
}
END_TEST

/* Options of files stand where the files stand. */
START_TEST(expanded)
{
    static const struct {
        const char *text;
        const char *options;
    } rows[] = {
        {"", "-S -usb"},
        {"# nothing\n\n", "-S -usb"},
        {"[device \"d0\"]\n driver = \"a\"\n addr = \"1\"\n",
         "-S -device id=d0,driver=a,addr=1 -usb"},
        {"[device]\n driver = \"a\"", "-S -device driver=a -usb"},
        {"[name]\n guest = \"a,b\"\r\n", "-S -name guest=a,,b -usb"},
        {"[boot-opts]\n menu = \"on\"\n[acpi]\n data = \"x\"\n",
         "-S -boot menu=on -acpitable data=x -usb"},
        {"[nobody \"x\"]\n a = \"1\"\n[rtc]\n base = \"utc\"\n", "-S -rtc base=utc -usb"},
        {"[daemonize]\n a = \"1\"\n", "-S -usb"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        autofree char *path = write_file("x.conf", rows[i].text);
        autofree char *line = string_format("-S -readconfig %s -usb", path);
        autoarglist struct arglist list = {0}, out = {0};
        autostrlist struct strlist words = {0};
        parse(line, &list);
        MUST(config_files_expand(&list, &out, &err));
        MUST(arglist_render(&out, &words, &err));
        autofree char *got = strlist_join(&words, " ");
        autofree char *wanted = string_format("qemu -no-user-config %s", rows[i].options);
        ck_assert_str_eq(got, wanted);
    }
}
END_TEST

START_TEST(bad_files)
{
    static const char *const texts[] = {"a = \"1\"\n", "[device\n", "[device \"x]\n",
                                        "[device]\nx\n", "[device]\n a = 1\n"};
    for (size_t i = 0; i < COUNT(texts); i++) {
        autofree char *path = write_file("x.conf", texts[i]);
        autofree char *line = string_format("-readconfig %s", path);
        autoarglist struct arglist list = {0}, out = {0};
        autostrlist struct strlist backends = {0};
        parse(line, &list);
        MUST_FAIL(STATUS_USAGE, "x.conf: line", config_files_expand(&list, &out, &err));
        MUST_FAIL(STATUS_USAGE, "x.conf: line", device_use_read(&list, &backends, &err));
        ck_assert_uint_eq(out.count, 0);
    }
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {uses, unread, in_files, expanded, bad_files};
    return unit_run("device-use", tests, COUNT(tests));
}
