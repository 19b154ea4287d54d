/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "vm/adopt_prove.h"

#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "guest/compare.h"
#include "guest/features.h"
#include "host/qemu_session.h"
#include "vm/proof.h"

#define READ_MS 20000

/* One vCPU under a -cpu, stopped, as QEMU tells of it. */
static bool make_cpu(const struct adopt_guest *guest, const char *cpu, struct running_cpu *made,
                     struct error *err)
{
    autoqemusession struct qemu_session session = QEMU_SESSION_INIT;
    autostrlist struct strlist words = {0};
    const struct proof_arguments *arguments = guest->arguments;
    bool good = strlist_push(&words, "-machine") && strlist_push(&words, arguments->machine) &&
                strlist_push(&words, "-accel") && strlist_push(&words, arguments->accel) &&
                strlist_push(&words, "-cpu") && strlist_push(&words, cpu) &&
                strlist_push(&words, "-m") && strlist_push(&words, "16");
    if (good && arguments->cpu_pm)
        good = strlist_push(&words, "-overcommit") && strlist_push(&words, "cpu-pm=on");
    if (!good)
        return error_no_memory(err);
    return qemu_session_start(&session, guest->qemu->binary.path, &words, deadline_in_ms(READ_MS),
                              err) &&
           running_cpu_read(session.qmp, made, err);
}

/* What the guest itself would see if it were started now as it was, by the very file that runs. */
static bool see_guest(const struct adopt_guest *guest, struct guest_table *table, struct error *err)
{
    const struct proof_arguments *arguments = guest->arguments;
    struct guest_proof how = {.qemu = guest->running,
                              .cpu = guest->written,
                              .machine = arguments->machine,
                              .accel = arguments->accel,
                              .smp = arguments->smp,
                              .cpu_pm = arguments->cpu_pm,
                              .globals = guest->globals,
                              .timeout_ms = proof_timeout_ms(arguments),
                              .interrupted = guest->interrupted};
    autoguestrun struct guest_run *run = guest_proof_start(&how, err);
    return run && guest_proof_finish(run, table, NULL, err);
}

/* The knobs that the baseline lacks, and the -cpu with them. */
static char *complete(const struct adopt_guest *guest, enum cpu_form form,
                      struct baseline *baseline, struct error *err)
{
    autorunningcpu struct running_cpu made = {0};
    autofree char *cpu = render_cpu(baseline, guest->offer, form, err);
    if (!cpu || !make_cpu(guest, cpu, &made, err))
        return NULL;
    if (!adopt_take_knobs(&guest->cpu->vcpus[0], &made.vcpus[0], &baseline->knobs)) {
        error_no_memory(err);
        return NULL;
    }
    return render_cpu(baseline, guest->offer, form, err);
}

/* Where the two tables differ, in words. */
static bool compare(const struct guest_table *seen, const struct guest_table *made,
                    struct strlist *reasons, struct error *err)
{
    autoguestdifferences struct guest_differences differences = {0};
    struct guest_host hosts[] = {{"(the guest)", seen}, {"(an agreed CPU)", made}};
    if (!guest_tables_compare(hosts, 2, NULL, &differences, err))
        return false;
    for (size_t i = 0; i < differences.count; i++)
        if (!differences.items[i].advisory && !strlist_push(reasons, differences.items[i].text))
            return error_no_memory(err);
    return true;
}

/* Where the table and QEMU do not tell the same: said, as at a launch. */
static bool doubt(const struct adopt_guest *guest, const struct guest_table *table,
                  struct strlist *doubts, struct error *err)
{
    autostrlist struct strlist missing = {0}, extra = {0};
    if (!guest_table_contradictions(table, &guest->cpu->vcpus[0].features, &missing, &extra, err))
        return false;
    autofree char *unseen = strlist_join(&missing, " "), *seen = strlist_join(&extra, " ");
    return (unseen && seen &&
            (missing.count == 0 ||
             strlist_pushf(doubts, "a guest does not see what QEMU says that it has: %s",
                           unseen)) &&
            (extra.count == 0 ||
             strlist_pushf(doubts,
                           "a guest sees features that QEMU says are off, which this %s does not "
                           "honour: %s",
                           strcmp(guest->cpu->accel, "kvm") == 0 ? "KVM" : "QEMU", seen))) ||
           error_no_memory(err);
}

static bool set_reason(struct strlist *reasons, const char *text, struct error *err)
{
    return strlist_push(reasons, text) || error_no_memory(err);
}

/* One form. No reasons: it is the one, and table is what was seen in it. */
static bool try_form(const struct adopt_guest *guest, const struct guest_table *seen,
                     struct agreement *agreement, struct guest_table *table,
                     struct strlist *reasons, struct error *err)
{
    autoproof struct proof proof = {0};
    struct proof_limits limits = {.interrupted = guest->interrupted};
    struct error inner = ERROR_INIT;
    autofree char *cpu = complete(guest, agreement->form, &agreement->baseline, &inner);
    if (!cpu)
        return inner.status == STATUS_INTERNAL ? error_set(err, inner.status, "%s", inner.message)
                                               : set_reason(reasons, inner.message, err);
    log_debug("%s: %s", cpu_form_name(agreement->form), cpu);
    if (!adopt_find_undescribed(agreement, guest->cpu, reasons, err))
        return false;
    if (reasons->count > 0)
        return true;
    if (!proof_start(&proof, guest->paths, guest->qemu, guest->arguments, guest->host, cpu, &limits,
                     &inner) ||
        !proof_finish(&proof, table, NULL, &inner))
        return inner.status == STATUS_INCOMPATIBLE
                   ? set_reason(reasons, inner.message, err)
                   : error_set(err, inner.status, "%s", inner.message);
    return compare(seen, table, reasons, err);
}

bool adopt_prove(const struct adopt_guest *guest, struct agreement *agreement,
                 struct strlist *reasons, struct strlist *doubts, struct error *err)
{
    autoguesttable struct guest_table seen = {0};
    enum cpu_form forms[ADOPT_FORMS];
    size_t count = adopt_order_forms(&agreement->baseline, forms);
    struct cpu_knobs given = agreement->baseline.knobs; /* what every form begins with */
    if (!see_guest(guest, &seen, err))
        return error_wrap(err, "a second guest, started as this one was");
    agreement->baseline.knobs = (struct cpu_knobs){0};
    bool good = true, found = false;
    for (size_t i = 0; i < count && good && !found; i++) {
        autostrlist struct strlist why = {0};
        autoguesttable struct guest_table table = {0};
        cpu_knobs_free(&agreement->baseline.knobs);
        agreement->form = forms[i];
        good = cpu_knobs_copy(&agreement->baseline.knobs, &given)
                   ? try_form(guest, &seen, agreement, &table, &why, err)
                   : error_no_memory(err);
        found = good && why.count == 0;
        if (found) {
            agreement->proof.made = true;
            agreement->proof.table = table;
            table = (struct guest_table){0};
        }
        for (size_t k = 0; k < why.count; k++)
            log_debug("%s: %s", cpu_form_name(forms[i]), why.items[k]);
        /* Of several forms the first one's reasons are the guest's own. */
        for (size_t k = 0; good && i == 0 && k < why.count; k++)
            good = set_reason(reasons, why.items[k], err);
    }
    cpu_knobs_free(&given);
    if (found)
        strlist_free(reasons);
    return good && doubt(guest, found ? &agreement->proof.table : &seen, doubts, err);
}
