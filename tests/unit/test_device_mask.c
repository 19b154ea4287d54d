/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Properties of devices that are switched off in a command line.
 */
#include "unit.h"

#include "device/device_baseline.h"
#include "vm/adopt_devices.h"
#include "vm/args_file.h"
#include "vm/config_file.h"
#include "vm/device_offs.h"
#include "vm/device_value.h"

static void parse(const char *line, struct arglist *list)
{
    autostrlist struct strlist words = {0};
    autofree char *whole = string_format("qemu %s", line);
    MUST(args_parse("line", whole, &words, &err));
    MUST(arglist_parse(list, (int)words.count, words.items, &err));
}

/* virtio-net without csum, packed, and hash, which is off by itself; vhost-vsock without seqpacket.
 */
static char not_on_b[] = "not on b";
static struct device_off both_items[] = {
    {"vhost-vsock", "seqpacket", true, NULL},
    {"virtio-net", "csum", true, not_on_b},
    {"virtio-net", "hash", false, NULL},
    {"virtio-net", "packed", true, NULL}, /* as if it were usual */
};
static const struct device_offs both = {both_items, COUNT(both_items)};
#define VSOCK_GLOBAL " -global vhost-vsock-device.seqpacket=off"
#define NET_GLOBALS " -global virtio-net-device.csum=off -global virtio-net-device.packed=off"
#define GLOBALS VSOCK_GLOBAL NET_GLOBALS

/* The command line that comes of one and a configuration file's text, then what is said. */
static char *masked(const char *line, const char *file)
{
    autoarglist struct arglist list = {0}, files = {0};
    autostrlist struct strlist words = {0}, said = {0};
    parse(line, &list);
    MUST(config_file_options("f", file, &files, &err));
    MUST(device_mask_write(&both, &files, &list, &said, &err));
    MUST(arglist_render(&list, &words, &err));
    for (size_t i = 0; i < said.count; i++)
        ck_assert(strlist_pushf(&words, "# %s", said.items[i]));
    return strlist_join(&words, " ");
}

static void check_masked(const char *line, const char *file, const char *wanted)
{
    autofree char *got = masked(line, file);
    autofree char *whole = string_format("qemu %s", wanted);
    ck_assert_msg(strcmp(got, whole) == 0, "%s: is\n  %s\nnot\n  %s", line, got, whole);
}

#define SAID_CSUM "csum=on of -device virtio-net-pci is switched off: not on b"

