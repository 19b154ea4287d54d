/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Two command lines as a guest sees them; and the file that has one.
 */
#include "unit.h"

#include "base/file.h"
#include "vm/args_file.h"
#include "vm/secrets.h"
#include "vm/visible.h"

static void parse(const char *line, struct arglist *list)
{
    autostrlist struct strlist words = {0};
    autofree char *whole = string_format("qemu %s", line);
    MUST(args_parse("line", whole, &words, &err));
    MUST(arglist_parse(list, (int)words.count, words.items, &err));
}

/* What is said of two lines, differences before doubts, each on a line. */
static char *compare(const char *here, const char *there)
{
    autoarglist struct arglist own = {0}, other = {0};
    autostrlist struct strlist differences = {0}, doubts = {0};
    parse(here, &own);
    parse(there, &other);
    MUST(visible_compare(&own, &other, "a", &differences, &doubts, &err));
    for (size_t i = 0; i < doubts.count; i++)
        ck_assert(strlist_pushf(&differences, "? %s", doubts.items[i]));
    return strlist_join(&differences, "\n");
}

/* A guest finds the same: nothing is said either way round. */
START_TEST(equal)
{
    static const char *const rows[][2] = {
        {"", ""},
        {"-m 512", "-m 512M"},
        {"-m 1G", "-m size=1024"},
        {"-m 1.5G,slots=2,maxmem=4G", "-m 1536M -m slots=2 -m maxmem=4096M"},
        {"", "-m 128"},
        {"", "-smp 1"},
        {"-smp 4", "-smp cpus=4,maxcpus=4"},
        {"-smp 4,cores=2", "-machine smp.cores=2,smp.cpus=4"},
        {"-cpu host -machine q35,accel=kvm", "-cpu max -M pc -accel tcg"}, /* is agreed */
        {"-enable-kvm", "-overcommit cpu-pm=on"},
        {"-name a -vnc :1 -display none", "-name b -display gtk -k de"},
        {"-qmp unix:/a,server -monitor stdio", "-monitor none -mon chardev=x"},
        {"-D /a -d int -pidfile /p -daemonize", ""},
        {"-S -incoming defer", "-loadvm x"},
        {"-no-acpi", "-machine acpi=off"},
        {"-usb", "-machine usb=yes"},
        {"-nographic", "-machine graphics=off"},
        {"-bios /a/x.fd", "-machine firmware=/b/x.fd"},
        {"-kernel /a/vmlinuz -append 'a  b'", "-kernel /b/vmlinuz -append 'a  b'"},
        {"-boot d", "-boot order=d"},
        {"-boot order=c,menu=on", "-boot menu=true -boot c"},
        {"-rtc base=utc", ""},
        {"-rtc clock=host", "-rtc base=utc,driftfix=none"},
        {"-netdev user,id=n -device virtio-net-pci,netdev=n,mac=52:54:00:00:00:01",
         "-netdev tap,id=tap0,ifname=t -device virtio-net-pci,mac=52:54:00:00:00:01,netdev=tap0"},
        {"-device virtio-net,mq=on", "-device '{\"driver\":\"virtio-net-pci\",\"mq\":true}'"},
        {"-device e1000,id=x,addr=3",
         "-device '{\"driver\":\"e1000\",\"id\":\"x\",\"addr\":\"0x03.0\"}'"},
        {"-device virtio-blk-pci,drive=a,queue-size=0x80",
         "-device virtio-blk,drive=b,queue-size=128"},
        {"-device virtio-rng-pci,rng=a", "-device virtio-rng-pci,rng=b"},
        {"-device virtio-blk-pci,iothread=i,werror=stop", "-device virtio-blk-pci"},
        {"-drive file=/a,if=virtio,format=raw,cache=none", "-drive file=/b,if=virtio,id=x"},
        {"-drive file=/a,if=none,id=x", "-blockdev driver=null-co,node-name=x"},
        {"-hda /a", "-drive file=/b,index=0,media=disk"},
        {"disk.img", "-hda other.img"},
        {"-cdrom /a.iso", "-drive file=/b.iso,media=cdrom,index=2"},
        {"-serial stdio", "-serial file:/x"},
        {"", "-serial null"},
        {"-nodefaults", "-nodefaults -vga none"},
        {"-vga std", ""},
        {"-device VGA", "-device VGA -vga none"},
        {"-vga qxl -vga std", "-vga std"},
        {"-nic user,model=e1000", "-nic tap,ifname=x,model=e1000"},
        {"-net nic,macaddr=52:54:00:00:00:01 -net user", "-nic user,mac=52:54:00:00:00:01"},
        {"-nic none", "-net none"},
        {"-global kvm-pit.lost_tick_policy=discard",
         "-global driver=kvm-pit,property=lost_tick_policy,value=discard"},
        {"-global a.b=1 -global c.d=2", "-global c.d=2 -global a.b=1"},
        {"-set device.x.mq=on", "-set device.x.mq=on -set netdev.y.ifname=z"},
        {"-object memory-backend-ram,id=m0,size=1G",
         "-object memory-backend-memfd,size=1024M,id=m0"},
        {"-object rng-random,id=r", "-object secret,id=s,data=x"},
        {"-numa node,mem=1G", "-numa node,mem=1024"},
        {"-smbios type=1,serial=7", "-smbios type=1,serial=7"},
        {"-object secret,id=s,data=x -seed 1", ""},
        {"-machine q35,mem-merge=off,dump-guest-core=off", "-M q35"},
        {"-machine q35,kernel_irqchip=split", "-machine q35,kernel-irqchip=split"},
        {"-tpmdev emulator,id=t,chardev=c -device tpm-tis,tpmdev=t",
         "-tpmdev passthrough,id=u -device tpm-tis,tpmdev=u"},
        {"-fsdev local,id=f,path=/a -virtfs local,path=/a,mount_tag=t",
         "-virtfs local,path=/b,mount_tag=t,security_model=none"},
        {"-uuid 01234567-89ab-cdef-0123-456789abcdef",
         "--uuid 01234567-89ab-cdef-0123-456789abcdef"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        autofree char *one = compare(rows[i][0], rows[i][1]);
        autofree char *other = compare(rows[i][1], rows[i][0]);
        ck_assert_msg(!*one && !*other, "%s | %s: %s | %s", rows[i][0], rows[i][1], one, other);
    }
}
END_TEST

START_TEST(different)
{
    static const struct {
        const char *here, *there, *said;
    } rows[] = {
        {"-m 512M", "-m 1G", "-m is 512M here and 1G on a"},
        {"-m 1G", "", "-m is 1G here and 128 on a"},
        {"-m 1G,slots=2,maxmem=2G", "-m 1G",
         "-m slots is 2 here and not given on a\n-m maxmem is 2G here and not given on a"},
        {"-smp 2", "-smp 4", "-smp is 2 here and 4 on a"},
        {"-smp 2,maxcpus=4", "-smp 2", "-smp maxcpus is 4 here and not given on a"},
        {"-smp 4,threads=2", "-smp 4", "-smp threads is 2 here and not given on a"},
        {"-machine hpet=off", "", "-machine hpet is off here and not given on a"},
        {"-no-acpi", "-machine acpi=on", "-machine acpi is off here and on on a"},
        {"", "-accel kvm,kernel-irqchip=split",
         "-machine kernel-irqchip is not given here and split on a"},
        {"-machine memory-backend=m", "-machine memory-backend=n",
         "-machine memory-backend is m here and n on a"},
        {"-append a", "-append b", "-machine append is a here and b on a"},
        {"-bios /a/x.fd", "", "-machine firmware is /a/x.fd here and not given on a"},
        {"-bios /a/x.fd", "-bios /a/y.fd",
         "? -machine firmware is /a/x.fd here and /a/y.fd on a: what is in these files has not "
         "been compared"},
        {"-boot c", "-boot d", "-machine boot.order is c here and d on a"},
        {"-rtc base=localtime", "", "-rtc base is localtime here and utc on a"},
        {"-rtc clock=vm", "-rtc clock=host", "-rtc clock is vm here and host on a"},
        {"-nodefaults -vga std -nic user -serial null -parallel null", "",
         "-nodefaults is here and not on a"},
        {"", "-vga qxl", "-vga is std here and qxl on a"},
        {"-device VGA", "-vga std -device VGA", "-vga is none here and std on a"},
        {"-device virtio-rng-pci", "", "-device virtio-rng-pci is here and not on a"},
        {"", "-device virtio-rng-pci,id=r", "-device virtio-rng-pci,id=r is on a and not here"},
        {"-device e1000", "-device e1000e",
         "-device e1000 is here and not on a\n-device e1000e is on a and not here"},
        {"-device e1000,id=x", "-device e1000,id=y",
         "-device e1000,id=x is here and not on a\n-device e1000,id=y is on a and not here"},
        {"-device e1000,addr=3", "-device e1000,addr=4",
         "-device e1000: addr is 3 here and 4 on a"},
        {"-device e1000,id=x,mac=52:54:00:00:00:01", "-device e1000,id=x",
         "-device e1000,id=x: mac is 52:54:00:00:00:01 here and not given on a"},
        {"-device e1000 -device e1000,mac=m", "-device e1000,mac=m -device e1000",
         "-device e1000: mac is not given here and m on a\n-device e1000: mac is m here and not "
         "given on a"},
        {"-device virtio-rng-pci -device e1000", "-device e1000 -device virtio-rng-pci",
         "the -device options are in another order here than on a: e1000"},
        {"-device '{\"driver\":\"e1000\",\"a\":{\"b\":[1,2]}}'",
         "-device '{\"driver\":\"e1000\",\"a\":{\"b\":[1,3]}}'",
         "-device e1000: a.b.1 is 2 here and 3 on a"},
        {"-device virtio-net-pci,romfile=", "-device virtio-net-pci",
         "-device virtio-net-pci: romfile is  here and not given on a"},
        {"-drive file=/a,if=virtio", "-drive file=/a,if=ide",
         "-drive if=virtio is here and not on a\n-drive if=ide is on a and not here"},
        {"-drive file=/a,if=ide,media=cdrom", "-drive file=/a,if=ide",
         "-drive if=ide: media is cdrom here and not given on a"},
        {"-hda /a -hdb /b", "-hda /a", "-drive if=default is here and not on a"},
        {"-drive if=virtio,file=x,readonly=on", "-drive if=virtio,file=x",
         "-drive if=virtio: readonly is on here and not given on a"},
        {"-serial none", "", "-serial is on a and not here"},
        {"-serial stdio -serial null", "-serial stdio", "-serial is here and not on a"},
        {"-debugcon stdio", "", "-debugcon is here and not on a"},
        {"-nic user", "-nic none", "-nic is here and not on a"},
        {"-nic user,model=e1000", "-nic user,model=virtio",
         "-nic model is e1000 here and virtio on a"},
        {"-global a.b=1", "-global a.b=2", "-global a.b is 1 here and 2 on a"},
        {"-global a.b=1", "", "-global a.b 1 is here and not on a"},
        {"-set device.x.mq=on", "", "-set device.x.mq is here and not on a"},
        {"-object memory-backend-ram,id=m,size=1G", "-object memory-backend-ram,id=m,size=2G",
         "-object m: size is 1G here and 2G on a"},
        {"-object memory-backend-ram,id=m,size=1G", "-object memory-backend-ram,id=n,size=1G",
         "-object m is here and not on a\n-object n is on a and not here"},
        {"-numa node,cpus=0-1", "-numa node,cpus=0", "-numa cpus is 0-1 here and 0 on a"},
        {"-smbios type=1,serial=7", "-smbios type=1,serial=007",
         "-smbios serial is 7 here and 007 on a"},
        {"-uuid 01234567-89ab-cdef-0123-456789abcdef", "",
         "-uuid 01234567-89ab-cdef-0123-456789abcdef is here and not on a"},
        {"-icount shift=1", "-icount 2", "-icount shift is 1 here and 2 on a"},
        {"-usbdevice tablet", "", "-usbdevice tablet is here and not on a"},
        {"-virtfs local,path=/a,mount_tag=t", "-virtfs local,path=/a,mount_tag=u",
         "-virtfs mount_tag is t here and u on a"},
        {"-no-reboot", "", "? -no-reboot is here and not on a"},
        {"-action reboot=shutdown", "-action reboot=reset",
         "? -action is reboot=shutdown here and reboot=reset on a"},
        {"-readconfig /a", "", "? -readconfig /a is here and not on a"},
        {"-fw_cfg name=opt/x,string=1", "-fw_cfg 'name=opt/x,string=(not told)'",
         "? -fw_cfg string is 1 here and (not told) on a"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        autofree char *said = compare(rows[i].here, rows[i].there);
        ck_assert_msg(strcmp(said, rows[i].said) == 0, "%s | %s:\n%s", rows[i].here, rows[i].there,
                      said);
    }
}
END_TEST

/* What another host says does not reach a terminal as it is. */
START_TEST(escaped)
{
    autofree char *said = compare("-append a", "-append '\033[31m'");
    ck_assert_str_eq(said, "-machine append is a here and \\x1b[31m on a");
    char line[3000] = "-device '";
    memset(line + strlen(line), 'x', 2000);
    strcat(line, "'");
    autofree char *longer = compare("", line);
    ck_assert_uint_lt(strlen(longer), 150);
    ck_assert_ptr_nonnull(strstr(longer, "xxx... is on a and not here"));
}
END_TEST

/* What other hosts get to see of a command line. */
START_TEST(secrets)
{
    static const struct {
        const char *line, *told;
    } rows[] = {
        {"-m 1G,, -name x", "-m|1G,,|-name|x"}, /* byte for byte */
        {"-object secret,id=s,data=x -m 1", "-m|1"},
        {"-object qom-type=secret_keyring,id=s", ""},
        {"-object '{\"qom-type\":\"secret\",\"data\":\"x\"}'", ""},
        {"-object '{\"data\":\"x\"}'", ""},
        {"-object tls-creds-x509,id=t,dir=/x", ""},
        {"-object rng-random,id=r", "-object|rng-random,id=r"},
        {"-set object.s.data=x", ""},
        {"-spice port=1,password=x,addr=::", "-spice|port=1,password=(not told),addr=::"},
        {"-vnc :1,password=on", "-vnc|:1,password=on"},
        {"-vnc :1,password", "-vnc|:1,password"},
        {"-drive if=none,file.password-secret=s,file=x",
         "-drive|if=none,file.password-secret=(not told),file=x"},
        {"-drive file=https://u:p@h/i.raw,if=virtio",
         "-drive|file=https://u:(not told)@h/i.raw,if=virtio"},
        {"-drive file=https://u@h/i.raw", "-drive|file=https://u@h/i.raw"},
        {"-drive file=iscsi://u%p@h/t/1", "-drive|file=iscsi://u:(not told)@h/t/1"},
        {"ssh://u:p@h/i", "ssh://u:(not told)@h/i"},
        {"-drive file=rbd:p/i:id=a:key=AQ==:mon_host=h",
         "-drive|file=rbd:p/i:id=a:key=(not told):mon_host=h"},
        {"-blockdev '{\"a\":{\"password\":\"x\",\"b\":[\"https://u:p@h\"]}}'",
         "-blockdev|{\"a\":{\"password\":\"(not told)\",\"b\":[\"https://u:(not told)@h\"]}}"},
        {"-blockdev {broken", "-blockdev|(not told)"},
        {"-fw_cfg opt/x,string=s", "-fw_cfg|opt/x,string=(not told)"},
        {"-fw_cfg opt/x,file=/s", "-fw_cfg|opt/x,file=/s"},
        {"-smbios type=11,value=io.systemd.credential:a=b", "-smbios|type=11,value=(not told)"},
        {"-smbios type=1,serial=7", "-smbios|type=1,serial=7"},
        {"-append 'root=/dev/vda my_token=x ro'", "-append|root=/dev/vda my_token=(not told) ro"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        autoarglist struct arglist list = {0}, told = {0};
        autostrlist struct strlist left_out = {0}, argv = {0};
        autofree char *wanted = string_format("qemu%s%s", *rows[i].told ? "|" : "", rows[i].told);
        parse(rows[i].line, &list);
        MUST(arglist_without_secrets(&list, &told, &left_out, &err));
        MUST(arglist_render(&told, &argv, &err));
        autofree char *joined = strlist_join(&argv, "|");
        ck_assert_str_eq(joined, wanted);
        autostrlist struct strlist before = {0};
        MUST(arglist_render(&list, &before, &err));
        autofree char *whole = strlist_join(&before, "|");
        ck_assert_msg((left_out.count > 0) == (strcmp(whole, joined) != 0), "%s", rows[i].line);
    }
}
END_TEST

/* A row for every option that QEMU has for x86. */
START_TEST(complete)
{
    size_t count;
    const struct qemu_option *all = qemu_options_all(&count);
    for (size_t i = 0; i < count; i++)
        ck_assert_msg(!all[i].for_x86 || visible_knows(all[i].name), "-%s", all[i].name);
}
END_TEST

START_TEST(args)
{
    static const struct {
        const char *text, *words; /* joined by '|' */
    } rows[] = {
        {"", ""},
        {"a b\tc\nd", "a|b|c|d"},
        {"# a comment\nq # more\n  -m 1G#x", "q|-m|1G#x"},
        {"q 'a b'c\"d e\"", "q|a bcd e"},
        {"q '' \"\"", "q||"},
        {"q a\\ b \\# \\'", "q|a b|#|'"},
        {"q \\\n  -m \\\n1G", "q|-m|1G"},
        {"q \"a\\\"b\\\\c\\d\"", "q|a\"b\\c\\d"},
        {"q 'a\nb'", "q|a\nb"},
        {"q '$x`*'", "q|$x`*"},
        {"q {\"a\":1}", "q|{a:1}"},
        {"q 'it'\\''s'", "q|it's"},
        {"q a~b caf\xc3\xa9", "q|a~b|caf\xc3\xa9"},
    };
    static const struct {
        const char *text, *words;
    } bad[] = {
        {"q\n$x", "f:2: '$'"},    {"q `x`", "f:1: '`'"},    {"q \"$x\"", "f:1: '$' and"},
        {"q a|b", "f:1: '|'"},    {"q &", "f:1: '&'"},      {"q\n\na;b", "f:3: ';'"},
        {"q >x", "f:1: '>'"},     {"q (", "f:1: '('"},      {"q *", "f:1: '*'"},
        {"q ~/x", "f:1: '~'"},    {"q 'x", "f:1: a quote"}, {"q\n\"x\ny", "f:2: a quote"},
        {"q \\", "f:1: nothing"}, {"q '\n' $", "f:2: '$'"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        autostrlist struct strlist words = {0};
        MUST(args_parse("f", rows[i].text, &words, &err));
        autofree char *joined = strlist_join(&words, "|");
        ck_assert_str_eq(joined, rows[i].words);
    }
    for (size_t i = 0; i < COUNT(bad); i++) {
        autostrlist struct strlist words = {0};
        MUST_FAIL(STATUS_CONFIG, bad[i].words, args_parse("f", bad[i].text, &words, &err));
    }
}
END_TEST

/* The configuration's comes before the state's. */
START_TEST(files)
{
    autofree char *config = in_folder("config"), *state = in_folder("state");
    autofree char *first = in_folder("config/vms/web1.args");
    autofree char *second = in_folder("state/vms/web1.args");
    const struct paths paths = {.config = config, .state = state};
    for (int i = 0; i < 2; i++) {
        autofree char *folder = in_folder(i ? "config/vms" : "state/vms");
        MUST(folder_make(folder, 0700, &err));
    }
    autofree char *none = NULL, *found = NULL, *other = NULL;
    autostrlist struct strlist argv = {0}, more = {0};
    MUST(args_file_load(&paths, "web1", &none, &argv, &err));
    ck_assert_ptr_null(none);
    MUST(file_write_atomic(second, "q 2\n", 4, 0600, &err));
    MUST(args_file_load(&paths, "web1", &found, &argv, &err));
    ck_assert_str_eq(found, second);
    ck_assert_str_eq(argv.items[1], "2");
    MUST(file_write_atomic(first, "q 1\n", 4, 0600, &err));
    MUST(args_file_load(&paths, "web1", &other, &more, &err));
    ck_assert_str_eq(other, first);
    ck_assert_str_eq(more.items[1], "1");
    static const struct {
        const char *text;
        size_t length;
        mode_t mode;
        enum status status;
        const char *words;
    } bad[] = {
        {"q 1\n", 4, 0666, STATUS_NOT_TRUSTED, "web1.args"},
        {"# q\n", 4, 0600, STATUS_CONFIG, "no command"},
        {"q\0x\n", 4, 0600, STATUS_CONFIG, "not a text"},
        {"q\n;\n", 4, 0600, STATUS_CONFIG, "web1.args:2: ';'"},
    };
    for (size_t i = 0; i < COUNT(bad); i++) {
        autofree char *path = NULL;
        autostrlist struct strlist words = {0};
        MUST(file_write_atomic(first, bad[i].text, bad[i].length, bad[i].mode, &err));
        MUST_FAIL(bad[i].status, bad[i].words, args_file_load(&paths, "web1", &path, &words, &err));
    }
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {equal, different, escaped, secrets, complete, args, files};
    return unit_run("visible", tests, COUNT(tests));
}
