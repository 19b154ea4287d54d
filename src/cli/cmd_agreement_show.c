/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/cmd_agreement.h"

#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "cli/command.h"
#include "cli/layout.h"

#define LABEL_WIDTH 14

void agreement_format_time(const struct agreement *agreement, char *text, size_t size)
{
    time_t issued = (time_t)agreement->issued;
    struct tm local;
    if (!localtime_r(&issued, &local) || strftime(text, size, "%Y-%m-%d %H:%M", &local) == 0)
        snprintf(text, size, "?");
}

/* "Label         words words", the words wrapped and below each other. */
static bool put_words(const char *label, const char *words, struct error *err)
{
    autofree char *line = string_format("%-*s%s", LABEL_WIDTH, label, words);
    return line ? put_wrapped(line, LABEL_WIDTH, err) : error_no_memory(err);
}

static void put_features(struct strbuf *text, const struct featureset *features, const char *sign)
{
    struct featureset_cursor cursor = {0};
    for (const char *name; (name = featureset_next(features, &cursor));)
        strbuf_printf(text, "%s%s%s", text->length > 0 ? " " : "", sign, name);
}

static void put_knobs(struct strbuf *text, const struct cpu_knobs *knobs)
{
    for (size_t i = 0; i < knobs->count; i++)
        strbuf_printf(text, "%s%s=%s", text->length > 0 ? " " : "", knobs->items[i].name,
                      knobs->items[i].value);
}

/* What a party asked for, as the words of its -cpu. */
static bool put_party(const struct agreement_party *party, struct error *err)
{
    const struct cpu_request *request = &party->request;
    autostrbuf struct strbuf text = {0}, asked = {0};
    strbuf_printf(&text, "%s, %s, %s", party->host, vm_role_name(party->role), party->pin);
    if (party->role == ROLE_PARTY) /* it promises, and asks for nothing */
        return text.failed ? error_no_memory(err) : put_words("Party", text.data, err);
    strbuf_puts(&asked, request->model ? request->model : "the best CPU");
    put_features(&asked, &request->on, "+");
    put_features(&asked, &request->off, "-");
    put_knobs(&asked, &request->knobs);
    if (request->phys_bits > 0)
        strbuf_printf(&asked, " phys-bits=%u", request->phys_bits);
    if (request->enforce)
        strbuf_puts(&asked, " enforce");
    if (text.failed || asked.failed)
        return error_no_memory(err);
    return put_words("Party", text.data, err) && put_words("  asked for", asked.data, err);
}

static bool put_assumed(const struct agreement_assumed *host, struct error *err)
{
    autofree char *text = string_format("%s, by its profile: it has to prove before the guest may "
                                        "come to it, %s",
                                        host->host, host->pin);
    return text ? put_words("Assumed", text, err) : error_no_memory(err);
}

/* Only this form follows from the agreement alone: the others start from a model that each QEMU
 * defines. Every QEMU of the agreement knows all of its features. */
static bool put_cpu(const struct agreement *agreement, struct error *err)
{
    struct cpu_offer offer = {.known = agreement->baseline.features};
    if (agreement->form != CPU_FORM_BASE)
        return true;
    autofree char *cpu = render_cpu(&agreement->baseline, &offer, agreement->form, err);
    autofree char *quoted = cpu ? shell_quote(cpu) : NULL;
    autofree char *label = string_format("%-*s", LABEL_WIDTH, "-cpu");
    if (!quoted || !label)
        return cpu ? error_no_memory(err) : false;
    return put_argument(label, quoted, cpu, err); /* to be copied */
}

static bool put_identity(const struct baseline *baseline, struct error *err)
{
    const struct cpu_identity *identity = &baseline->identity;
    autostrbuf struct strbuf text = {0}, model = {0}, knobs = {0};
    if (baseline->model)
        strbuf_printf(&model, "%s, %s", baseline->model,
                      baseline->model_asked_for ? "asked for" : "the closest");
    else
        strbuf_puts(&model, "none fits");
    strbuf_printf(&text, "%s family %u model %u stepping %u, %s, level %u, xlevel 0x%x",
                  identity->vendor, identity->family, identity->model, identity->stepping,
                  identity->model_id, identity->level, identity->xlevel);
    if (baseline->phys_bits > 0)
        strbuf_printf(&text, ", %u physical address bits", baseline->phys_bits);
    put_knobs(&knobs, &baseline->knobs);
    if (text.failed || model.failed || knobs.failed)
        return error_no_memory(err);
    return put_words("CPU model", model.data, err) && put_words("Identity", text.data, err) &&
           (!knobs.data || put_words("Properties", knobs.data, err));
}

static bool put_proof(const struct agreement_proof *proof, struct error *err)
{
    autostrbuf struct strbuf masked = {0};
    autofree char *accepted = strlist_join(&proof->accepted, " ");
    put_features(&masked, &proof->masked, "");
    if (masked.failed || !accepted)
        return error_no_memory(err);
    return put_words("Proven", proof->made ? "yes" : "no", err) &&
           (!masked.data || put_words("Not seen", masked.data, err)) &&
           (!*accepted || put_words("Accepted", accepted, err));
}

/* "virtio-net: host_uso, guest_uso4 off". */
static bool put_devices(const struct device_baseline *devices, struct error *err)
{
    autostrbuf struct strbuf backends = {0};
    for (size_t i = 0; i < devices->backend_count; i++)
        strbuf_printf(&backends, "%s%s%s", i > 0 ? ", " : "", devices->backends[i].name,
                      devices->backends[i].unknown ? " (not known on all)" : "");
    if (backends.failed)
        return error_no_memory(err);
    if (backends.data && !put_words("Backends", backends.data, err))
        return false;
    for (size_t i = 0; i < devices->class_count; i++) {
        const struct device_class_baseline *class = &devices->classes[i];
        autofree char *names = strlist_join(&class->off, " ");
        autofree char *text = names ? string_format("%s: %s", class->name, names) : NULL;
        if (!text)
            return error_no_memory(err);
        if (*names && !put_words("Off", text, err))
            return false;
    }
    return true;
}

bool agreement_print(const struct agreement *agreement, const char *digest, struct error *err)
{
    char when[32];
    autostrbuf struct strbuf machine = {0}, features = {0};
    strbuf_puts(&machine, agreement->machine);
    if (*agreement->kernel_irqchip)
        strbuf_printf(&machine, ", kernel-irqchip %s", agreement->kernel_irqchip);
    if (agreement->cpu_pm)
        strbuf_puts(&machine, ", cpu-pm on");
    put_features(&features, &agreement->baseline.features, "");
    autofree char *label =
        string_format("%zu features", featureset_count(&agreement->baseline.features));
    if (machine.failed || features.failed || !label)
        return error_no_memory(err);
    agreement_format_time(agreement, when, sizeof(when));
    if (!put_words("VM", agreement->vm, err) || !put_words("Digest", digest, err) ||
        !put_words("Issued", when, err) || !put_words("Machine type", machine.data, err) ||
        !put_words("Accelerator", agreement->baseline.accel, err) ||
        !put_words("CPU form", cpu_form_name(agreement->form), err) ||
        !put_identity(&agreement->baseline, err) || !put_proof(&agreement->proof, err) ||
        !put_devices(&agreement->devices, err))
        return false;
    for (size_t i = 0; i < agreement->party_count; i++)
        if (!put_party(&agreement->parties[i], err))
            return false;
    for (size_t i = 0; i < agreement->assumed_count; i++)
        if (!put_assumed(&agreement->assumed[i], err))
            return false;
    return put_words(label, features.data ? features.data : "none", err) && put_cpu(agreement, err);
}
