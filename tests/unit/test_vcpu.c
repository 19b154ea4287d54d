/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Reading the CPU of a running guest from a QEMU that answers as it likes, and comparing it with an
 * agreement.
 */
#include "unit.h"

#include <pthread.h>
#include <sys/socket.h>

#include "base/json.h"
#include "vm/verify.h"
#include "vm/vcpu.h"

#define GREETING                                                                                   \
    "{\"QMP\":{\"version\":{\"qemu\":{\"micro\":13,\"minor\":0,\"major\":10},\"package\":\"\"},"   \
    "\"capabilities\":[]}}\n"

/* The answers of a good QEMU: to a command, or to qom-get of a property. */
static const struct answer {
    const char *question, *reply;
} good[] = {
    {"qmp_capabilities", "{}"},
    {"type", "\"pc-q35-7.2-machine\""},
    {"query-kvm", "{\"enabled\":false,\"present\":true}"},
    {"query-cpu-model-expansion",
     "{\"model\":{\"name\":\"base\",\"props\":{\"smap\":false,\"avx\":false,\"kvmclock\":false,"
     "\"ht\":false,\"rdctl-no\":false,\"arch-capabilities\":false,\"newer\":false,\"lmce\":false,"
     "\"vmx\":false,\"vmx-ept\":false,\"min-level\":0,\"vendor\":\"GenuineIntel\"}}}"},
    {"query-cpus-fast", "[{\"cpu-index\":0,\"qom-path\":\"/a\",\"target\":\"x86_64\"},"
                        "{\"cpu-index\":2,\"qom-path\":\"/b\",\"target\":\"x86_64\"}]"},
    /* smap and arch-capabilities; avx is not; kvmclock has one bit of its two; ht. */
    {"feature-words",
     "[{\"cpuid-register\":\"EBX\",\"cpuid-input-eax\":7,\"cpuid-input-ecx\":0,"
     "\"features\":1048576},"
     "{\"cpuid-register\":\"EDX\",\"cpuid-input-eax\":7,\"cpuid-input-ecx\":0,"
     "\"features\":536870912},"
     "{\"cpuid-register\":\"ECX\",\"cpuid-input-eax\":1,\"features\":0},"
     "{\"cpuid-register\":\"ESI\",\"cpuid-input-eax\":1,\"features\":4294967295},"
     "{\"cpuid-register\":\"EDX\",\"cpuid-input-eax\":1,\"features\":268435456},"
     "{\"cpuid-register\":\"EAX\",\"cpuid-input-eax\":1073741825,\"features\":1}]"},
    {"rdctl-no", "true"},
    {"newer", "true"},
    {"vendor", "\"AuthenticAMD\""},
    {"family", "23"},
    {"model", "1"},
    {"stepping", "2"},
    {"model-id", "\"AMD EPYC, by hand\""},
    {"level", "13"},
    {"xlevel", "2147483658"},
    {"phys-bits", "40"},
    {"qom-list",
     "[{\"name\":\"smap\",\"type\":\"bool\"},{\"name\":\"pmu\",\"type\":\"bool\"},"
     "{\"name\":\"hv-relaxed\",\"type\":\"bool\"},{\"name\":\"hv-spinlocks\",\"type\":\"uint32\"},"
     "{\"name\":\"hv_time\",\"type\":\"bool\"},{\"name\":\"realized\",\"type\":\"bool\"},"
     "{\"name\":\"kvm\",\"type\":\"bool\"},{\"name\":\"hv-vendor-id\",\"type\":\"str\"},"
     "{\"name\":\"x-new\",\"type\":\"Thing\"},{\"name\":\"family\",\"type\":\"int\"}]"},
    {"pmu", "false"},
    {"hv-relaxed", "false"},
    {"hv-spinlocks", "4294967295"},
    {"kvm", "true"},
    {"hv-vendor-id", "\"Micro\\tsoft\""},
    {"x-new", "[1]"},
};

/* A QEMU that says one thing, or any thing, otherwise. */
struct fake {
    struct answer other; /* question NULL: none; a reply that begins with '!' is an error */
    int hang_up_at;      /* at this question, from 1; 0: never */
    int asked;
    int fd;
    pthread_t thread;
};

