/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The proof's arguments that come from a peer: what the table has comes through, and nothing else
 * does.
 */
#include "unit.h"

#include "base/json.h"
#include "vm/invocation.h"
#include "vm/peer_arguments.h"

#define TYPE "pc-q35-7.2"

/* {"machine":{…},"smp":{…},"accel":{…}} with one option. */
static json_t *with(const char *where, const char *key, json_t *value)
{
    json_t *json = json_pack("{s:{}, s:{}, s:{}}", "machine", "smp", "accel");
    ck_assert_int_eq(json_object_set_new(json_object_get(json, where), key, value), 0);
    return json;
}

/* What comes of one option; NULL if it was refused, with STATUS_INCOMPATIBLE. */
static char *taken(const char *where, const char *key, const char *value)
{
    autojson json_t *json = with(where, key, json_string(value));
    autoproofarguments struct proof_arguments out = {0};
    struct error err = ERROR_INIT;
    if (!peer_arguments_take(json, TYPE, "kvm", false, &out, &err)) {
        ck_assert_msg(err.status == STATUS_INCOMPATIBLE && strstr(err.message, "cannot be proven"),
                      "%s %s=%s: %d %s", where, key, value, err.status, err.message);
        ck_assert(!out.machine && !out.accel && !out.smp);
        return NULL;
    }
    ck_assert(!out.memory && !out.memory_options && !out.cpu_pm);
    if (strcmp(where, "machine") == 0) {
        ck_assert_str_eq(out.accel, "kvm");
        ck_assert_ptr_null(out.smp);
        return strdup(out.machine);
    }
    ck_assert_str_eq(out.machine, TYPE);
    return strdup(strcmp(where, "smp") == 0 ? out.smp : out.accel);
}

/* One row for each option of the table and each value of it. */
static const struct {
    const char *where, *key, *value, *words;
} good[] = {
    {"machine", "kernel-irqchip", "on", TYPE ",kernel-irqchip=on"},
    {"machine", "kernel-irqchip", "off", TYPE ",kernel-irqchip=off"},
    {"machine", "kernel-irqchip", "split", TYPE ",kernel-irqchip=split"},
    {"machine", "smp-cache.0.cache", "l1d", TYPE ",smp-cache.0.cache=l1d"},
    {"machine", "smp-cache.1.cache", "l1i", TYPE ",smp-cache.1.cache=l1i"},
    {"machine", "smp-cache.2.cache", "l2", TYPE ",smp-cache.2.cache=l2"},
    {"machine", "smp-cache.64.cache", "l3", TYPE ",smp-cache.64.cache=l3"},
    {"machine", "smp-cache.0.topology", "default", TYPE ",smp-cache.0.topology=default"},
    {"machine", "smp-cache.0.topology", "thread", TYPE ",smp-cache.0.topology=thread"},
    {"machine", "smp-cache.0.topology", "core", TYPE ",smp-cache.0.topology=core"},
    {"machine", "smp-cache.0.topology", "module", TYPE ",smp-cache.0.topology=module"},
    {"machine", "smp-cache.0.topology", "cluster", TYPE ",smp-cache.0.topology=cluster"},
    {"machine", "smp-cache.0.topology", "die", TYPE ",smp-cache.0.topology=die"},
    {"machine", "smp-cache.0.topology", "socket", TYPE ",smp-cache.0.topology=socket"},
    {"machine", "smp-cache.0.topology", "book", TYPE ",smp-cache.0.topology=book"},
    {"machine", "smp-cache.0.topology", "drawer", TYPE ",smp-cache.0.topology=drawer"},
    {"machine", "bus-lock-ratelimit", "0", TYPE ",bus-lock-ratelimit=0"},
    {"machine", "kvm-shadow-mem", "1099511627776", TYPE ",kvm-shadow-mem=1099511627776"},
    {"smp", "cpus", "1", "cpus=1"},
    {"smp", "maxcpus", "288", "maxcpus=288"},
    {"smp", "drawers", "1", "drawers=1"},
    {"smp", "books", "1", "books=1"},
    {"smp", "sockets", "2", "sockets=2"},
    {"smp", "dies", "2", "dies=2"},
    {"smp", "clusters", "2", "clusters=2"},
    {"smp", "modules", "2", "modules=2"},
    {"smp", "cores", "2", "cores=2"},
    {"smp", "threads", "2", "threads=2"},
    {"accel", "kernel-irqchip", "split", "kvm,kernel-irqchip=split"},
    {"accel", "kvm-shadow-mem", "4096", "kvm,kvm-shadow-mem=4096"},
    {"accel", "dirty-ring-size", "4096", "kvm,dirty-ring-size=4096"},
    {"accel", "eager-split-size", "0", "kvm,eager-split-size=0"},
    {"accel", "notify-vmexit", "run", "kvm,notify-vmexit=run"},
    {"accel", "notify-vmexit", "internal-error", "kvm,notify-vmexit=internal-error"},
    {"accel", "notify-vmexit", "disable", "kvm,notify-vmexit=disable"},
    {"accel", "notify-window", "7", "kvm,notify-window=7"},
    {"accel", "honor-guest-pat", "on", "kvm,honor-guest-pat=on"},
    {"accel", "honor-guest-pat", "off", "kvm,honor-guest-pat=off"},
    {"accel", "honor-guest-pat", "auto", "kvm,honor-guest-pat=auto"},
    {"accel", "thread", "single", "kvm,thread=single"},
    {"accel", "thread", "multi", "kvm,thread=multi"},
    {"accel", "tb-size", "64", "kvm,tb-size=64"},
    {"accel", "split-wx", "on", "kvm,split-wx=on"},
    {"accel", "one-insn-per-tb", "off", "kvm,one-insn-per-tb=off"},
};