/* In QEMU's own syntax. */
START_TEST(pieces)
{
    static const char *const rows[][2] = {
        {"-usb", "-usb" GLOBALS},
        {"-device e1000,id=a,csum=on", "-device e1000,id=a,csum=on" GLOBALS},
        {"-device virtio-blk-pci,packed=on", "-device virtio-blk-pci,packed=on" GLOBALS},
        {"-device virtio-net-pci", "-device virtio-net-pci,csum=off,packed=off" GLOBALS},
        {"-device virtio-net", "-device virtio-net,csum=off,packed=off" GLOBALS},
        {"-device virtio-net-pci-transitional,id=a",
         "-device virtio-net-pci-transitional,id=a,csum=off,packed=off" GLOBALS},
        {"-device virtio-net-pci-non-transitional",
         "-device virtio-net-pci-non-transitional,csum=off,packed=off" GLOBALS},
        {"-device virtio-net-device", "-device virtio-net-device,csum=off,packed=off" GLOBALS},
        {"-device id=a,driver=virtio-net-pci,mac=x",
         "-device id=a,driver=virtio-net-pci,mac=x,csum=off,packed=off" GLOBALS},
        /* what is off stays as it was written */
        {"-device virtio-net-pci,csum=no,mac=x,packed=false",
         "-device virtio-net-pci,csum=no,mac=x,packed=false" GLOBALS},
        {"-device virtio-net-pci,nocsum", "-device virtio-net-pci,nocsum,packed=off" GLOBALS},
        {"-device virtio-net-pci,csum=on,csum=off",
         "-device virtio-net-pci,csum=on,csum=off,packed=off" GLOBALS},
        /* a value is replaced, and all of it if there are several */
        {"-device virtio-net-pci,packed=auto,mac=x",
         "-device virtio-net-pci,packed=off,mac=x,csum=off" GLOBALS},
        {"-device virtio-net-pci,csum=on,mac=x",
         "-device virtio-net-pci,csum=off,mac=x,packed=off" GLOBALS " # " SAID_CSUM},
        {"-device virtio-net-pci,csum,mac=x",
         "-device virtio-net-pci,csum=off,mac=x,packed=off" GLOBALS " # " SAID_CSUM},
        {"-device virtio-net-pci,csum=yes,mac=x",
         "-device virtio-net-pci,csum=off,mac=x,packed=off" GLOBALS " # " SAID_CSUM},
        {"-device virtio-net-pci,csum=off,mac=x,csum=on,addr=3",
         "-device virtio-net-pci,csum=off,mac=x,addr=3,packed=off" GLOBALS " # " SAID_CSUM},
        {"-device virtio-net-pci,id=n,packed=on",
         "-device virtio-net-pci,id=n,packed=off,csum=off" GLOBALS
         " # packed=on of device n is switched off, as agreed"},
        /* what is off by itself is written over what is not */
        {"-device virtio-net-pci,csum=off,hash=off,packed=off",
         "-device virtio-net-pci,csum=off,hash=off,packed=off" GLOBALS},
        {"-device virtio-net-pci,csum=off,hash=on,packed=off",
         "-device virtio-net-pci,csum=off,hash=off,packed=off" GLOBALS
         " # hash=on of -device virtio-net-pci is switched off, as agreed"},
        /* doubled commas stay doubled */
        {"-device virtio-net-pci,romfile=/a,,csum=on,,b,mac=x",
         "-device virtio-net-pci,romfile=/a,,csum=on,,b,mac=x,csum=off,packed=off" GLOBALS},
        {"-device virtio-net-pci,romfile=/a,,,csum=on",
         "-device virtio-net-pci,romfile=/a,,,csum=off,packed=off" GLOBALS " # " SAID_CSUM},
        {"-device virtio-net-pci,", "-device virtio-net-pci,csum=off,packed=off" GLOBALS},
        /* a word that only looks like one */
        {"-device virtio-net-pci,host_csum=on",
         "-device virtio-net-pci,host_csum=on,csum=off,packed=off" GLOBALS},
        {"-netdev tap,id=virtio-net-pci -device e1000,netdev=virtio-net-pci",
         "-netdev tap,id=virtio-net-pci -device e1000,netdev=virtio-net-pci" GLOBALS},
        {"-device virtio-net-pci -S -device e1000 -device virtio-net-pci,packed=off -device "
         "vhost-vsock-pci,guest-cid=3",
         "-device virtio-net-pci,csum=off,packed=off -S -device e1000 -device "
         "virtio-net-pci,packed=off,csum=off -device "
         "vhost-vsock-pci,guest-cid=3,seqpacket=off" GLOBALS},
    };
    for (size_t i = 0; i < COUNT(rows); i++)
        check_masked(rows[i][0], "", rows[i][1]);
}
END_TEST