static const char *find_reply(const struct fake *fake, const char *question)
{
    if (fake->other.question && strcmp(fake->other.question, question) == 0)
        return fake->other.reply;
    for (size_t i = 0; i < COUNT(good); i++)
        if (strcmp(good[i].question, question) == 0)
            return good[i].reply;
    return "!no such property";
}

static bool answer(struct fake *fake, const char *line)
{
    autojson json_t *request = json_loads(line, 0, NULL);
    const char *question = json_string_value(json_object_get(request, "execute"));
    json_int_t id = json_integer_value(json_object_get(request, "id"));
    const char *property =
        json_string_value(json_object_get(json_object_get(request, "arguments"), "property"));
    const char *reply = find_reply(fake, property ? property : question);
    autofree char *text =
        *reply == '!'
            ? string_format(
                  "{\"error\":{\"class\":\"GenericError\",\"desc\":\"%s\"},\"id\":%lld}\n",
                  reply + 1, (long long)id)
            : string_format("{\"return\":%s,\"id\":%lld}\n", reply, (long long)id);
    return ++fake->asked != fake->hang_up_at &&
           send(fake->fd, text, strlen(text), MSG_NOSIGNAL) == (ssize_t)strlen(text);
}

static void *play(void *user)
{
    struct fake *fake = user;
    char line[4096];
    size_t length = 0;
    if (send(fake->fd, GREETING, strlen(GREETING), MSG_NOSIGNAL) < 0)
        return NULL;
    while (recv(fake->fd, line + length, 1, 0) == 1) {
        if (line[length++] != '\n')
            continue;
        line[length] = '\0';
        length = 0;
        if (!answer(fake, line))
            break;
    }
    shutdown(fake->fd, SHUT_RDWR);
    return NULL;
}

/* What running_cpu_read makes of a fake, as one call. */
static bool read_fake(struct fake *fake, struct running_cpu *cpu, struct error *err)
{
    int fds[2];
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    fake->fd = fds[1];
    ck_assert_int_eq(pthread_create(&fake->thread, NULL, play, fake), 0);
    struct qmp *qmp = qmp_open(fds[0], deadline_in_ms(5000), err);
    bool read = qmp && running_cpu_read(qmp, cpu, err);
    qmp_close(qmp);
    pthread_join(fake->thread, NULL);
    close(fake->fd);
    return read;
}

static void check_names(const struct featureset *set, const char *names)
{
    autofeatureset struct featureset wanted = {0};
    MUST(featureset_parse(&wanted, names, "test", STATUS_INTERNAL, &err));
    struct featureset_cursor cursor = {0};
    autostrlist struct strlist found = {0};
    for (const char *name; (name = featureset_next(set, &cursor));)
        strlist_push(&found, name);
    autofree char *text = strlist_join(&found, ",");
    ck_assert_msg(featureset_equal(set, &wanted), "%s instead of %s", text, names);
}

START_TEST(good_qemu)
{
    autorunningcpu struct running_cpu cpu = {0};
    struct fake fake = {.asked = 0};
    MUST(read_fake(&fake, &cpu, &err));
    ck_assert_str_eq(cpu.machine, "pc-q35-7.2");
    ck_assert_str_eq(cpu.accel, "tcg");
    /* lmce is a knob; what is no switch is no feature. */
    check_names(&cpu.known, "smap,avx,kvmclock,ht,rdctl-no,arch-capabilities,newer,vmx,vmx-ept");
    ck_assert_uint_eq(cpu.count, 2);
    ck_assert_int_eq(cpu.vcpus[0].index, 0);
    ck_assert_int_eq(cpu.vcpus[1].index, 2);
    for (size_t i = 0; i < cpu.count; i++) {
        const struct vcpu *vcpu = &cpu.vcpus[i];
        check_names(&vcpu->features, "smap,ht,rdctl-no,arch-capabilities,newer");
        ck_assert_str_eq(vcpu->identity.vendor, "AuthenticAMD");
        ck_assert_str_eq(vcpu->identity.model_id, "AMD EPYC, by hand");
        ck_assert_uint_eq(vcpu->identity.family, 23);
        ck_assert_uint_eq(vcpu->identity.model, 1);
        ck_assert_uint_eq(vcpu->identity.stepping, 2);
        ck_assert_uint_eq(vcpu->identity.level, 13);
        ck_assert_uint_eq(vcpu->identity.xlevel, 0x8000000a);
        ck_assert_uint_eq(vcpu->phys_bits, 40);
        static const char *const knobs[][2] = {{"pmu", "off"},
                                               {"hv-relaxed", "off"},
                                               {"hv-spinlocks", "4294967295"},
                                               {"kvm", "on"},
                                               {"family", "23"}};
        for (size_t k = 0; k < COUNT(knobs); k++)
            ck_assert_str_eq(cpu_knobs_get(&vcpu->knobs, knobs[k][0]), knobs[k][1]);
        const char *text = cpu_knobs_get(&vcpu->knobs, "hv-vendor-id");
        ck_assert_msg(text && !strchr(text, '\t'), "a text that is not plain: %s", text);
        ck_assert_uint_eq(vcpu->knobs.count, COUNT(knobs) + 1);
    }
}
END_TEST

