/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * No memory: each of the allocations that src/cpu, src/page and src/peer make by themselves fails
 * once. What was asked for fails with STATUS_INTERNAL, and with its result untouched, or can do
 * without. What leaks or is used after it was freed is found by the sanitizers' build.
 */
#include <time.h>

#include "cpu_fixture.h"
#include "base/file.h"
#include "failing.h"
#include "cli/layout.h"
#include "page/baseline_page.h"
#include "peer/envelope.h"
#include "peer/identity.h"
#include "peer/message.h"
#include "peer/tls.h"
#include "peer/trust.h"

/* What the scenes have at hand, made while memory lasts. */
static struct cpu_offer offers[2];
static struct cpu_request requests[2];
static struct baseline agreed;
static struct baseline_report told;
static json_t *agreed_json, *offer_json, *request_json, *body;
static struct identity *self;
static char *statement, *message, *new_folder, *key_path, *certificate_path;

static void have_cpus(void)
{
    offers[0] = offer_of("a", "kvm", "avx avx2 lm smap spec-ctrl x-new", "");
    offers[1] = offer_of("b", "kvm", "avx lm pcid x-new", "avx2 smap x-own");
    for (int i = 0; i < 2; i++) {
        add_model(&offers[i], "Haswell-v1", 13, "avx lm pcid");
        add_model(&offers[i], "Haswell-v2", 13, "avx lm smap");
        offers[i].tsc_khz = 2000000 + 100000 * (unsigned)i;
        requests[i] = request_of("host,+lm,-pcid,kvm=off,hv-relaxed=on,tsc-freq=2G");
    }
    add_names(&offers[0].required, "lm");
    const struct cpu_offer *const both[] = {&offers[0], &offers[1]};
    const struct cpu_request *const asked[] = {&requests[0], &requests[1]};
    MUST(baseline_compute(both, asked, 2, NULL, &agreed, &told, &err));
    ck_assert_ptr_nonnull(agreed_json = baseline_to_json(&agreed));
    ck_assert_ptr_nonnull(offer_json = cpu_offer_to_json(&offers[0]));
    ck_assert_ptr_nonnull(request_json = cpu_request_to_json(&requests[0]));
}

static void no_cpus(void)
{
    for (int i = 0; i < 2; i++) {
        cpu_offer_free(&offers[i]);
        cpu_request_free(&requests[i]);
    }
    baseline_free(&agreed);
    baseline_report_free(&told);
    json_decref(agreed_json);
    json_decref(offer_json);
    json_decref(request_json);
}

static bool parses_request(struct error *err)
{
    autocpurequest struct cpu_request request = {0};
    return cpu_request_parse(
        "Haswell-v1,+avx2,-smap,x-new=on,hv-spinlocks=0x1fff,tsc-freq=2G,kvm=off", &request, err);
}

static bool reads_request(struct error *err)
{
    autocpurequest struct cpu_request request = {0}, copy = {0};
    return cpu_request_from_json(request_json, &request, err) &&
           cpu_request_copy(&request, &copy, err);
}

static bool joins_requests(struct error *err)
{
    autocpurequest struct cpu_request joined = {0};
    const struct cpu_request *const asked[] = {&requests[0], &requests[1]};
    static const char *const hosts[] = {"a", "b"};
    return cpu_request_join(asked, hosts, 2, &joined, err);
}

static bool reads_offer(struct error *err)
{
    autocpuoffer struct cpu_offer offer = {0};
    return cpu_offer_from_json(offer_json, &offer, err);
}

static bool computes(struct error *err)
{
    autobaseline struct baseline baseline = {0};
    autobaselinereport struct baseline_report report = {0};
    autofeatureset struct featureset required = {0};
    autostrlist struct strlist cost = {0};
    const struct cpu_offer *const both[] = {&offers[0], &offers[1]};
    const struct cpu_request *const asked[] = {&requests[0], &requests[1]};
    if (!baseline_compute(both, asked, 2, &required, &baseline, &report, err)) {
        ck_assert_ptr_null(baseline.accel);
        ck_assert_ptr_null(report.losses);
        return false;
    }
    return baseline_report_cost(&report, "b", &cost, err);
}

static bool reads_baseline(struct error *err)
{
    autobaseline struct baseline baseline = {0}, copy = {0};
    return baseline_from_json(agreed_json, &baseline, err) && baseline_copy(&baseline, &copy, err);
}

static bool renders(struct error *err)
{
    for (enum cpu_form form = CPU_FORM_NAMED; form <= CPU_FORM_HOST; form++) {
        autofree char *cpu = render_cpu(&agreed, &offers[1], form, err);
        if (!cpu)
            return false;
    }
    return true;
}

