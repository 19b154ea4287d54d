/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What of a command line the built-in guest is started with, and how that is kept.
 */
#include "unit.h"

#include "base/json.h"
#include "vm/proof_arguments.h"

#define TYPE "pc-q35-7.2"

/* A row's proof_arguments. */
struct wanted {
    const char *machine, *accel, *smp, *memory, *memory_options;
    bool cpu_pm;
};

/* Split words at blanks, read them as QEMU's arguments, and make the proof's. */
static bool make(const char *line, const char *accel, struct proof_arguments *out,
                 struct error *failure)
{
    autostrlist struct strlist words = {0};
    autoarglist struct arglist list = {0};
    autoinvocation struct invocation invocation = {0};
    autofree char *whole = string_format("qemu-system-x86_64 %s", line);
    ck_assert(whole && strlist_split(&words, whole, ' '));
    MUST(arglist_parse(&list, (int)words.count, words.items, &err));
    MUST(invocation_read(&list, &invocation, &err));
    return proof_arguments_make(&invocation, TYPE, accel, out, failure);
}

static void check_text(const char *line, const char *what, const char *text, const char *wanted)
{
    ck_assert_msg(wanted ? text && strcmp(text, wanted) == 0 : !text, "%s: %s is %s, not %s", line,
                  what, text ? text : "(none)", wanted ? wanted : "(none)");
}

static void check_made(const char *line, const struct proof_arguments *made,
                       const struct wanted *wanted)
{
    check_text(line, "-machine", made->machine, wanted->machine);
    check_text(line, "-accel", made->accel, wanted->accel);
    check_text(line, "-smp", made->smp, wanted->smp);
    check_text(line, "-m", made->memory, wanted->memory);
    check_text(line, "the memory's -machine", made->memory_options, wanted->memory_options);
    ck_assert_msg(made->cpu_pm == wanted->cpu_pm, "%s: cpu-pm", line);
}

static const struct {
    const char *line, *accel;
    struct wanted wanted;
} cases[] = {
    {"", "tcg", {.machine = TYPE, .accel = "tcg"}},
    {"-M q35,accel=kvm:tcg -smp 4 -m 2G",
     "kvm",
     {.machine = TYPE, .accel = "kvm", .smp = "cpus=4", .memory = "size=2G"}},
    /* kernel-irqchip by either option, with '_' too */
    {"-machine q35,accel=kvm,kernel_irqchip=split",
     "kvm",
     {.machine = TYPE ",kernel-irqchip=split", .accel = "kvm"}},
    {"-M q35 -accel kvm,kernel-irqchip=split,dirty-ring-size=4096",
     "kvm",
     {.machine = TYPE, .accel = "kvm,kernel-irqchip=split,dirty-ring-size=4096"}},
    {"-M kernel-irqchip=on -accel kvm,kernel-irqchip=split -accel tcg",
     "kvm",
     {.machine = TYPE ",kernel-irqchip=on", .accel = "kvm,kernel-irqchip=split"}},
    /* those of the accelerator that was chosen, of two the first */
    {"-accel kvm,kernel-irqchip=off -accel tcg,thread=single -accel tcg,tb-size=64",
     "tcg",
     {.machine = TYPE, .accel = "tcg,thread=single"}},
    {"-accel tcg,thread=multi,thread=single,nosplit-wx",
     "tcg",
     {.machine = TYPE, .accel = "tcg,thread=single,split-wx=off"}},
    {"-accel kvm,device=/dev/k,,vm,xen-version=0x40011",
     "kvm",
     {.machine = TYPE, .accel = "kvm,device=/dev/k,,vm,xen-version=0x40011"}},
    /* what needs something that is not there, or does not reach the CPU, stays behind */
    {"-M q35,memory-backend=mem,pflash0=code,pflash1=vars,usb=on,hpet=off,x-oem-id=X,i8042=off",
     "tcg",
     {.machine = TYPE, .accel = "tcg"}},
    {"-M q35,boot.order=dc,boot.menu=on,firmware=/f,,w,kernel=/k,append=a,,b=c",
     "tcg",
     {.machine = TYPE, .accel = "tcg"}},
    {"-M q35,sgx-epc.0.memdev=m,sgx-epc.0.node=0,cxl-fmw.0.targets.0=c,cxl-fmw.0.size=4G",
     "tcg",
     {.machine = TYPE, .accel = "tcg"}},
    {"-M sata=off -usb -nographic -M memory_backend=mem,vmport=on", /* written twice, merged */
     "tcg",
     {.machine = TYPE, .accel = "tcg"}},
    /* what nobody knows goes along, commas doubled again; members keep their place */
    {"-M q35,x_new=a,,b,hpet=on,x-other.0.c_d=1",
     "tcg",
     {.machine = TYPE ",x-new=a,,b,x-other.0.c_d=1", .accel = "tcg"}},
    {"-M q35,smp-cache.0.cache=l1d,smp-cache.0.topology=core -M bus_lock_ratelimit=5 "
     "-M bus_lock_ratelimit=6",
     "tcg",
     {.machine = TYPE ",smp-cache.0.cache=l1d,smp-cache.0.topology=core,bus-lock-ratelimit=6",
      .accel = "tcg"}},
    /* -smp as merged */
    {"-smp 2 -M smp.cpus=8,smp.dies=2 -smp maxcpus=16,cores=4",
     "tcg",
     {.machine = TYPE, .accel = "tcg", .smp = "cpus=8,dies=2,maxcpus=16,cores=4"}},
    {"-M kvm_shadow_mem=4M,igd-passthru=on -accel kvm,kvm-shadow-mem=8M",
     "kvm",
     {.machine = TYPE ",kvm-shadow-mem=4M", .accel = "kvm,kvm-shadow-mem=8M"}},
    {"-overcommit cpu-pm=on,mem-lock=on", "tcg", {.machine = TYPE, .accel = "tcg", .cpu_pm = true}},
    /* memory apart */
    {"-m 1024 -m slots=2,maxmem=8G -M q35,max-ram-below-4g=2G,cxl=on,memory.size=1G",
     "tcg",
     {.machine = TYPE,
      .accel = "tcg",
      .memory = "size=1024,slots=2,maxmem=8G",
      .memory_options = "max-ram-below-4g=2G,cxl=on,memory.size=1G"}},
};