/* Bits of MSRs: asked for where CPUID announces them, and not where it does not. */
START_TEST(what_is_asked)
{
    struct fake without = {.other = {"feature-words", "[]"}};
    autorunningcpu struct running_cpu cpu = {0};
    /* No words at all: everything is asked for by name, and a fake has not all names. */
    MUST_FAIL(STATUS_PROTOCOL, "vCPU 0: ", read_fake(&without, &cpu, &err));
    struct fake unannounced = {
        .other = {"feature-words",
                  "[{\"cpuid-register\":\"EBX\",\"cpuid-input-eax\":7,\"cpuid-input-ecx\":0,"
                  "\"features\":0},"
                  "{\"cpuid-register\":\"EDX\",\"cpuid-input-eax\":7,\"cpuid-input-ecx\":0,"
                  "\"features\":0},"
                  "{\"cpuid-register\":\"ECX\",\"cpuid-input-eax\":1,\"features\":268435456},"
                  "{\"cpuid-register\":\"EDX\",\"cpuid-input-eax\":1,\"features\":0},"
                  "{\"cpuid-register\":\"EAX\",\"cpuid-input-eax\":1073741825,\"features\":9}]"}};
    MUST(read_fake(&unannounced, &cpu, &err));
    check_names(&cpu.vcpus[0].features, "avx,kvmclock,newer");
    /* vmx is there now: its bits count, and this QEMU has no such property. */
    struct fake vmx = {
        .other = {"feature-words",
                  "[{\"cpuid-register\":\"EBX\",\"cpuid-input-eax\":7,\"cpuid-input-ecx\":0,"
                  "\"features\":0},"
                  "{\"cpuid-register\":\"EDX\",\"cpuid-input-eax\":7,\"cpuid-input-ecx\":0,"
                  "\"features\":0},"
                  "{\"cpuid-register\":\"ECX\",\"cpuid-input-eax\":1,\"features\":32},"
                  "{\"cpuid-register\":\"EDX\",\"cpuid-input-eax\":1,\"features\":0},"
                  "{\"cpuid-register\":\"EAX\",\"cpuid-input-eax\":1073741825,\"features\":9}]"}};
    autorunningcpu struct running_cpu other = {0};
    MUST_FAIL(STATUS_PROTOCOL, "no such property", read_fake(&vmx, &other, &err));
    ck_assert_uint_eq(other.count, 0);
}
END_TEST