START_TEST(members)
{
    static const char *const rows[][2] = {
        {"{\"driver\":\"virtio-net-pci\",\"id\":\"n\"}",
         "{\"driver\":\"virtio-net-pci\",\"id\":\"n\",\"csum\":false,\"packed\":false}" GLOBALS},
        {"{\"id\":\"z\",\"addr\":\"4\",\"driver\":\"virtio-net\",\"bus\":\"a\"}",
         "{\"id\":\"z\",\"addr\":\"4\",\"driver\":\"virtio-net\",\"bus\":\"a\",\"csum\":false,"
         "\"packed\":false}" GLOBALS},
        {"{\"packed\":true,\"driver\":\"virtio-net-pci\",\"csum\":false}",
         "{\"packed\":false,\"driver\":\"virtio-net-pci\",\"csum\":false}" GLOBALS
         " # packed=on of -device virtio-net-pci is switched off, as agreed"},
        /* what is off stays as it was written, blanks too */
        {"{ \"driver\":\"virtio-net-pci\", \"csum\":false, \"packed\":false }",
         "{ \"driver\":\"virtio-net-pci\", \"csum\":false, \"packed\":false }" GLOBALS},
        {"{ \"driver\":\"virtio-blk-pci\", \"packed\":true }",
         "{ \"driver\":\"virtio-blk-pci\", \"packed\":true }" GLOBALS},
        {"{\"driver\":\"virtio-net-pci\",\"hash\":true,\"packed\":false,\"csum\":false}",
         "{\"driver\":\"virtio-net-pci\",\"hash\":false,\"packed\":false,\"csum\":false}" GLOBALS
         " # hash=on of -device virtio-net-pci is switched off, as agreed"},
        /* words where QEMU wants words */
        {"{\"driver\":\"vhost-vsock-pci\",\"guest-cid\":3}",
         "{\"driver\":\"vhost-vsock-pci\",\"guest-cid\":3,\"seqpacket\":\"off\"}" GLOBALS},
        {"{\"driver\":\"vhost-vsock-pci\",\"seqpacket\":\"on\",\"guest-cid\":3}",
         "{\"driver\":\"vhost-vsock-pci\",\"seqpacket\":\"off\",\"guest-cid\":3}" GLOBALS
         " # seqpacket=on of -device vhost-vsock-pci is switched off, as agreed"},
        {"{\"driver\":\"virtio-net-pci\",\"csum\":\"auto\",\"packed\":false}",
         "{\"driver\":\"virtio-net-pci\",\"csum\":\"off\",\"packed\":false}" GLOBALS},
        {"{\"driver\":\"virtio-net-pci\",\"romfile\":\"/caf\xc3\xa9,x\",\"packed\":false}",
         "{\"driver\":\"virtio-net-pci\",\"romfile\":\"/caf\xc3\xa9,x\",\"packed\":false,"
         "\"csum\":false}" GLOBALS},
        /* of no class that is masked, as far as can be seen: QEMU's to read */
        {"{}", "{}" GLOBALS},
        {"{\"driver\":3}", "{\"driver\":3}" GLOBALS},
        {"{'driver':'e1000'}", "{'driver':'e1000'}" GLOBALS},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        autofree char *quoted = shell_quote(rows[i][0]);
        autofree char *line = string_format("-device %s", quoted);
        autofree char *wanted = string_format("-device %s", rows[i][1]);
        check_masked(line, "", wanted);
    }
}
END_TEST

START_TEST(refused)
{
    static const char *const values[] = {
        "{'driver':'virtio-net-pci'}",
        "{\"driver\":\"virtio-net-pci\",\"csum\":true,\"csum\":false}",
        "{'driver':'virtio-n\\u0065t-pci'}",
        "{\"driver\":\"vhost-vsock-pci\"",
    };
    for (size_t i = 0; i < COUNT(values); i++) {
        autofree char *quoted = shell_quote(values[i]);
        autofree char *line = string_format("-device %s", quoted);
        autoarglist struct arglist list = {0}, files = {0};
        autostrlist struct strlist said = {0};
        const struct device_offs nothing = {0};
        parse(line, &list);
        MUST_FAIL(STATUS_USAGE, "this JSON cannot be read here",
                  device_mask_write(&both, &files, &list, &said, &err));
        /* Nothing to write: nobody needs to read it. */
        MUST(device_mask_write(&nothing, &files, &list, &said, &err));
        ck_assert_str_eq(list.items[0].value, values[i]);
    }
}
END_TEST

START_TEST(sets)
{
    static const char *const rows[][2] = {
        {"-device virtio-net-pci,id=n,csum=off,packed=off -set device.n.packed=on",
         "-device virtio-net-pci,id=n,csum=off,packed=off -set device.n.packed=off" GLOBALS
         " # packed=on of device n is switched off, as agreed"},
        {"-device virtio-net-pci,id=n,csum=off,packed=off -set device.n.csum=no -set "
         "device.n.mac=x",
         "-device virtio-net-pci,id=n,csum=off,packed=off -set device.n.csum=no -set "
         "device.n.mac=x" GLOBALS},
        {"-device virtio-blk-pci,id=b -device e1000,id=c -set device.b.packed=on",
         "-device virtio-blk-pci,id=b -device e1000,id=c -set device.b.packed=on" GLOBALS},
        {"-set device.n -set device.n=on -set netdev.n.packed=on -set device.m.packed=on",
         "-set device.n -set device.n=on -set netdev.n.packed=on -set device.m.packed=on" GLOBALS},
    };
    for (size_t i = 0; i < COUNT(rows); i++)
        check_masked(rows[i][0], "", rows[i][1]);
}
END_TEST

#define OUTER(property)                                                                            \
    " -global virtio-net-pci." property "=off -global virtio-net-pci-non-transitional." property   \
    "=off -global virtio-net-pci-transitional." property "=off"

