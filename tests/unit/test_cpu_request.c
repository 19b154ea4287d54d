/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What -cpu asks for: read as QEMU reads it, kept as JSON, joined for all parties.
 */
#include "cpu_fixture.h"

/* "MODEL|on|off|KNOBS|phys_bits|enforce", with "*" for the best. */
static char *describe(const struct cpu_request *request)
{
    autojson json_t *json = cpu_request_to_json(request);
    autofree char *on = names_of(&request->on), *off = names_of(&request->off);
    autofree char *knobs = json_to_text(json_object_get(json, "knobs"));
    return string_format("%s|%s|%s|%s|%u|%d", request->model ? request->model : "*", on, off,
                         strcmp(knobs, "{}") == 0 ? "" : knobs, request->phys_bits,
                         request->enforce);
}

START_TEST(understood)
{
    static const struct {
        const char *text, *wanted;
    } rows[] = {
        {NULL, "*||||0|0"},
        {"host", "*||||0|0"},
        {"max", "*||||0|0"},
        {"Haswell-v4", "Haswell-v4||||0|0"},
        {"qemu64,", "qemu64||||0|0"},
        {"host,avx2=on", "*|avx2|||0|0"},
        {"host,avx2", "*|avx2|||0|0"},
        {"host,avx2=off", "*||avx2||0|0"},
        /* of several the last one counts */
        {"host,avx2=on,avx2=off", "*||avx2||0|0"},
        {"host,avx2=off,avx2=on", "*|avx2|||0|0"},
        {"host,avx2=off,avx=on,avx2=on,avx=off", "*|avx2|avx||0|0"},
        /* +f beats f=off, -f beats +f, in any order */
        {"host,+avx2", "*|avx2|||0|0"},
        {"host,+avx2,avx2=off", "*|avx2|||0|0"},
        {"host,avx2=off,+avx2", "*|avx2|||0|0"},
        {"host,-avx2,+avx2", "*||avx2||0|0"},
        {"host,+avx2,-avx2", "*||avx2||0|0"},
        {"host,-avx2,avx2=on", "*||avx2||0|0"},
        {"host,avx2=on,-avx2,+avx2,avx2=on", "*||avx2||0|0"},
        /* names */
        {"host,+sse4_1,-sse3,xd=off", "*|sse4.1|nx pni||0|0"},
        {"host,sse4_1=off,+sse4.1", "*|sse4.1|||0|0"},
        {"host,kvm_steal_time=off,+kvm-pv-eoi", "*|kvm-pv-eoi|kvm-steal-time||0|0"},
        /* words about all of it */
        {"host,enforce", "*||||0|1"},
        {"host,enforce=on,check", "*||||0|1"},
        {"host,enforce,enforce=off", "*||||0|0"},
        {"host,check=off", "*||||0|0"},
        {"host,+enforce,enforce=off", "*||||0|1"},
        {"host,phys-bits=40", "*||||40|0"},
        {"host,host-phys-bits=on,host-phys-bits-limit=39", "*||||39|0"},
        {"host,phys-bits=0", "*||||0|0"},
        /* carried */
        {"host,kvm=off", "*|||{\"kvm\":\"off\"}|0|0"},
        {"host,-hv-time", "*|||{\"hv-time\":\"off\"}|0|0"},
        {"host,hv-spinlocks=0x1fff", "*|||{\"hv-spinlocks\":\"8191\"}|0|0"},
        {"host,hv-spinlocks=0X1FFF,hv-spinlocks=8191", "*|||{\"hv-spinlocks\":\"8191\"}|0|0"},
        {"host,hv_relaxed,hv-vendor-id=KVM",
         "*|||{\"hv-relaxed\":\"on\",\"hv-vendor-id\":\"KVM\"}|0|0"},
        /* tsc-freq: in hertz, kilo is 1000 (QEMU 7.2 qapi/string-input-visitor.c) */
        {"host,tsc-freq=2500000000", "*|||{\"tsc-frequency\":\"2500000000\"}|0|0"},
        {"host,tsc-freq=2G", "*|||{\"tsc-frequency\":\"2000000000\"}|0|0"},
        {"host,tsc-freq=3k", "*|||{\"tsc-frequency\":\"3000\"}|0|0"},
        {"host,tsc-freq=2100M,tsc-frequency=2100000000",
         "*|||{\"tsc-frequency\":\"2100000000\"}|0|0"},
        /* what the baseline does anyway */
        {"host,migratable=on,pmu=off,host-cache-info=off,lmce=off,hv-passthrough=off", "*||||0|0"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        autocpurequest struct cpu_request request = request_of(rows[i].text), back = {0};
        autofree char *text = describe(&request);
        ck_assert_msg(strcmp(text, rows[i].wanted) == 0, "%s: %s, not %s", rows[i].text, text,
                      rows[i].wanted);
        autojson json_t *json = cpu_request_to_json(&request);
        MUST(cpu_request_from_json(json, &back, &err));
        autojson json_t *again = cpu_request_to_json(&back);
        ck_assert_msg(json_equal(json, again), "%s", text);
    }
}
END_TEST

START_TEST(refused)
{
    static const struct {
        const char *text, *words;
    } rows[] = {
        {"", "no CPU model"},
        {",", "no CPU model"},
        {"a b", "'a b' is not a CPU model"},
        {"+avx2", "'+avx2'"},
        {"-host", "'-host'"},
        {"base,+avx2", "base"},
        {"host,x-force-features=on", "x-force-features"},
        {"host,x_force_features", "x-force-features"},
        {"host,+x-force-features", "x-force-features"},
        {"host,hv-passthrough", "hv-passthrough"},
        {"host,hv_passthrough=on", "hv-passthrough"},
        {"host,tsc-freq=fast", "tsc-freq=fast is not a frequency"},
        {"host,tsc-freq=1.5G", "tsc-freq=1.5G is not a frequency"},
        {"host,tsc-freq=G", "tsc-freq=G is not a frequency"},
        {"host,tsc-freq=9223373T", "tsc-freq=9223373T is not a frequency"},
        {"host,migratable=off", "migratable"},
        {"host,migratable=no", "migratable"},
        {"host,-migratable", "migratable"},
        {"host,level=13", "level"},
        {"host,min-xlevel=0", "min-xlevel"},
        {"host,host-cache-info=on", "host-cache-info"},
        {"host,lmce=on", "lmce"},
        {"host,pmu=on", "pmu"},
        {"host,pmu", "pmu"},
        {"host,AVX2=on", "'AVX2=on'"},
        {"host,avx2=1", "avx2"},
        {"host,avx2=", "avx2"},
        {"host,avx2=ON", "avx2"},
        {"host,+avx2=on", "'+avx2=on'"},
        {"host,+", "'+'"},
        {"host,=on", "'=on'"},
        {"host,enforce=1", "enforce"},
        {"host,phys-bits=65", "phys-bits"},
        {"host,phys-bits=-1", "phys-bits"},
        {"host,phys-bits=", "phys-bits"},
        {"host,phys-bits", "phys-bits"},
        {"host,model-id=a\tb", "model-id"},
        {"host,model-id=a\xc3\xa4", "model-id"},
    };
    struct cpu_request request = {0};
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct error err = ERROR_INIT;
        ck_assert_msg(!cpu_request_parse(rows[i].text, &request, &err), "%s", rows[i].text);
        ck_assert_msg(err.status == STATUS_USAGE || err.status == STATUS_CONFIG, "%s: %d",
                      rows[i].text, err.status);
        check_error(&err, err.status, rows[i].words, rows[i].text);
        ck_assert(!request.model && featureset_count(&request.on) == 0);
    }
}
END_TEST

