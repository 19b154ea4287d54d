/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What doctor makes of files that a kernel could have: a folder of the test's stands for /.
 */
#include "unit.h"

#include <pwd.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

#include "base/file.h"
#include "doctor/doctor_private.h"
#include "host/profile.h"
#include "peer/envelope.h"
#include "vm/record.h"

#define DAY_S (24 * 3600)
#define NOBODY 65534

static struct paths paths;
static struct doctor_setup setup;
static struct doctor doctor;
static struct findings found;

/* A host with nothing in it. */
static void begin(void)
{
    paths = (struct paths){
        .config = in_folder("config"), .state = in_folder("state"), .run = in_folder("run")};
    setup = (struct doctor_setup){.paths = &paths, .home = unit_folder};
    doctor_open(&doctor, &setup);
    doctor.root = unit_folder;
}

static void put(const char *path, const char *text)
{
    autofree char *whole = string_format("%s%s", unit_folder, path);
    autofree char *folder = strdup(whole);
    *strrchr(folder, '/') = '\0';
    MUST(folder_make(folder, 0755, &err));
    MUST(file_write_atomic(whole, text, strlen(text), 0600, &err));
}

static const struct finding *find(const char *subject)
{
    for (size_t i = 0; i < found.count; i++)
        if (strstr(found.items[i].subject, subject))
            return &found.items[i];
    return NULL;
}