START_TEST(globals)
{
    static const char *const rows[][2] = {
        {"-global virtio-net-pci.csum=on -S",
         "-global virtio-net-pci.csum=off -S" GLOBALS
         " # csum=on of -global virtio-net-pci is switched off: not on b"},
        {"-global driver=virtio-net-pci-transitional,property=packed,value=yes",
         "-global virtio-net-pci-transitional.packed=off" GLOBALS
         " # packed=on of -global virtio-net-pci-transitional is switched off, as agreed"},
        {"-global virtio-net-pci.csum=off", "-global virtio-net-pci.csum=off" GLOBALS},
        {"-global virtio-net-pci.mq=on", "-global virtio-net-pci.mq=on" GLOBALS},
        {"-global virtio-blk-pci.packed=on", "-global virtio-blk-pci.packed=on" GLOBALS},
        {"-global virtio-blk-pci-base.packed=on", "-global virtio-blk-pci-base.packed=on" GLOBALS},
        {"-global virtio-pci.packed=on -device virtio-blk-pci",
         "-global virtio-pci.packed=on -device virtio-blk-pci" OUTER("packed") GLOBALS
         " # packed=on of -global virtio-pci is switched off, as agreed"},
        {"-global virtio-net-pci-base.csum=on",
         "-global virtio-net-pci-base.csum=on" OUTER("csum") GLOBALS
         " # csum=on of -global virtio-net-pci-base is switched off: not on b"},
        {"-global virtio-device.packed=on",
         "-global virtio-device.packed=on" OUTER("packed") GLOBALS
         " # packed=on of -global virtio-device is switched off, as agreed"},
        {"-global virtio-net-pci.hash=on",
         "-global virtio-net-pci.hash=off" GLOBALS
         " # hash=on of -global virtio-net-pci is switched off, as agreed"},
        {"-global virtio-device.hash=on",
         "-global virtio-device.hash=on" OUTER(
             "hash") " -global virtio-net-device.hash=off" GLOBALS
                     " # hash=on of -global virtio-device is switched off, as agreed"},
        {"-global nonsense", "-global nonsense" GLOBALS},
    };
    for (size_t i = 0; i < COUNT(rows); i++)
        check_masked(rows[i][0], "", rows[i][1]);
}
END_TEST

/* Files stay as they are: what they say is overruled from behind. */
START_TEST(in_files)
{
    static const char *const rows[][2] = {
        {"[device \"n\"]\ndriver = \"virtio-net-pci\"\n",
         "-S -set device.n.csum=off -set device.n.packed=off" GLOBALS},
        {"[device \"n\"]\ndriver = \"virtio-net\"\ncsum = \"on\"\npacked = \"off\"\n",
         "-S -set device.n.csum=off" GLOBALS " # csum=on of device n is switched off: not on b"},
        {"[device \"n\"]\ndriver = \"virtio-net\"\ncsum = \"off\"\npacked = \"off\"\nhash = "
         "\"on\"\n",
         "-S -set device.n.hash=off" GLOBALS " # hash=on of device n is switched off, as agreed"},
        {"[device]\ndriver = \"virtio-net-pci\"\n", "-S" GLOBALS},
        {"[device]\ndriver = \"virtio-net-pci\"\ncsum = \"off\"\n", "-S" GLOBALS},
        {"[device \"a.b\"]\ndriver = \"virtio-net-pci\"\n", "-S" GLOBALS},
        {"[device \"n\"]\ndriver = \"virtio-blk-pci\"\npacked = \"on\"\n", "-S" GLOBALS},
        {"[global]\ndriver = \"virtio-net-pci\"\nproperty = \"csum\"\nvalue = \"on\"\n",
         "-S" OUTER("csum") GLOBALS
         " # csum=on of -global virtio-net-pci is switched off: not on b"},
        {"[netdev \"n\"]\ntype = \"tap\"\n", "-S" GLOBALS},
    };
    for (size_t i = 0; i < COUNT(rows); i++)
        check_masked("-S", rows[i][0], rows[i][1]);
    check_masked("-S -set device.n.csum=on",
                 "[device \"n\"]\ndriver = \"virtio-net-pci\"\npacked = \"off\"\n",
                 "-S -set device.n.csum=off -set device.n.csum=off" GLOBALS
                 " # csum=on of device n is switched off: not on b");
}
END_TEST

START_TEST(file_without_id)
{
    static const char *const ids[] = {"", " \"a.b\""};
    for (size_t i = 0; i < COUNT(ids); i++) {
        autofree char *text =
            string_format("[device%s]\ndriver = \"virtio-net-pci\"\ncsum = \"on\"\n", ids[i]);
        autoarglist struct arglist list = {0}, files = {0};
        autostrlist struct strlist said = {0};
        parse("-S", &list);
        MUST(config_file_options("f", text, &files, &err));
        MUST_FAIL(STATUS_USAGE, "give the device an id",
                  device_mask_write(&both, &files, &list, &said, &err));
    }
}
END_TEST

