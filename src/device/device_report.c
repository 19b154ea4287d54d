/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "device/device_report.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

void device_report_free(struct device_report *report)
{
    for (size_t i = 0; i < report->loss_count; i++) {
        for (size_t k = 0; k < report->losses[i].lack_count; k++)
            free(report->losses[i].lacks[k].host);
        free(report->losses[i].lacks);
    }
    free(report->losses);
    for (size_t i = 0; i < report->unknown_count; i++) {
        free(report->unknown[i].host);
        free(report->unknown[i].why);
    }
    free(report->unknown);
    *report = (struct device_report){0};
}

const char *device_cause_name(enum device_cause cause)
{
    return cause == DEVICE_KERNEL ? "kernel" : "qemu";
}

bool device_need_is_of(const struct device_need *need, const struct device_property *property)
{
    return strcmp(need->class, property->class) == 0 && strcmp(need->property, property->name) == 0;
}

enum backend_state device_host_knows(const struct device_host *host, const char *backend)
{
    const struct backend_offer *offer = device_offer_find_backend(host->offer, backend);
    return offer ? offer->state : BACKEND_UNKNOWN;
}

struct device_loss *device_report_add_loss(struct device_report *report,
                                           const struct device_property *property)
{
    struct device_loss *grown =
        realloc(report->losses, (report->loss_count + 1) * sizeof(*report->losses));
    if (!grown)
        return NULL;
    report->losses = grown;
    grown[report->loss_count] =
        (struct device_loss){.class = property->class, .property = property->name};
    return &grown[report->loss_count++];
}

bool device_loss_add(struct device_loss *loss, const char *name, const struct device_lack *lack)
{
    struct device_lack *grown = realloc(loss->lacks, (loss->lack_count + 1) * sizeof(*loss->lacks));
    if (!grown)
        return false;
    loss->lacks = grown;
    grown[loss->lack_count] = *lack;
    if (!(grown[loss->lack_count].host = strdup(name)))
        return false;
    loss->lack_count++;
    return true;
}

/* Of a backend without a feature in the table nobody can be asked. */
static const char *default_why(const char *backend)
{
    size_t count;
    const struct backend_feature *features = backend_features(&count);
    for (size_t i = 0; i < count; i++)
        if (strcmp(features[i].backend, backend) == 0)
            return "the host's profile does not tell";
    return "only the process at the socket knows";
}

#define ABSENT_WHY "there is no such thing: QEMU goes on without it, or does not start"

bool device_report_add_unknown(struct device_report *report, const char *backend,
                               const struct device_host *host)
{
    const struct backend_offer *offer = device_offer_find_backend(host->offer, backend);
    struct device_unknown made = {.backend = backend,
                                  .host = strdup(host->name),
                                  .why = strdup(offer && offer->state == BACKEND_ABSENT ? ABSENT_WHY
                                                : offer && offer->why                   ? offer->why
                                                                      : default_why(backend))};
    struct device_unknown *grown =
        realloc(report->unknown, (report->unknown_count + 1) * sizeof(*report->unknown));
    if (grown)
        report->unknown = grown;
    if (!grown || !made.host || !made.why) {
        free(made.host);
        free(made.why);
        return false;
    }
    grown[report->unknown_count++] = made;
    return true;
}

static int compare_lacks(const void *a, const void *b)
{
    return strcmp(((const struct device_lack *)a)->host, ((const struct device_lack *)b)->host);
}

static int compare_unknown(const void *a, const void *b)
{
    const struct device_unknown *one = a, *other = b;
    int backends = strcmp(one->backend, other->backend);
    return backends ? backends : strcmp(one->host, other->host);
}

void device_report_sort(struct device_report *report)
{
    for (size_t i = 0; i < report->loss_count; i++)
        if (report->losses[i].lack_count > 0)
            qsort(report->losses[i].lacks, report->losses[i].lack_count, sizeof(struct device_lack),
                  compare_lacks);
    if (report->unknown_count > 0)
        qsort(report->unknown, report->unknown_count, sizeof(*report->unknown), compare_unknown);
}

static bool same_lacks(const struct device_loss *a, const struct device_loss *b)
{
    if (a->lack_count != b->lack_count || strcmp(a->class, b->class) != 0)
        return false;
    for (size_t i = 0; i < a->lack_count; i++) {
        const struct device_lack *one = &a->lacks[i], *other = &b->lacks[i];
        if (strcmp(one->host, other->host) != 0 || one->cause != other->cause ||
            one->machine != other->machine ||
            (one->cause == DEVICE_KERNEL && (strcmp(one->backend, other->backend) != 0 ||
                                             strcmp(one->feature, other->feature) != 0)))
            return false;
    }
    return true;
}