START_TEST(bad_answers)
{
    static const struct {
        struct answer other;
        const char *words;
    } rows[] = {
        {{"type", "\"-machine\""}, "machine type"},
        {{"type", "\"pc\""}, "machine type"},
        {{"type", "\"a b-machine\""}, "machine type"},
        {{"type", "7"}, "machine type"},
        {{"type", "!gone"}, "gone"},
        {{"query-kvm", "!no KVM here"}, "no KVM here"},
        {{"query-cpu-model-expansion", "!not x86"}, "not x86"},
        {{"query-cpu-model-expansion", "{}"}, "no CPU features"},
        {{"query-cpu-model-expansion", "{\"model\":{\"props\":{\"lmce\":true}}}"},
         "no CPU features"},
        {{"query-cpus-fast", "[]"}, "list of CPUs"},
        {{"query-cpus-fast", "{}"}, "list of CPUs"},
        {{"query-cpus-fast", "[7]"}, "list of CPUs"},
        {{"query-cpus-fast", "[{\"cpu-index\":0}]"}, "list of CPUs"},
        {{"query-cpus-fast", "[{\"cpu-index\":-1,\"qom-path\":\"/a\"}]"}, "list of CPUs"},
        {{"query-cpus-fast", "[{\"cpu-index\":\"0\",\"qom-path\":\"/a\"}]"}, "list of CPUs"},
        {{"feature-words", "!unknown"}, "vCPU 0: qom-get: unknown"},
        {{"feature-words", "[7]"}, "feature-words"},
        {{"feature-words", "[{\"cpuid-register\":\"EAX\",\"cpuid-input-eax\":1}]"},
         "feature-words"},
        {{"feature-words", "[{\"cpuid-register\":\"EAX\",\"cpuid-input-eax\":-1,\"features\":1}]"},
         "feature-words"},
        {{"feature-words",
          "[{\"cpuid-register\":\"EAX\",\"cpuid-input-eax\":1,\"features\":4294967296}]"},
         "feature-words"},
        {{"rdctl-no", "!no such bit"}, "no such bit"},
        {{"rdctl-no", "1"}, "rdctl-no is not on or off"},
        {{"vendor", "7"}, "QEMU's CPU"},
        {{"vendor", "\"Intel\""}, "not a CPU's identity"},
        {{"family", "\"6\""}, "QEMU's CPU"},
        {{"model", "256"}, "not a CPU's identity"},
        {{"level", "4294967296"}, "not a CPU's identity"},
        {{"model-id", "null"}, "QEMU's CPU"},
        {{"phys-bits", "65"}, "phys-bits"},
        {{"phys-bits", "-1"}, "phys-bits"},
        {{"phys-bits", "\"40\""}, "phys-bits"},
        {{"qom-list", "!no such object"}, "no such object"},
        {{"pmu", "!not readable"}, "not readable"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        autorunningcpu struct running_cpu cpu = {0};
        struct fake fake = {.other = rows[i].other};
        MUST_FAIL(STATUS_PROTOCOL, rows[i].words, read_fake(&fake, &cpu, &err));
        ck_assert_msg(!cpu.machine && cpu.count == 0, "%s: filled", rows[i].other.question);
    }
}
END_TEST

START_TEST(too_many)
{
    autostrbuf struct strbuf words = {0}, cpus = {0};
    autorunningcpu struct running_cpu cpu = {0};
    for (int i = 0; i < 129; i++)
        strbuf_printf(&words,
                      "%s{\"cpuid-register\":\"EAX\",\"cpuid-input-eax\":%d,\"features\":1}",
                      i == 0 ? "[" : ",", i);
    strbuf_puts(&words, "]");
    struct fake wordy = {.other = {"feature-words", words.data}};
    MUST_FAIL(STATUS_PROTOCOL, "feature-words", read_fake(&wordy, &cpu, &err));
    for (int i = 0; i < 4097; i++)
        strbuf_printf(&cpus, "%s{\"cpu-index\":%d,\"qom-path\":\"/a\"}", i == 0 ? "[" : ",", i);
    strbuf_puts(&cpus, "]");
    struct fake crowded = {.other = {"query-cpus-fast", cpus.data}};
    MUST_FAIL(STATUS_PROTOCOL, "list of CPUs", read_fake(&crowded, &cpu, &err));
}
END_TEST

/* At each question in turn QEMU hangs up. */
START_TEST(hangs_up)
{
    struct fake whole = {.asked = 0};
    autorunningcpu struct running_cpu cpu = {0};
    MUST(read_fake(&whole, &cpu, &err));
    /* Four of the machine; the properties' names; and for each vCPU eight numbers, one answer for
     * most features, two that are asked for by name, and seven knobs: no more, or it takes long. */
    ck_assert_int_eq(whole.asked, 1 + 4 + 1 + 2 * (8 + 1 + 2 + 7));
    for (int at = 1; at <= whole.asked; at++) {
        struct fake fake = {.hang_up_at = at};
        autorunningcpu struct running_cpu none = {0};
        MUST_FAIL(STATUS_UNAVAILABLE, "hung up", read_fake(&fake, &none, &err));
        ck_assert(!none.machine && none.count == 0);
    }
}
END_TEST

static void set_features(struct featureset *set, const char *names)
{
    featureset_free(set);
    MUST(featureset_parse(set, names, "test", STATUS_INTERNAL, &err));
}

static void set_knob(struct cpu_knobs *knobs, const char *name, const char *value)
{
    ck_assert(cpu_knobs_set(knobs, name, value));
}

/* An agreement on the CPU that the fake has. */
static void agree(struct agreement *agreement, struct running_cpu *cpu)
{
    struct fake fake = {.asked = 0};
    MUST(read_fake(&fake, cpu, &err));
    *agreement = (struct agreement){.machine = strdup("pc-q35-7.2")};
    struct baseline *baseline = &agreement->baseline;
    baseline->accel = strdup("tcg");
    baseline->identity = cpu->vcpus[0].identity;
    baseline->phys_bits = 40;
    set_features(&baseline->features, "smap,rdctl-no,arch-capabilities,newer");
}

/* verify_cpu finds exactly these: "VCPU WHAT AGREED FOUND", a line each. */
static void check_found(const struct agreement *agreement, const struct running_cpu *cpu,
                        const char *wanted)
{
    autodifferences struct differences differences = {0};
    autostrbuf struct strbuf text = {0};
    MUST(verify_cpu(agreement, cpu, &differences, &err));
    for (size_t i = 0; i < differences.count; i++)
        strbuf_printf(&text, "%d %s %s %s\n", differences.items[i].vcpu, differences.items[i].what,
                      differences.items[i].agreed, differences.items[i].found);
    ck_assert_str_eq(text.data ? text.data : "", wanted);
}

START_TEST(as_agreed)
{
    autoagreement struct agreement agreement = {0};
    autorunningcpu struct running_cpu cpu = {0};
    agree(&agreement, &cpu);
    check_found(&agreement, &cpu, ""); /* ht differs, and is harmless */
    /* 0: not agreed on. */
    agreement.baseline.identity.level = agreement.baseline.identity.xlevel = 0;
    agreement.baseline.phys_bits = 0;
    check_found(&agreement, &cpu, "");
    /* Knobs that the agreement has, the second name of one among them. */
    set_knob(&agreement.baseline.knobs, "hv-apicv", "on");
    set_knob(&agreement.baseline.knobs, "hv-spinlocks", "8191");
    for (size_t i = 0; i < cpu.count; i++) {
        set_knob(&cpu.vcpus[i].knobs, "hv-apicv", "on");
        set_knob(&cpu.vcpus[i].knobs, "hv-avic", "on");
        set_knob(&cpu.vcpus[i].knobs, "hv-spinlocks", "8191");
        set_knob(&cpu.vcpus[i].knobs, "l3-cache", "off"); /* QEMU's own business */
        set_knob(&cpu.vcpus[i].knobs, "ucode-rev", "16777317");
    }
    check_found(&agreement, &cpu, "");
}
END_TEST

START_TEST(features_differ)
{
    autoagreement struct agreement agreement = {0};
    autorunningcpu struct running_cpu cpu = {0};
    agree(&agreement, &cpu);
    set_features(&cpu.vcpus[1].features, "rdctl-no,arch-capabilities,newer,avx");
    check_found(&agreement, &cpu, "2 avx off on\n2 smap on off\n");
    set_features(&agreement.baseline.features, "ht,gone,rdctl-no,arch-capabilities,newer,avx");
    cpu.count = 2;
    check_found(&agreement, &cpu,
                "0 avx on off\n0 smap off on\n0 gone on unknown to this QEMU\n"
                "2 gone on unknown to this QEMU\n");
}
END_TEST

/* With kvm=off no vCPU has KVM's own features; without it they count. */
START_TEST(hidden_kvm)
{
    autoagreement struct agreement agreement = {0};
    autorunningcpu struct running_cpu cpu = {0};
    agree(&agreement, &cpu);
    ck_assert(featureset_add(&agreement.baseline.features, "kvmclock"));
    check_found(&agreement, &cpu, "0 kvmclock on off\n2 kvmclock on off\n");
    set_knob(&agreement.baseline.knobs, "kvm", "off");
    check_found(&agreement, &cpu, "0 kvm off on\n2 kvm off on\n");
    set_knob(&cpu.vcpus[0].knobs, "kvm", "off");
    set_knob(&cpu.vcpus[1].knobs, "kvm", "off");
    check_found(&agreement, &cpu, "");
}
END_TEST

START_TEST(numbers_differ)
{
    autoagreement struct agreement agreement = {0};
    autorunningcpu struct running_cpu cpu = {0};
    agree(&agreement, &cpu);
    struct vcpu *vcpu = &cpu.vcpus[1];
    vcpu->identity.family = 6;
    vcpu->identity.model = 2;
    vcpu->identity.stepping = 3;
    vcpu->identity.level = 14;
    vcpu->identity.xlevel = 0x80000008;
    vcpu->phys_bits = 39;
    memcpy(vcpu->identity.vendor, "GenuineIntel", CPU_VENDOR_SIZE);
    vcpu->identity.model_id[0] = '\t';
    check_found(&agreement, &cpu,
                "2 vendor AuthenticAMD GenuineIntel\n"
                "2 model-id AMD EPYC, by hand MD EPYC, by hand\n2 family 23 6\n2 model 1 2\n"
                "2 stepping 2 3\n2 level 13 14\n2 xlevel 0x8000000a 0x80000008\n"
                "2 phys-bits 40 39\n");
    /* What the user set by name is a knob and counts instead. */
    static const char *const own[][2] = {{"vendor", "GenuineIntel"},
                                         {"family", "6"},
                                         {"model", "2"},
                                         {"stepping", "3"},
                                         {"model-id", "mine"}};
    for (size_t i = 0; i < COUNT(own); i++) {
        set_knob(&agreement.baseline.knobs, own[i][0], own[i][1]);
        set_knob(&vcpu->knobs, own[i][0], own[i][1]);
    }
    cpu.vcpus[0].identity = vcpu->identity;
    cpu.vcpus[0].phys_bits = 40;
    check_found(&agreement, &cpu,
                "0 level 13 14\n0 xlevel 0x8000000a 0x80000008\n0 family 6 23\n"
                "0 model 2 unknown to this QEMU\n0 model-id mine unknown to this QEMU\n"
                "0 stepping 3 unknown to this QEMU\n0 vendor GenuineIntel unknown to this QEMU\n"
                "2 level 13 14\n2 xlevel 0x8000000a 0x80000008\n2 phys-bits 40 39\n");
}
END_TEST

START_TEST(knobs_differ)
{
    static const struct {
        const char *name, *agreed, *found, *wanted;
    } rows[] = {
        {"pmu", NULL, "on", "0 pmu off on\n"},
        {"kvm", NULL, "off", "0 kvm on off\n"},
        {"lmce", NULL, "on", "0 lmce off on\n"},
        {"host-cache-info", NULL, "on", "0 host-cache-info off on\n"},
        {"x-force-features", NULL, "on", "0 x-force-features off on\n"},
        {"hv-time", NULL, "on", "0 hv-time off on\n"},
        {"hv-time", "on", "off", "0 hv-time on off\n"},
        {"hv-avic", NULL, "on", "0 hv-avic off on\n"},
        {"hv-spinlocks", NULL, "7", ""},
        {"hv-spinlocks", "8", "7", "0 hv-spinlocks 8 7\n"},
        {"ucode-rev", NULL, "1", "0 ucode-rev 16777317 1\n"},
        {"ucode-rev", "2", "1", "0 ucode-rev 2 1\n"},
        {"l3-cache", NULL, "off", ""},
        {"l3-cache", "on", "off", "0 l3-cache on off\n"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        autoagreement struct agreement agreement = {0};
        autorunningcpu struct running_cpu cpu = {0};
        agree(&agreement, &cpu);
        set_knob(&cpu.vcpus[0].knobs, rows[i].name, rows[i].found);
        if (rows[i].agreed) {
            set_knob(&agreement.baseline.knobs, rows[i].name, rows[i].agreed);
            set_knob(&cpu.vcpus[1].knobs, rows[i].name, rows[i].agreed);
        }
        check_found(&agreement, &cpu, rows[i].wanted);
    }
}
END_TEST

START_TEST(machine_differs)
{
    autoagreement struct agreement agreement = {0};
    autorunningcpu struct running_cpu cpu = {0};
    agree(&agreement, &cpu);
    cpu.machine[7] = '8';
    memcpy(cpu.accel, "kvm", 3);
    check_found(&agreement, &cpu,
                "-1 machine type pc-q35-7.2 pc-q35-8.2\n-1 accelerator tcg kvm\n");
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        good_qemu,       what_is_asked, bad_answers,    too_many,     hangs_up,        as_agreed,
        features_differ, hidden_kvm,    numbers_differ, knobs_differ, machine_differs,
    };
    return unit_run("vcpu", tests, COUNT(tests));
}