/* What is written once is not written twice. */
START_TEST(again)
{
    static const char line[] = "-device virtio-net-pci,csum=on -device "
                               "'{\"driver\":\"vhost-vsock-pci\"}'";
    autoarglist struct arglist list = {0}, files = {0};
    autostrlist struct strlist said = {0};
    parse(line, &list);
    MUST(device_mask_write(&both, &files, &list, &said, &err));
    autofree char *first = strdup(list.items[0].value), *second = strdup(list.items[1].value);
    MUST(device_mask_write(&both, &files, &list, &said, &err));
    ck_assert_str_eq(list.items[0].value, first);
    ck_assert_str_eq(list.items[1].value, second);
    ck_assert_uint_eq(said.count, 1);
}
END_TEST

START_TEST(booleans)
{
    static const struct {
        const char *text;
        bool on, off;
    } rows[] = {
        {"on", true, false},    {"yes", true, false},  {"true", true, false},  {"y", true, false},
        {"off", false, true},   {"no", false, true},   {"false", false, true}, {"n", false, true},
        {"auto", false, false}, {"OFF", false, false}, {"", false, false},     {"0", false, false},
        {NULL, false, false},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        ck_assert_msg(device_value_is_on(rows[i].text) == rows[i].on, "%zu", i);
        ck_assert_msg(device_value_is_off(rows[i].text) == rows[i].off, "%zu", i);
    }
}
END_TEST

/* Of a host: its QEMU has these properties of virtio-net, its kernel these features of tun. */
static void make_offer(struct device_offer *offer, const char *properties, const char *features)
{
    offer->table = BACKEND_TABLE_VERSION;
    struct class_offer *class = device_offer_add_class(offer, "virtio-net");
    struct backend_offer *tun = device_offer_add_backend(offer, "tun", BACKEND_KNOWN, NULL);
    ck_assert(class && strlist_split(&class->properties, properties, ' '));
    ck_assert(tun && strlist_split(&tun->features, features, ' '));
}

/* What of a baseline of a and b, which have these, is written for a: "PROPERTY" if it is on by
 * itself, else "(PROPERTY)", and why. */
static char *offs_of(const char *properties_a, const char *properties_b, const char *features_b)
{
    autodeviceoffer struct device_offer a = {0}, b = {0};
    autodevicebaseline struct device_baseline baseline = {0};
    autodevicereport struct device_report lacks = {0};
    autodeviceoffs struct device_offs offs = {0};
    autostrlist struct strlist uses = {0}, texts = {0};
    make_offer(&a, properties_a, "header-12 uso vnet-hdr");
    make_offer(&b, properties_b, features_b);
    const struct device_host hosts[] = {{"a", &a}, {"b", &b}};
    ck_assert(strlist_push(&uses, "tun"));
    MUST(device_baseline_compute(hosts, 2, &uses, &baseline, NULL, &err));
    MUST(device_baseline_lacks(&baseline, hosts, 2, &uses, &lacks, &err));
    MUST(device_offs_make(&baseline, &a, &lacks, &offs, &err));
    for (size_t i = 0; i < offs.count; i++) {
        const struct device_off *off = &offs.items[i];
        ck_assert_str_eq(off->class, "virtio-net");
        ck_assert(strlist_pushf(&texts, off->usual ? "%s: %s" : "(%s): %s", off->property,
                                off->why ? off->why : "-"));
    }
    return strlist_join(&texts, "; ");
}