START_TEST(command_lines)
{
    for (size_t i = 0; i < COUNT(cases); i++) {
        autoproofarguments struct proof_arguments made = {0}, again = {0};
        MUST(make(cases[i].line, cases[i].accel, &made, &err));
        check_made(cases[i].line, &made, &cases[i].wanted);
        autojson json_t *json = proof_arguments_to_json(&made);
        autofree char *text = json ? json_to_text(json) : NULL;
        ck_assert_ptr_nonnull(text);
        autojson json_t *read = json_parse_strict(text, strlen(text), 65536, NULL);
        ck_assert_ptr_nonnull(read);
        MUST(proof_arguments_from_json(read, &again, &err));
        check_made(cases[i].line, &again, &cases[i].wanted);
    }
}
END_TEST

START_TEST(refused)
{
    static const struct {
        const char *line, *accel;
        enum status status;
        const char *words;
    } rows[] = {
        {"-M q35,confidential-guest-support=sev0", "kvm", STATUS_INCOMPATIBLE,
         "(-machine confidential-guest-support) cannot be proven; --no-proof skips"},
        {"-M memory_encryption=sev0", "kvm", STATUS_INCOMPATIBLE, "(-machine memory-encryption)"},
        {"-accel tcg", "kvm", STATUS_INTERNAL, "with 'kvm'"},
        {"-accel tcg", "", STATUS_INTERNAL, "with ''"},
        {"-M x-new=\xc3\xbc", "tcg", STATUS_USAGE, "not ASCII"},
        {"-m 1\x01", "tcg", STATUS_USAGE, "not ASCII"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        autoproofarguments struct proof_arguments made = {0};
        MUST_FAIL(rows[i].status, rows[i].words, make(rows[i].line, rows[i].accel, &made, &err));
        ck_assert_ptr_null(made.machine);
    }
    autoinvocation struct invocation invocation = {0};
    autoproofarguments struct proof_arguments made = {0};
    MUST_FAIL(STATUS_INTERNAL, "cannot prove",
              proof_arguments_make(&invocation, TYPE, "tcg", &made, &err));
    invocation.accel_options = calloc(1, sizeof(struct keyval));
    ck_assert(invocation.accel_options && strlist_push(&invocation.accels, "tcg"));
    MUST_FAIL(STATUS_INTERNAL, "cannot prove 'q35,hpet=off'",
              proof_arguments_make(&invocation, "q35,hpet=off", "tcg", &made, &err));
}
END_TEST

/* Nothing is taken from a file that a command line could not have given. */
START_TEST(not_ours)
{
    static const char *const rows[] = {
        "{}",
        "{'machine':'q35','accel':'tcg'}",
        "{'machine':'q35','accel':'tcg','cpu_pm':0}",
        "{'machine':'q35','accel':'tcg','cpu_pm':true,'more':1}",
        "{'machine':'','accel':'tcg','cpu_pm':true}",
        "{'machine':'q35','accel':'','cpu_pm':true}",
        "{'machine':'Q35','accel':'tcg','cpu_pm':true}",
        "{'machine':'help','accel':'tcg','cpu_pm':true}",
        "{'machine':'q35,help','accel':'tcg','cpu_pm':true}",
        "{'machine':'type=q35','accel':'tcg','cpu_pm':true}",
        "{'machine':'q35,type=pc','accel':'tcg','cpu_pm':true}",
        "{'machine':'q35,accel=kvm','accel':'tcg','cpu_pm':true}",
        "{'machine':'q35,smp.cpus=2','accel':'tcg','cpu_pm':true}",
        "{'machine':'q35,hpet=off','accel':'tcg','cpu_pm':true}",
        "{'machine':'q35,memory-backend=m','accel':'tcg','cpu_pm':true}",
        "{'machine':'q35,max-ram-below-4g=1G','accel':'tcg','cpu_pm':true}",
        "{'machine':'q35,confidential-guest-support=s','accel':'tcg','cpu_pm':true}",
        "{'machine':'q35,','accel':'tcg','cpu_pm':true}",
        "{'machine':'q35,x-new','accel':'tcg','cpu_pm':true}",
        "{'machine':'q35,x-new=1,x-new=2','accel':'tcg','cpu_pm':true}",
        "{'machine':'q35','accel':'tcg:kvm','cpu_pm':true}",
        "{'machine':'q35','accel':'accel=tcg','cpu_pm':true}",
        "{'machine':'q35','accel':'tcg,accel=kvm','cpu_pm':true}",
        "{'machine':'q35','accel':'tcg,help','cpu_pm':true}",
        "{'machine':'q35','accel':'tcg','cpu_pm':true,'smp':'4'}",
        "{'machine':'q35','accel':'tcg','cpu_pm':true,'smp':'help'}",
        "{'machine':'q35','accel':'tcg','cpu_pm':true,'smp':''}",
        "{'machine':'q35','accel':'tcg','cpu_pm':true,'smp':null}",
        "{'machine':'q35','accel':'tcg','cpu_pm':true,'memory':'2G'}",
        "{'machine':'q35','accel':'tcg','cpu_pm':true,'memory':''}",
        "{'machine':'q35','accel':'tcg','cpu_pm':true,'memory':'size=2G,'}",
        "{'machine':'q35','accel':'tcg','cpu_pm':true,'memory_options':'hpet=off'}",
        "{'machine':'q35','accel':'tcg','cpu_pm':true,'memory_options':'memory-backend=m'}",
        "{'machine':'q35','accel':'tcg','cpu_pm':true,'memory_options':'x-new=1'}",
    };
    autoproofarguments struct proof_arguments read = {0};
    for (size_t i = 0; i < COUNT(rows); i++) {
        autofree char *text = strdup(rows[i]);
        ck_assert_ptr_nonnull(text);
        for (char *p = text; *p; p++)
            *p = *p == '\'' ? '"' : *p;
        autojson json_t *json = json_parse_strict(text, strlen(text), 65536, NULL);
        MUST_FAIL(STATUS_DATA, "the proof's arguments",
                  proof_arguments_from_json(json, &read, &err));
    }
    ck_assert_ptr_null(read.machine);
    autojson json_t *good =
        json_pack("{s:s,s:s,s:b}", "machine", "q35", "accel", "tcg", "cpu_pm", 1);
    MUST(proof_arguments_from_json(good, &read, &err));
    ck_assert(read.cpu_pm && !read.smp && !read.memory && !read.memory_options);
}
END_TEST

START_TEST(table)
{
    static const struct {
        const char *key;
        enum machine_option_about about;
        bool known;
    } rows[] = {
        {"kernel-irqchip", MACHINE_OPTION_CPU, true},
        {"smp-cache.0.topology", MACHINE_OPTION_CPU, true},
        {"smp-cach", MACHINE_OPTION_CPU, false},
        {"smp", MACHINE_OPTION_ELSEWHERE, true},
        {"memory.max-size", MACHINE_OPTION_MEMORY, true},
        {"memory-backend", MACHINE_OPTION_OBJECT, true},
        {"memory-encryption", MACHINE_OPTION_CONFIDENTIAL, true},
        {"memor", MACHINE_OPTION_CPU, false},
        {"", MACHINE_OPTION_CPU, false},
        {"x-oem-id", MACHINE_OPTION_TABLES, true},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        bool known = !rows[i].known;
        ck_assert_msg(machine_option_about(rows[i].key, &known) == rows[i].about &&
                          known == rows[i].known &&
                          machine_option_about(rows[i].key, NULL) == rows[i].about,
                      "%s", rows[i].key);
    }
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {command_lines, refused, not_ours, table};
    return unit_run("proof-arguments", tests, COUNT(tests));
}