START_TEST(what_the_table_has)
{
    for (size_t i = 0; i < COUNT(good); i++) {
        autofree char *words = taken(good[i].where, good[i].key, good[i].value);
        ck_assert_msg(words && strcmp(words, good[i].words) == 0, "%s %s=%s: %s", good[i].where,
                      good[i].key, good[i].value, words ? words : "(refused)");
    }
}
END_TEST

/* The same options anywhere else, and with what is no value of theirs. */
START_TEST(what_it_has_not)
{
    static const struct {
        const char *where, *key, *value;
    } rows[] = {
        {"machine", "firmware", "/tmp/x"},
        {"machine", "cpus", "2"},
        {"machine", "thread", "single"},
        {"machine", "type", "pc"},
        {"machine", "accel", "tcg"},
        {"machine", "", "on"},
        {"machine", "kernel-irqchip ", "on"},
        {"machine", " kernel-irqchip", "on"},
        {"machine", "kernel_irqchip", "on"},
        {"machine", "Kernel-irqchip", "on"},
        {"machine", "kernel-irqchip=on,firmware", "/x"},
        {"machine", "kernel-irqchip,firmware", "on"},
        {"machine", "kernel-irqchip\n", "on"},
        {"machine", "smp-cache.*.cache", "l1d"},
        {"machine", "smp-cache..cache", "l1d"},
        {"machine", "smp-cache.65.cache", "l1d"},
        {"machine", "smp-cache.99999999999999999999.cache", "l1d"},
        {"machine", "smp-cache.0x1.cache", "l1d"},
        {"machine", "smp-cache.-1.cache", "l1d"},
        {"machine", "smp-cache.+1.cache", "l1d"},
        {"machine", "smp-cache.1 .cache", "l1d"},
        {"machine", "smp-cache.0.cache,firmware", "l1d"},
        {"machine", "smp-cache.0.cachex", "l1d"},
        {"machine", "smp-cache.0", "l1d"},
        {"smp", "kernel-irqchip", "on"},
        {"smp", "threads ", "2"},
        {"accel", "accel", "kvm"},
        {"accel", "device", "/dev/kvm"},
        {"accel", "cpus", "2"},
        {"accel", "smp-cache.0.cache", "l1d"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        autofree char *words = taken(rows[i].where, rows[i].key, rows[i].value);
        ck_assert_msg(!words, "%s '%s': %s", rows[i].where, rows[i].key, words);
    }
    static const char *const values[] = {
        "",
        "on,firmware=/x",
        "on ",
        " on",
        "On",
        "on,",
        "on\n",
        "on'",
        "on\"",
        "o",
        "on off",
        "off ",
        "0x10",
        "+4",
        " 4",
        "4 ",
        "-1",
        "4,cores=2",
        "4k",
        "1e3",
        "4.0",
        "4\n",
        "\xc2\xb2",
        "NaN",
        "none",
        "l4",
        "l",
        "1099511627777",
        "99999999999999999999999",
        "default core",
        "true",
        "#",
        "*",
    };
    for (size_t i = 0; i < COUNT(good); i++)
        for (size_t k = 0; k < COUNT(values); k++) {
            autofree char *words = taken(good[i].where, good[i].key, values[k]);
            ck_assert_msg(!words, "%s %s='%s': %s", good[i].where, good[i].key, values[k], words);
        }
}
END_TEST

/* A number has one way to be written, in a value and in a name: what comes through is what we would
 * have written ourselves. */
START_TEST(written_in_one_way)
{
    static const struct {
        const char *where, *key, *value, *same_key, *same_value;
    } rows[] = {
        {"smp", "cpus", "0004", "cpus", "4"},
        {"smp", "cpus", "00", "cpus", "0"},
        {"accel", "tb-size", "064", "tb-size", "64"},
        {"machine", "kvm-shadow-mem", "01099511627776", "kvm-shadow-mem", "1099511627776"},
        {"machine", "smp-cache.007.cache", "l2", "smp-cache.7.cache", "l2"},
        {"machine", "smp-cache.00.topology", "core", "smp-cache.0.topology", "core"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        autofree char *words = taken(rows[i].where, rows[i].key, rows[i].value);
        autofree char *same = taken(rows[i].where, rows[i].same_key, rows[i].same_value);
        ck_assert_msg(!words, "%s %s=%s: %s", rows[i].where, rows[i].key, rows[i].value, words);
        ck_assert_msg(same, "%s %s=%s: (refused)", rows[i].where, rows[i].same_key,
                      rows[i].same_value);
    }
}
END_TEST

START_TEST(malformed)
{
    static const char *const texts[] = {
        "null",
        "[]",
        "1",
        "\"x\"",
        "{}",
        "{\"machine\":{},\"smp\":{}}",
        "{\"machine\":{},\"smp\":{},\"accel\":{},\"more\":{}}",
        "{\"machine\":[],\"smp\":{},\"accel\":{}}",
        "{\"machine\":{},\"smp\":null,\"accel\":{}}",
        "{\"machine\":{},\"smp\":{},\"accel\":\"kvm\"}",
        "{\"machine\":{},\"smp\":{\"cpus\":2},\"accel\":{}}",
        "{\"machine\":{\"kernel-irqchip\":true},\"smp\":{},\"accel\":{}}",
        "{\"machine\":{},\"smp\":{\"cpus\":[\"2\"]},\"accel\":{}}",
        "{\"machine\":{},\"smp\":{\"cpus\":null},\"accel\":{}}",
    };
    for (size_t i = 0; i < COUNT(texts); i++) {
        autojson json_t *json = json_loads(texts[i], JSON_DECODE_ANY, NULL);
        struct proof_arguments out = {0};
        struct error err = ERROR_INIT;
        ck_assert_ptr_nonnull(json);
        ck_assert_msg(!peer_arguments_take(json, TYPE, "kvm", true, &out, &err), "%s", texts[i]);
        ck_assert_msg(err.status == STATUS_DATA, "%s: %d %s", texts[i], err.status, err.message);
        ck_assert(!out.machine && !out.cpu_pm);
    }
    /* Too many of what is good otherwise. */
    autojson json_t *many = json_pack("{s:{}, s:{}, s:{}}", "machine", "smp", "accel");
    for (int i = 0; i <= 64; i++) {
        autofree char *key = string_format("smp-cache.%d.cache", i);
        json_object_set_new(json_object_get(many, "machine"), key, json_string("l2"));
    }
    struct proof_arguments out = {0};
    MUST_FAIL(STATUS_DATA, "not valid", peer_arguments_take(many, TYPE, "kvm", true, &out, &err));
}
END_TEST

/* The same options with the same values; on the way they are sorted. */
static void must_equal(const char *line, const char *what, const char *a, const char *b)
{
    autostrlist struct strlist mine = {0}, theirs = {0};
    ck_assert_msg(!a == !b, "%s: %s: '%s', not '%s'", line, what, b ? b : "(none)",
                  a ? a : "(none)");
    if (!a)
        return;
    ck_assert(strlist_split(&mine, a, ',') && strlist_split(&theirs, b, ','));
    strlist_sort(&mine);
    strlist_sort(&theirs);
    autofree char *one = strlist_join(&mine, ","), *other = strlist_join(&theirs, ",");
    ck_assert_msg(strcmp(one, other) == 0, "%s: %s: '%s', not '%s'", line, what, b, a);
    ck_assert_int_eq(strncmp(a, b, strcspn(a, ",=")) == 0 || strcmp(what, "-smp") == 0, 1);
}

/* What the one with the command line would prove with is what the agent proves with. */
START_TEST(there_and_back)
{
    static const struct {
        const char *line, *accel;
    } rows[] = {
        {"", "tcg"},
        {"-M q35 -accel tcg", "tcg"},
        {"-M q35 -smp 4", "tcg"},
        {"-M q35,accel=kvm:tcg -smp 4,sockets=1,dies=2,cores=1,threads=2,maxcpus=4", "kvm"},
        {"-M q35,kernel_irqchip=split -accel kvm,dirty-ring-size=4096", "kvm"},
        {"-M q35,smp-cache.0.cache=l3,smp-cache.0.topology=die", "tcg"},
        {"-accel tcg,thread=single,tb-size=64,split-wx=off -overcommit cpu-pm=on", "tcg"},
        {"-accel kvm,notify-vmexit=internal-error,notify-window=7 -m 2G", "kvm"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        autostrlist struct strlist words = {0};
        autoarglist struct arglist list = {0};
        autoinvocation struct invocation invocation = {0};
        autoproofarguments struct proof_arguments made = {0}, back = {0};
        const char *line = rows[i].line;
        autofree char *whole = string_format("qemu-system-x86_64%s%s", *line ? " " : "", line);
        ck_assert(strlist_split(&words, whole, ' '));
        MUST(arglist_parse(&list, (int)words.count, words.items, &err));
        MUST(invocation_read(&list, &invocation, &err));
        MUST(proof_arguments_make(&invocation, TYPE, rows[i].accel, &made, &err));
        autojson json_t *json = peer_arguments_make(&made);
        autofree char *text = json ? json_to_text(json) : NULL;
        ck_assert_ptr_nonnull(text);
        autojson json_t *read = NULL;
        MUST(read = json_parse_strict(text, strlen(text), 65536, &err));
        MUST(peer_arguments_take(read, TYPE, rows[i].accel, made.cpu_pm, &back, &err));
        must_equal(line, "-machine", made.machine, back.machine);
        must_equal(line, "-accel", made.accel, back.accel);
        must_equal(line, "-smp", made.smp, back.smp);
        ck_assert(made.cpu_pm == back.cpu_pm && !back.memory && !back.memory_options);
    }
}
END_TEST

/* Machine type and accelerator are those that were checked, whatever the peer's object says. */
START_TEST(type_and_accelerator_are_ours)
{
    autoproofarguments struct proof_arguments made = {.machine = strdup("microvm,x-foo=1"),
                                                      .accel = strdup("kvm")};
    autojson json_t *json = peer_arguments_make(&made);
    autofree char *text = json_to_text(json);
    ck_assert_ptr_null(strstr(text, "microvm"));
    struct proof_arguments out = {0};
    MUST_FAIL(STATUS_INCOMPATIBLE, "x-foo",
              peer_arguments_take(json, TYPE, "kvm", true, &out, &err));
}
END_TEST

int main(void)
{
    const TTest *tests[] = {what_the_table_has, what_it_has_not, written_in_one_way,
                            malformed,          there_and_back,  type_and_accelerator_are_ours};
    return unit_run("peer-arguments", tests, COUNT(tests));
}