START_TEST(chosen)
{
    static const struct {
        const char *properties_a, *properties_b, *features_b, *wanted;
    } rows[] = {
        {"csum host_uso mrg_rxbuf", "csum host_uso mrg_rxbuf", "header-12 uso vnet-hdr", ""},
        {"csum host_uso mrg_rxbuf", "csum mrg_rxbuf", "header-12 uso vnet-hdr",
         "host_uso: b's QEMU does not know it"},
        /* a's QEMU would not start with one that it has not */
        {"csum mrg_rxbuf", "csum host_uso mrg_rxbuf", "header-12 uso vnet-hdr", ""},
        {"csum host_uso mrg_rxbuf", "csum host_uso mrg_rxbuf", "header-12 vnet-hdr",
         "host_uso: b's kernel lacks uso of tap devices"},
        {"csum hash host_uso mrg_rxbuf", "csum host_uso mrg_rxbuf", "vnet-hdr",
         "(hash): a's kernel lacks header-20 of tap devices, b's QEMU does not know it; "
         "host_uso: b's kernel lacks uso of tap devices; "
         "mrg_rxbuf: b's kernel lacks header-12 of tap devices"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        autofree char *got =
            offs_of(rows[i].properties_a, rows[i].properties_b, rows[i].features_b);
        ck_assert_msg(strcmp(got, rows[i].wanted) == 0, "row %zu: %s", i, got);
    }
}
END_TEST

/* Whoever said that it is to be off is not at hand: there is no reason. */
START_TEST(chosen_without_reason)
{
    autodeviceoffer struct device_offer a = {0}, b = {0};
    autodevicebaseline struct device_baseline baseline = {0};
    autodevicereport struct device_report lacks = {0};
    autodeviceoffs struct device_offs offs = {0};
    static const struct strlist none = {0};
    make_offer(&a, "csum mrg_rxbuf", "vnet-hdr");
    make_offer(&b, "csum", "vnet-hdr");
    const struct device_host hosts[] = {{"a", &a}, {"b", &b}};
    MUST(device_baseline_compute(hosts, 2, &none, &baseline, NULL, &err));
    MUST(device_baseline_lacks(&baseline, hosts, 1, &none, &lacks, &err));
    MUST(device_offs_make(&baseline, &a, &lacks, &offs, &err));
    ck_assert_uint_eq(offs.count, 1);
    ck_assert_ptr_null(offs.items[0].why);
}
END_TEST

/* What nobody asked about is not written, and does not fail. */
START_TEST(chosen_unknown)
{
    autodeviceoffer struct device_offer a = {0}, b = {0};
    autodevicebaseline struct device_baseline baseline = {0};
    autodeviceoffs struct device_offs offs = {0};
    static const struct strlist none = {0};
    make_offer(&b, "csum", "vnet-hdr");
    const struct device_host hosts[] = {{"a", &a}, {"b", &b}};
    MUST(device_baseline_compute(hosts, 2, &none, &baseline, NULL, &err));
    ck_assert_uint_gt(baseline.class_count, 0);
    MUST(device_offs_make(&baseline, &a, NULL, &offs, &err));
    ck_assert_uint_eq(offs.count, 0);
    MUST(device_offs_make(&(struct device_baseline){0}, &b, NULL, &offs, &err));
    ck_assert_uint_eq(offs.count, 0);
}
END_TEST

/* A guest that is adopted on a host of which less is known than of others. */
START_TEST(adopted)
{
    autodeviceoffer struct device_offer poor = {0}, rich = {0};
    autoarglist struct arglist arguments = {0};
    parse("-no-user-config -netdev tap,id=n -device virtio-net-pci,netdev=n", &arguments);
    make_offer(&poor, "csum mrg_rxbuf", "header-12 vnet-hdr");
    make_offer(&rich, "csum host_uso mrg_rxbuf", "header-12 uso vnet-hdr");
    for (int with_qemu = 0; with_qemu < 2; with_qemu++) {
        autodevicebaseline struct device_baseline devices = {0};
        autodeviceoffs struct device_offs offs = {0};
        autostrlist struct strlist uses = {0};
        MUST(adopt_devices("a", &poor, with_qemu, &arguments, &devices, &err));
        MUST(device_baseline_uses(&devices, &uses, &err));
        ck_assert(strlist_contains(&uses, "tun"));
        for (size_t i = 0; i < devices.class_count; i++)
            ck_assert_uint_eq(devices.classes[i].off.count, 0);
        ck_assert_uint_eq(devices.class_count, with_qemu);
        if (with_qemu) {
            autofree char *kept = strlist_join(&devices.classes[0].kept, " ");
            ck_assert_str_eq(kept, "csum mrg_rxbuf");
        }
        MUST(device_offs_make(&devices, &rich, NULL, &offs, &err));
        ck_assert_uint_eq(offs.count, 0);
    }
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {pieces,
                                  members,
                                  refused,
                                  sets,
                                  globals,
                                  in_files,
                                  file_without_id,
                                  again,
                                  booleans,
                                  chosen,
                                  chosen_without_reason,
                                  chosen_unknown,
                                  adopted};
    return unit_run("device-mask", tests, COUNT(tests));
}