START_TEST(bad_json)
{
    static const struct {
        const char *member, *value; /* value NULL: removed */
    } rows[] = {
        {"model", "1"},
        {"model", "\"a,b\""},
        {"model", "\"+x\""},
        {"model", NULL},
        {"on", "[\"AVX\"]"},
        {"on", "[\"a,b\"]"},
        {"on", "[\"a\",\"a\"]"},
        {"off", "{}"},
        {"knobs", "[]"},
        {"knobs", "{\"kvm\":1}"},
        {"knobs", "{\"kvm\":\"a,b\"}"},
        {"knobs", "{\"KVM\":\"off\"}"},
        {"knobs", "{\"avx2\":\"on\"}"},
        {"knobs", "{\"enforce\":\"off\"}"},
        {"knobs", "{\"level\":\"1\"}"},
        {"knobs", "{\"pmu\":\"on\"}"},
        {"phys_bits", "65"},
        {"phys_bits", "-1"},
        {"phys_bits", "4294967296"},
        {"enforce", "1"},
        {"more", "1"},
    };
    autocpurequest struct cpu_request request = request_of("host,+avx2,kvm=off"), back = {0};
    for (size_t i = 0; i < COUNT(rows); i++) {
        autojson json_t *json = cpu_request_to_json(&request);
        if (rows[i].value)
            json_object_set_new(json, rows[i].member,
                                json_loads(rows[i].value, JSON_DECODE_ANY, NULL));
        else
            json_object_del(json, rows[i].member);
        struct error err = ERROR_INIT;
        ck_assert_msg(!cpu_request_from_json(json, &back, &err), "%s = %s", rows[i].member,
                      rows[i].value);
        ck_assert_msg(err.status == STATUS_DATA, "%s: %s", rows[i].member, err.message);
    }
}
END_TEST