/* Look anew: the finding about the subject has that severity and those words. */
#define EXPECT(check, subject, wanted, words)                                                      \
    do {                                                                                           \
        findings_free(&found);                                                                     \
        check(&doctor, &found);                                                                    \
        expect((subject), (wanted), (words), #check);                                              \
    } while (0)

static void expect(const char *subject, enum severity severity, const char *words, const char *what)
{
    const struct finding *item = find(subject);
    ck_assert_msg(item != NULL, "%s: nothing about %s", what, subject);
    ck_assert_msg(item->severity == severity, "%s: %s: %s, not %s: %s", what, subject,
                  severity_name(item->severity), severity_name(severity), item->what);
    ck_assert_msg(strstr(item->what, words) != NULL, "%s: '%s' is not in: %s", what, words,
                  item->what);
    ck_assert_msg(severity < SEVERITY_WARNING || item->remedy, "%s: no remedy", what);
}

static void expect_command(const char *subject, const char *command)
{
    const struct finding *item = find(subject);
    ck_assert_ptr_nonnull(item);
    ck_assert_ptr_nonnull(item->command);
    ck_assert_str_eq(item->command, command);
}

START_TEST(as_json_and_back)
{
    autofindings struct findings list = {.check = "x"}, back = {0}, none = {0};
    finding_add(&list, SEVERITY_PROBLEM, "a\033[31m", "no %s\n",
                "\xe2\x80\xae"
                "file");
    finding_remedy(&list, "do %d", 1);
    finding_command(&list, "rm %s", "'a b'");
    finding_add(&list, SEVERITY_OK, "b", "well");
    finding_command(&list, "rm \xc3\xa4");
    ck_assert_uint_eq(findings_count(&list, SEVERITY_PROBLEM), 1);
    autojson json_t *json = findings_to_json(&list), *empty = findings_to_json(&none);
    ck_assert_ptr_nonnull(json);
    ck_assert_int_eq(json_integer_value(json_object_get(json, "problems")), 1);
    ck_assert_int_eq(json_integer_value(json_object_get(json, "warnings")), 0);
    MUST(findings_from_json(json, &back, &err));
    MUST(findings_from_json(empty, &back, &err));
    ck_assert_uint_eq(back.count, 2);
    ck_assert_str_eq(back.items[0].check, "x");
    ck_assert_str_eq(back.items[0].subject, "a[31m");
    ck_assert_str_eq(back.items[0].what, "no file");
    ck_assert_str_eq(back.items[0].remedy, "do 1");
    ck_assert_str_eq(back.items[0].command, "rm 'a b'");
    ck_assert_int_eq(back.items[1].severity, SEVERITY_OK);
    /* A command that cannot be shown as it is is none. */
    ck_assert_ptr_null(back.items[1].command);
    ck_assert_ptr_null(back.items[1].remedy);
    json_object_set_new(json_array_get(json_object_get(json, "findings"), 0), "severity",
                        json_string("bad"));
    MUST_FAIL(STATUS_DATA, "no severity", findings_from_json(json, &back, &err));
    json_object_set_new(json, "findings", json_integer(1));
    MUST_FAIL(STATUS_DATA, "not a list", findings_from_json(json, &back, &err));
}
END_TEST

START_TEST(lock_lines)
{
    unsigned long long inode = 0;
    long pid = 0;
    ck_assert(parse_lock_line("1: FLOCK  ADVISORY  WRITE 1234 08:02:5678 0 EOF", &inode, &pid));
    ck_assert_uint_eq(inode, 5678);
    ck_assert_int_eq(pid, 1234);
    ck_assert(parse_lock_line("12: FLOCK  ADVISORY  READ 7 00:2a:18446744073709551615 0 EOF",
                              &inode, &pid));
    ck_assert_uint_eq(inode, 18446744073709551615ULL);
    static const char *const others[] = {
        "",
        "1: POSIX  ADVISORY  WRITE 1234 08:02:5678 0 EOF",
        "1: FLOCK  ADVISORY  WRITE 0 08:02:5678 0 EOF",       /* of another pid namespace */
        "1: -> FLOCK  ADVISORY  WRITE 1234 08:02:5678 0 EOF", /* it only waits */
        "1: FLOCK  ADVISORY  WRITE 1234",
    };
    for (size_t i = 0; i < COUNT(others); i++)
        ck_assert_msg(!parse_lock_line(others[i], &inode, &pid), "%s", others[i]);
}
END_TEST

START_TEST(tcp_lines)
{
    struct tcp_listener listener = {0};
    ck_assert(parse_tcp_line("   1: 0100007F:4083 00000000:0000 0A 00000000:00000000 00:00000000 "
                             "00000000  1000        0 12345 1 0000000000000000 100 0 0 10 0",
                             &listener));
    ck_assert_uint_eq(listener.port, 16515);
    ck_assert_uint_eq(listener.inode, 12345);
    ck_assert_uint_eq(listener.user, 1000);
    ck_assert(parse_tcp_line("   0: 00000000000000000000000000000000:C000 "
                             "00000000000000000000000000000000:0000 0A 00000000:00000000 "
                             "00:00000000 00000000     0        0 9 1 0 100 0 0 10 0",
                             &listener));
    ck_assert_uint_eq(listener.port, 49152);
    static const char *const others[] = {
        "", "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid",
        "   1: 0100007F:4083 0100007F:C001 01 00000000:00000000 00:00000000 00000000  1000 0 12345",
        "   1: 0100007F:4083 00000000:0000 0A"};
    for (size_t i = 0; i < COUNT(others); i++)
        ck_assert_msg(!parse_tcp_line(others[i], &listener), "%s", others[i]);
}
END_TEST

START_TEST(no_kvm)
{
    begin();
    put("/proc/cpuinfo", "processor : 0\nflags\t: fpu svm sse2\n\nprocessor : 1\nflags : vmx\n");
    EXPECT(check_kvm, "/dev/kvm", SEVERITY_WARNING, "no such device");
    expect_command("/dev/kvm", "modprobe kvm_amd");
    put("/proc/cpuinfo", "processor : 0\nflags\t: fpu vmx sse2\n");
    EXPECT(check_kvm, "/dev/kvm", SEVERITY_WARNING, "no such device");
    expect_command("/dev/kvm", "modprobe kvm_intel");
    put("/proc/cpuinfo", "processor : 0\nflags\t: fpu hypervisor\n");
    EXPECT(check_kvm, "/dev/kvm", SEVERITY_WARNING, "no such device");
    ck_assert(strstr(find("/dev/kvm")->remedy, "nested virtualisation"));
    put("/proc/cpuinfo", "processor : 0\nflags\t: fpu\n");
    EXPECT(check_kvm, "/dev/kvm", SEVERITY_WARNING, "no such device");
    ck_assert(strstr(find("/dev/kvm")->remedy, "firmware"));
    ck_assert(!doctor_kvm_usable(&doctor));
    put("/dev/kvm", "");
    ck_assert(!doctor_kvm_usable(&doctor));
    EXPECT(check_kvm, "/dev/kvm", SEVERITY_PROBLEM, "not KVM as QEMU wants it");
}
END_TEST

START_TEST(nested)
{
    begin();
    put("/proc/cpuinfo", "processor : 0\nflags\t: fpu svm\n");
    put("/sys/module/kvm_amd/parameters/nested", "0\n");
    EXPECT(check_nested, "nested", SEVERITY_OK, "kvm_amd: nested=0: guests cannot");
    put("/sys/module/kvm_amd/parameters/nested", "1\n");
    EXPECT(check_nested, "nested", SEVERITY_OK, "guests can have");
    put("/proc/cpuinfo", "processor : 0\nflags\t: fpu hypervisor svm\n");
    EXPECT(check_nested, "nested", SEVERITY_NOTE, "a guest itself");
}
END_TEST

START_TEST(apparmor)
{
    begin();
    put("/sys/module/apparmor/parameters/enabled", "Y\n");
    put("/sys/kernel/security/apparmor/profiles",
        "/usr/sbin/ntpd (enforce)\nlibvirt-6fd1c2ab (enforce)\n"
        "qemu-migrate-launch//qemu-system (enforce)\n/usr/bin/qemu-system-x86_64 (complain)\n");
    EXPECT(check_confinement, "confinement", SEVERITY_OK, "nothing");
    put("/sys/kernel/security/apparmor/profiles",
        "/usr/sbin/ntpd (enforce)\n/usr/bin/qemu-system-x86_64 (enforce)\n");
    EXPECT(check_confinement, "AppArmor", SEVERITY_WARNING, "/usr/bin/qemu-system-x86_64 is");
    expect_command("AppArmor", "aa-complain /usr/bin/qemu-system-x86_64");
    put("/sys/module/apparmor/parameters/enabled", "N\n");
    EXPECT(check_confinement, "confinement", SEVERITY_OK, "nothing");
    put("/sys/module/apparmor/parameters/enabled", "Y\n");
    put("/sys/kernel/security/apparmor/profiles", "");
    put("/proc/self/attr/current", "/usr/bin/man (enforce)\n");
    EXPECT(check_confinement, "AppArmor", SEVERITY_NOTE, "/usr/bin/man (enforce)");
    put("/proc/self/attr/current", "unconfined\n");
    EXPECT(check_confinement, "confinement", SEVERITY_OK, "nothing");
}
END_TEST

START_TEST(selinux)
{
    begin();
    put("/sys/fs/selinux/enforce", "1");
    put("/proc/self/attr/current", "system_u:system_r:cron_t:s0");
    EXPECT(check_confinement, "SELinux", SEVERITY_WARNING, "cron_t");
    put("/proc/self/attr/current", "unconfined_u:unconfined_r:unconfined_t:s0");
    EXPECT(check_confinement, "confinement", SEVERITY_OK, "unconfined");
    put("/proc/self/attr/current", "system_u:system_r:cron_t:s0");
    put("/sys/fs/selinux/enforce", "0");
    EXPECT(check_confinement, "confinement", SEVERITY_OK, "nothing");
}
END_TEST

static void add_trust(const char *name, char letter, const char *address, int64_t expires)
{
    char pin[PIN_SIZE];
    snprintf(pin, sizeof(pin), "sha256//%c%s=", letter,
             "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
    MUST(trust_add(paths.config, name, pin, address, expires, &err));
}

START_TEST(trust_that_ends)
{
    begin();
    int64_t now = 1700000000; /* 2023-11-14 22:13:20 UTC */
    EXPECT(check_trust, "trust.d", SEVERITY_NOTE, "nobody is trusted");
    add_trust("over", 'A', "h", now);
    add_trust("soon", 'B', "h:1", now + 30 * DAY_S);
    add_trust("later", 'C', "h:2", now + 30 * DAY_S + 1);
    add_trust("forever", 'D', NULL, TRUST_NEVER);
    doctor_close(&doctor);
    doctor_open(&doctor, &setup);
    doctor.now = now;
    EXPECT(check_trust, "over", SEVERITY_WARNING, "expired, its last day was 2023-11-14");
    expect("soon", SEVERITY_WARNING, "expires: its last day is 2023-12-14", "soon");
    expect("later", SEVERITY_OK, "at h", "later");
    expect("forever", SEVERITY_NOTE, "no address", "forever");
    autofree char *command = string_format("qemu-migrate-launch --home %s trust add over "
                                           "sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
                                           unit_folder);
    expect_command("over", command);
}
END_TEST

START_TEST(trust_that_is_bad)
{
    begin();
    add_trust("good", 'A', "h", TRUST_NEVER);
    put("/config/trust.d/broken.json", "{");
    put("/config/trust.d/twin.json", "{\"version\":1,\"name\":\"twin\",\"pins\":"
                                     "[\"sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\"]}");
    doctor_close(&doctor);
    doctor_open(&doctor, &setup);
    EXPECT(check_trust, "broken", SEVERITY_PROBLEM, "broken.json");
    expect("twin", SEVERITY_PROBLEM, "the same pin", "twin");
    expect("good", SEVERITY_OK, "at h", "good");
}
END_TEST

START_TEST(folders_above)
{
    begin();
    autofree char *above = string_format("%s/above", unit_folder);
    autofree char *config = string_format("%s/config", above);
    MUST(folder_make(config, 0700, &err));
    free(paths.config);
    paths.config = strdup(config);
    ck_assert_int_eq(chmod(above, 0755), 0);
    EXPECT(check_files, config, SEVERITY_OK, "nobody else");
    ck_assert_int_eq(chmod(above, 0777), 0);
    EXPECT(check_files, above, SEVERITY_WARNING, "replace");
    ck_assert_int_eq(chmod(above, 01777), 0); /* as /tmp */
    EXPECT(check_files, config, SEVERITY_OK, "nobody else");
    ck_assert_int_eq(chmod(config, 0775), 0);
    EXPECT(check_files, config, SEVERITY_PROBLEM, "mode 0775");
}
END_TEST

START_TEST(clock_behind)
{
    begin();
    autofree char *text = NULL;
    MUST(identity_create(paths.config, &err));
    struct error ignored = ERROR_INIT;
    autoidentity struct identity *identity = identity_load(paths.config, &ignored);
    ck_assert_ptr_nonnull(identity);
    autojson json_t *payload = json_pack("{s:I}", "issued", (json_int_t)doctor.now);
    MUST(envelope_sign(identity, PROFILE_TYPE, payload, &text, &err));
    put("/state/profiles/b.json", text);
    doctor.now -= CLOCK_TOLERANCE_S;
    findings_free(&found);
    check_clock(&doctor, &found);
    ck_assert_int_ne(find("clock")->severity, SEVERITY_PROBLEM);
    doctor.now--;
    EXPECT(check_clock, "clock", SEVERITY_PROBLEM, "301 s before the profile of b");
    /* Nobody signed that. */
    text[strlen(text) / 2] ^= 1;
    put("/state/profiles/b.json", text);
    findings_free(&found);
    check_clock(&doctor, &found);
    ck_assert_int_ne(find("clock")->severity, SEVERITY_PROBLEM);
}
END_TEST

/* A user without rights; root becomes one for the rest of the test. */
static const char *become_user(void)
{
    if (geteuid() == 0) {
        ck_assert_int_eq(chown(unit_folder, NOBODY, NOBODY), 0);
        ck_assert_int_eq(setgid(NOBODY) | setuid(NOBODY), 0);
    }
    const struct passwd *user = getpwuid(geteuid());
    return user ? user->pw_name : NULL;
}

START_TEST(logout)
{
    const char *user = become_user();
    if (!user)
        return; /* of a user without a name systemd knows nothing */
    begin();
    put("/etc/systemd/logind.conf", "[Login]\n#KillUserProcesses=yes\n");
    findings_free(&found);
    check_linger(&doctor, &found);
    ck_assert_uint_eq(found.count, 0);
    put("/etc/systemd/logind.conf", "[Login]\nKillUserProcesses=yes\n");
    EXPECT(check_linger, "logout", SEVERITY_WARNING, "ends with the login");
    autofree char *command = string_format("loginctl enable-linger %s", user);
    expect_command("logout", command);
    autofree char *linger = string_format("/var/lib/systemd/linger/%s", user);
    put(linger, "");
    EXPECT(check_linger, "logout", SEVERITY_OK, "lingers");
    put("/etc/systemd/logind.conf.d/50-keep.conf", "[Login]\nKillUserProcesses=no\n");
    findings_free(&found);
    check_linger(&doctor, &found);
    ck_assert_uint_eq(found.count, 0);
}
END_TEST

START_TEST(locked_memory)
{
    become_user();
    begin();
    const struct rlimit little = {.rlim_cur = 65536, .rlim_max = 65536};
    ck_assert_int_eq(setrlimit(RLIMIT_MEMLOCK, &little), 0);
    autovmrecord struct vm_record record = {
        .vm = strdup("web1"),
        .socket = strdup("/run/x"),
        .agreement = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
        .peer = strdup("b"),
        .peer_host = strdup("::1"),
        .peer_port = 1,
        .qemu = strdup("/usr/bin/qemu")};
    strlist_push(&record.argv, "qemu");
    put("/state/vms/README", "");
    MUST(vm_record_set_self(&record, &err));
    MUST(vm_record_store(&paths, &record, &err));
    findings_free(&found);
    check_limits(&doctor, &found);
    ck_assert_ptr_null(find("web1"));
    strlist_push(&record.argv, "-overcommit");
    strlist_push(&record.argv, "cpu-pm=on,mem-lock=on");
    MUST(vm_record_store(&paths, &record, &err));
    EXPECT(check_limits, "web1", SEVERITY_WARNING, "may lock 64 KiB");
}
END_TEST

START_TEST(failed_unit)
{
    begin();
    autofree char *search = string_format("%s/bin:%s", unit_folder, getenv("PATH"));
    autofree char *program = in_folder("bin/systemctl");
    setup.home = NULL;
    setenv("PATH", search, 1);
    put("/run/systemd/system/x", "");
    put("/bin/systemctl", "#!/bin/sh\necho failed\nexit 3\n");
    ck_assert_int_eq(chmod(program, 0700), 0);
    findings_free(&found);
    check_systemd(&doctor, &found);
    if (geteuid() != 0) {
        ck_assert_uint_eq(found.count, 0);
        return;
    }
    expect("qemu-migrate-launch.service", SEVERITY_OK, "not installed", "no unit");
    put("/usr/lib/systemd/system/qemu-migrate-launch.service", "");
    EXPECT(check_systemd, "qemu-migrate-launch.service", SEVERITY_PROBLEM, "has failed");
    put("/bin/systemctl", "#!/bin/sh\necho active\n");
    ck_assert_int_eq(chmod(program, 0700), 0);
    EXPECT(check_systemd, "qemu-migrate-launch.service", SEVERITY_OK, "active");
}
END_TEST

static void say(const struct doctor *unused, struct findings *findings)
{
    finding_add(findings, SEVERITY_OK, "said", "well");
}

static void crash(const struct doctor *unused, struct findings *findings)
{
    signal(SIGABRT, SIG_DFL);
    finding_add(findings, SEVERITY_PROBLEM, "lost", "with the process");
    raise(SIGKILL);
}

static void hang(const struct doctor *unused, struct findings *findings)
{
    for (;;)
        pause();
}

/* More than a pipe holds. */
static void talk(const struct doctor *unused, struct findings *findings)
{
    for (int i = 0; i < 2000; i++)
        finding_add(findings, SEVERITY_OK, "talk", "%080d", i);
}

START_TEST(checks_are_alone)
{
    begin();
    static const struct doctor_row rows[] = {
        {"first", say}, {"crash", crash}, {"hang", hang}, {"talk", talk}, {"last", say}};
    MUST(doctor_run(&doctor, rows, COUNT(rows), 2000, &found, &err));
    ck_assert_uint_eq(found.count, 2 + 2 + 2000);
    ck_assert_str_eq(found.items[0].check, "first");
    ck_assert_str_eq(found.items[1].check, "crash");
    ck_assert(strstr(found.items[1].what, "signal 9"));
    ck_assert_str_eq(found.items[2].check, "hang");
    ck_assert(strstr(found.items[2].what, "took too long"));
    ck_assert_str_eq(found.items[3 + 1999].subject, "talk");
    ck_assert_str_eq(found.items[found.count - 1].check, "last");
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        as_json_and_back, lock_lines,      tcp_lines,
        no_kvm,           nested,          apparmor,
        selinux,          trust_that_ends, trust_that_is_bad,
        folders_above,    clock_behind,    checks_are_alone,
        logout,           locked_memory,   failed_unit,
    };
    return unit_run("doctor", tests, COUNT(tests));
}