static bool makes_page(struct error *err)
{
    const struct page_host hosts[] = {{&offers[0], "10.0.0", "host"}, {&offers[1], NULL, "host"}};
    const struct strlist none = {0};
    const struct baseline_page page = {.baseline = &agreed,
                                       .report = &told,
                                       .hosts = hosts,
                                       .host_count = 2,
                                       .form = "host",
                                       .devices_off = &none,
                                       .devices_unknown = &none};
    autofree char *text = baseline_page_make(&page);
    return text ? true : error_no_memory(err);
}

static bool lays_out(struct error *err)
{
    char name[] = "NAME", pin[] = "PIN", host[] = "host", value[] = "a b c d e f g h";
    char *titles[] = {name, pin}, *cells[] = {host, value};
    const struct strlist rows[] = {{titles, 2, 2}, {cells, 2, 2}};
    autofree char *table = layout_table(rows, 2, 0);
    autofree char *narrow = table ? layout_table(rows, 2, 12) : NULL;
    autofree char *cpu = narrow ? layout_argument("-cpu ", "a,b c,d", "a,b c,d", 9) : NULL;
    ck_assert(!narrow || strcmp(narrow, "host\n    PIN  a b\n  c d e f g\n  h") == 0);
    ck_assert_msg(!cpu || strcmp(cpu, "-cpu a,\\\n'b c,d'") == 0, "%s", cpu);
    return cpu ? true : error_no_memory(err);
}

static bool parses_features(struct error *err)
{
    autofeatureset struct featureset set = {0};
    return featureset_parse(&set, "avx, x-other,x-new , sse4_1", "--deny", STATUS_USAGE, err);
}

START_TEST(of_cpus)
{
    have_cpus();
    failing_play("request", parses_request);
    failing_play("request from JSON", reads_request);
    failing_play("joined requests", joins_requests);
    failing_play("offer from JSON", reads_offer);
    failing_play("features", parses_features);
    failing_play("baseline", computes);
    failing_play("baseline from JSON", reads_baseline);
    failing_play("-cpu", renders);
    failing_play("page", makes_page);
    failing_play("table", lays_out);
    no_cpus();
}
END_TEST

static bool seals(struct error *err)
{
    autofree char *text = NULL;
    bool good =
        message_seal(self, "echo", MESSAGE_INITIATOR, "binding", "", body, &text, NULL, err);
    return good && text;
}

static bool opens(struct error *err)
{
    autojson json_t *read = NULL;
    return message_open(message, strlen(message), "echo", MESSAGE_INITIATOR, "binding", "",
                        self->pin, &read, NULL, err);
}

static bool opens_envelope(struct error *err)
{
    autoenvelope struct envelope envelope = {0};
    return envelope_open(statement, strlen(statement), 65536, "a-test+json", &envelope, err);
}

static bool makes_identity(struct error *err)
{
    unlink(key_path);
    unlink(certificate_path);
    return identity_create(new_folder, err);
}

static bool loads_identity(struct error *err)
{
    autoidentity struct identity *identity = identity_load(unit_folder, err);
    return identity != NULL;
}

static bool edits_trust(struct error *err)
{
    autotrust struct trust trust = {0};
    return trust_add(unit_folder, "bob", self->pin, NULL, TRUST_NEVER, err) &&
           trust_load(unit_folder, &trust, err) && trust_remove(unit_folder, "bob", err);
}

/* One entry is good, one is not. */
static bool reads_trust(struct error *err)
{
    autotrust struct trust trust = {0};
    autostrlist struct strlist complaints = {0};
    return trust_load_readable(unit_folder, &trust, &complaints, err);
}

START_TEST(of_peers)
{
    MUST(identity_create(unit_folder, &err));
    MUST((self = identity_load(unit_folder, &err)) != NULL);
    ck_assert_ptr_nonnull(body = json_pack("{s:s}", "some", "thing"));
    MUST(message_seal(self, "echo", MESSAGE_INITIATOR, "binding", "", body, &message, NULL, &err));
    MUST(envelope_sign(self, "a-test+json", body, &statement, &err));
    new_folder = in_folder("new");
    key_path = in_folder("new/identity.key");
    certificate_path = in_folder("new/identity.crt");
    failing_jansson = failing_openssl = true;
    failing_play("seal", seals);
    failing_jansson = failing_openssl = false;
    failing_play("open", opens);
    failing_openssl = true;
    failing_play("envelope", opens_envelope);
    failing_play("identity", makes_identity);
    failing_play("identity's files", loads_identity);
    failing_openssl = false;
    failing_play("trust", edits_trust);
    MUST(trust_add(unit_folder, "bob", self->pin, NULL, TRUST_NEVER, &err));
    autofree char *broken = in_folder("trust.d/carol.json");
    MUST(file_write_atomic(broken, "{", 1, 0644, &err));
    failing_play("readable trust", reads_trust);
    identity_free(self);
    json_decref(body);
    free(message);
    free(statement);
    free(new_folder);
    free(key_path);
    free(certificate_path);
}
END_TEST

int main(void)
{
    failing_setup();
    const TTest *const tests[] = {of_cpus, of_peers};
    return unit_run("memory", tests, COUNT(tests));
}