START_TEST(joined)
{
    static const struct {
        const char *texts[3];
        const char *wanted; /* NULL: refused */
        const char *words;
    } rows[] = {
        {{"host", "max", NULL}, "*||||0|0", NULL},
        {{"Haswell-v4", "host", NULL}, "Haswell-v4||||0|0", NULL},
        {{"Haswell-v4", "host", "Haswell-v4"}, "Haswell-v4||||0|0", NULL},
        {{"Haswell-v4", "Haswell-v3", NULL}, NULL, "same model"},
        {{"Haswell-v4", "host", "Haswell-v3"}, NULL, "same model"},
        {{"host,+avx2", "host,-avx2", NULL}, "*||avx2||0|0", NULL},
        {{"host,+avx2,-lm", "host,+smap", "host,-smap,+pcid"}, "*|avx2 pcid|lm smap||0|0", NULL},
        {{"host,enforce", "host", NULL}, "*||||0|1", NULL},
        {{"host,phys-bits=40", "host", "host,phys-bits=39"}, "*||||39|0", NULL},
        {{"host,kvm=off", "host,kvm=off", NULL}, "*|||{\"kvm\":\"off\"}|0|0", NULL},
        {{"host,kvm=off", "host", NULL}, NULL, "kvm is"},
        {{"host,kvm=off", "host,kvm=on", NULL}, NULL, "kvm is"},
        {{"host,kvm=off,hv-time", "host,kvm=off", "host,kvm=off,hv-time"}, NULL, "hv-time is"},
        {{"host,hv-time", "host,hv-vpindex", NULL}, NULL, "hv-"},
        {{"host,+avx2", NULL}, "*|avx2|||0|0", NULL},
    };
    static const int orders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
                                     {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    static const char *const names[] = {"a", "b", "c"};
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct cpu_request each[3] = {0};
        size_t count = 0;
        for (; count < 3 && rows[i].texts[count]; count++)
            each[count] = request_of(rows[i].texts[count]);
        for (size_t order = 0; order < 6; order++) {
            const struct cpu_request *requests[3];
            const char *hosts[3];
            size_t used = 0;
            for (int place = 0; place < 3; place++)
                if ((size_t)orders[order][place] < count) {
                    hosts[used] = names[orders[order][place]];
                    requests[used++] = &each[orders[order][place]];
                }
            autocpurequest struct cpu_request together = {0};
            struct error err = ERROR_INIT;
            bool good = cpu_request_join(requests, hosts, count, &together, &err);
            ck_assert_msg(good == (rows[i].wanted != NULL), "row %zu: %s", i, err.message);
            if (!good) {
                check_error(&err, STATUS_INCOMPATIBLE, rows[i].words, "cpu_request_join");
                continue;
            }
            autofree char *text = describe(&together);
            ck_assert_msg(strcmp(text, rows[i].wanted) == 0, "row %zu: %s", i, text);
        }
        for (size_t k = 0; k < count; k++)
            cpu_request_free(&each[k]);
    }
}
END_TEST

/* QEMU ends when it is given a name that it does not have. */
START_TEST(names_of_this_qemu)
{
    static const struct {
        const char *cpu, *words; /* NULL: known */
    } rows[] = {
        {"host", NULL},
        {"host,+avx2,-smap", NULL},
        {"host,+avx512f", "no CPU feature or property 'avx512f'"},
        {"host,+avx2,-mpx", "no CPU feature or property 'mpx'"},
    };
    autofeatureset struct featureset known = {0};
    add_names(&known, "avx avx2 smap");
    for (size_t i = 0; i < COUNT(rows); i++) {
        autocpurequest struct cpu_request request = request_of(rows[i].cpu);
        if (rows[i].words)
            MUST_FAIL(STATUS_USAGE, rows[i].words, cpu_request_check_names(&request, &known, &err));
        else
            MUST(cpu_request_check_names(&request, &known, &err));
    }
}
END_TEST

START_TEST(knobs_taken_out)
{
    autocpurequest struct cpu_request request = request_of("host,kvm=off,hv-relaxed=on,-hv-time");
    cpu_knobs_remove(&request.knobs, "hv-time");
    cpu_knobs_remove(&request.knobs, "never");
    autofree char *left = describe(&request);
    ck_assert_str_eq(left, "*|||{\"hv-relaxed\":\"on\",\"kvm\":\"off\"}|0|0");
    cpu_knobs_remove(&request.knobs, "hv-relaxed");
    cpu_knobs_remove(&request.knobs, "kvm");
    ck_assert_uint_eq(request.knobs.count, 0);
}
END_TEST

void add_request_tests(const TTest **tests, size_t *count)
{
    tests[(*count)++] = understood;
    tests[(*count)++] = refused;
    tests[(*count)++] = bad_json;
    tests[(*count)++] = joined;
    tests[(*count)++] = names_of_this_qemu;
    tests[(*count)++] = knobs_taken_out;
}