static void put_lack(struct strbuf *line, const struct device_lack *lack)
{
    const struct backend_info *backend = lack->backend ? backend_find(lack->backend) : NULL;
    if (backend)
        strbuf_printf(line, "%s's kernel lacks %s of %s", lack->host, lack->feature,
                      backend->title);
    else if (lack->machine)
        strbuf_printf(line, "%s's QEMU switches it off for this machine type", lack->host);
    else
        strbuf_printf(line, "%s's QEMU does not know it", lack->host);
}

static void put_lacks(struct strbuf *line, const struct device_loss *loss)
{
    for (size_t i = 0; i < loss->lack_count; i++) {
        strbuf_puts(line, i > 0 ? ", " : "");
        put_lack(line, &loss->lacks[i]);
    }
}

char *device_loss_why(const struct device_loss *loss)
{
    autostrbuf struct strbuf line = {0};
    put_lacks(&line, loss);
    return strbuf_steal(&line);
}

bool device_report_losses(const struct device_report *report, struct strlist *lines,
                          struct error *err)
{
    for (size_t i = 0; i < report->loss_count; i++) {
        const struct device_loss *loss = &report->losses[i];
        autostrbuf struct strbuf line = {0};
        size_t first = 0;
        while (!same_lacks(&report->losses[first], loss))
            first++;
        if (first < i)
            continue;
        for (size_t k = i; k < report->loss_count; k++)
            if (same_lacks(loss, &report->losses[k]))
                strbuf_printf(&line, "%s%s", k > i ? ", " : "", report->losses[k].property);
        strbuf_printf(&line, " of %s: ", loss->class);
        put_lacks(&line, loss);
        if (line.failed || !strlist_push(lines, line.data))
            return error_no_memory(err);
    }
    return true;
}

static bool same_unknown(const struct device_unknown *a, const struct device_unknown *b)
{
    return strcmp(a->backend, b->backend) == 0 && strcmp(a->why, b->why) == 0;
}

bool device_report_unknown(const struct device_report *report, struct strlist *lines,
                           struct error *err)
{
    for (size_t i = 0; i < report->unknown_count; i++) {
        const struct device_unknown *unknown = &report->unknown[i];
        const struct backend_info *backend = backend_find(unknown->backend);
        autostrbuf struct strbuf line = {0};
        size_t first = 0;
        while (!same_unknown(&report->unknown[first], unknown))
            first++;
        if (first < i)
            continue;
        strbuf_printf(&line, "%s of ", backend ? backend->title : unknown->backend);
        for (size_t k = i; k < report->unknown_count; k++)
            if (same_unknown(unknown, &report->unknown[k]))
                strbuf_printf(&line, "%s%s", k > i ? ", " : "", report->unknown[k].host);
        strbuf_printf(&line, ": %s", unknown->why);
        if (line.failed || !strlist_push(lines, line.data))
            return error_no_memory(err);
    }
    return true;
}

static json_t *loss_to_json(const struct device_loss *loss)
{
    autojson json_t *lacks = json_array();
    for (size_t i = 0; i < loss->lack_count; i++)
        if (json_array_append_new(lacks, json_pack("{s:s, s:s}", "host", loss->lacks[i].host, "why",
                                                   device_cause_name(loss->lacks[i].cause))) != 0)
            return NULL;
    return json_pack("{s:s, s:s, s:O}", "class", loss->class, "property", loss->property,
                     "missing_on", lacks);
}

json_t *device_report_to_json(const struct device_report *report)
{
    autojson json_t *dropped = json_array(), *unknown = json_array();
    for (size_t i = 0; i < report->loss_count; i++)
        if (json_array_append_new(dropped, loss_to_json(&report->losses[i])) != 0)
            return NULL;
    for (size_t i = 0; i < report->unknown_count; i++)
        if (json_array_append_new(
                unknown, json_pack("{s:s, s:s, s:s}", "backend", report->unknown[i].backend, "host",
                                   report->unknown[i].host, "why", report->unknown[i].why)) != 0)
            return NULL;
    return json_pack("{s:O, s:O}", "dropped", dropped, "unknown", unknown);
}
