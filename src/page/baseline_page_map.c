/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <string.h>

#include "base/cleanup.h"
#include "page/baseline_page_private.h"
#include "page/feature_class.h"
#include "page/html.h"

#define HOSTS_UPRIGHT 8 /* the names of more hosts stand on end */

/* A filter is a group of radio buttons, of which the style sheet knows each by its id. */
static void put_choice(struct strbuf *out, const char *group, const char *word, const char *title,
                       bool checked)
{
    strbuf_printf(out, "<label><input type=\"radio\" name=\"%s\" id=\"%s-%s\"%s> %s</label>\n",
                  group, group, word, checked ? " checked" : "", title);
}

static void put_filters(struct strbuf *out)
{
    static const char *const causes[] = {
        [LOSS_CPU] = "the CPU",         [LOSS_KVM] = "KVM",
        [LOSS_QEMU] = "QEMU",           [LOSS_POLICY] = "site policy",
        [LOSS_REQUEST] = "the request",
    };
    strbuf_puts(out, "<div class=\"filters\">\n<fieldset>\n<legend>Class of features</legend>\n");
    put_choice(out, "class", "all", "All", true);
    for (enum feature_class kind = CLASS_SECURITY; kind < CLASS_COUNT; kind++)
        put_choice(out, "class", feature_class_word(kind), feature_class_title(kind), false);
    strbuf_puts(out, "</fieldset>\n<fieldset>\n<legend>Lost because of</legend>\n");
    put_choice(out, "why", "any", "Anything", true);
    for (enum loss_cause cause = LOSS_CPU; cause <= LOSS_REQUEST; cause++)
        put_choice(out, "why", loss_cause_name(cause), causes[cause], false);
    strbuf_puts(out, "</fieldset>\n</div>\n");
}

/* Why the host lacks it, or NULL. */
static const char *find_cause(const struct loss *loss, const char *host)
{
    for (size_t i = 0; i < loss->hosts.count; i++)
        if (strcmp(loss->hosts.items[i], host) == 0)
            return loss_cause_name(loss->causes[i]);
    return NULL;
}

static void put_code(struct strbuf *out, const char *feature)
{
    strbuf_puts(out, "<code>");
    html_puts(out, feature);
    strbuf_puts(out, "</code>");
}

static void put_row(struct strbuf *out, const struct baseline_page *page, const struct loss *loss)
{
    bool seen[LOSS_REQUEST + 1] = {false};
    strbuf_printf(out, "<tr class=\"c-%s", feature_class_word(feature_class_of(loss->feature)));
    for (size_t i = 0; i < loss->hosts.count; i++) {
        if (!seen[loss->causes[i]])
            strbuf_printf(out, " w-%s", loss_cause_name(loss->causes[i]));
        seen[loss->causes[i]] = true;
    }
    strbuf_puts(out, "\"><th scope=\"row\">");
    put_code(out, loss->feature);
    strbuf_puts(out, loss->security ? " <span class=\"tag\">security</span>" : "");
    strbuf_printf(out, "</th><td class=\"number\">%zu</td>", loss->hosts.count);
    for (size_t i = 0; i < page->host_count; i++) {
        const char *cause = find_cause(loss, page->hosts[i].offer->host);
        if (cause)
            strbuf_printf(out, "<td class=\"w-%s\">%s</td>", cause, cause);
        else
            strbuf_puts(out, "<td>yes</td>");
    }
    strbuf_puts(out, "</tr>\n");
}

static void put_table(struct strbuf *out, const struct baseline_page *page)
{
    strbuf_printf(out,
                  "<div class=\"scroll\" role=\"region\" tabindex=\"0\" "
                  "aria-labelledby=\"map-title\">\n<table%s>\n<thead><tr>"
                  "<th scope=\"col\">Feature</th>"
                  "<th scope=\"col\" class=\"number\">Lacked by</th>",
                  page->host_count > HOSTS_UPRIGHT ? " class=\"many\"" : "");
    for (size_t i = 0; i < page->host_count; i++) {
        strbuf_puts(out, "<th scope=\"col\" class=\"host\"><span>");
        html_puts(out, page->hosts[i].offer->host);
        strbuf_puts(out, "</span></th>");
    }
    strbuf_puts(out, "</tr></thead>\n<tbody>\n");
    for (size_t i = 0; i < page->report->loss_count; i++)
        put_row(out, page, &page->report->losses[i]);
    strbuf_printf(out, "</tbody>\n</table>\n</div>\n<p class=\"shown\">of %zu lost features.</p>\n",
                  page->report->loss_count);
}

void page_put_map(struct strbuf *out, const struct baseline_page *page)
{
    strbuf_puts(out, "<section id=\"map\" aria-labelledby=\"map-title\">\n"
                     "<h2 id=\"map-title\">Lost features by host</h2>\n");
    if (page->report->loss_count == 0) {
        strbuf_puts(out, "<p class=\"good\">The hosts give a guest the same features.</p>\n"
                         "</section>\n");
        return;
    }
    strbuf_puts(out,
                "<p><b>yes</b>: the host could give it. <b>cpu</b>: its CPU has not got it. "
                "<b>kvm</b>: the CPU has it, or it is KVM's own, and the kernel's KVM does not "
                "offer it. <b>qemu</b>: its QEMU has no name for it, or does not emulate it. "
                "<b>policy</b>: denied there. <b>request</b>: switched off by who asked.</p>\n");
    put_filters(out);
    put_table(out, page);
    strbuf_puts(out, "</section>\n");
}

static void put_class(struct strbuf *out, const struct featureset *features,
                      enum feature_class kind)
{
    struct featureset_cursor cursor = {0};
    autostrbuf struct strbuf names = {0};
    size_t count = 0;
    for (const char *name; (name = featureset_next(features, &cursor));) {
        if (feature_class_of(name) != kind)
            continue;
        strbuf_puts(&names, count++ > 0 ? " " : "");
        put_code(&names, name);
    }
    out->failed = out->failed || names.failed;
    if (count > 0)
        strbuf_printf(out, "<dt>%s (%zu)</dt><dd>%s</dd>\n", feature_class_title(kind), count,
                      names.data ? names.data : "");
}

void page_put_features(struct strbuf *out, const struct baseline_page *page)
{
    const struct featureset *features = &page->baseline->features;
    strbuf_puts(out, "<section id=\"features\" aria-labelledby=\"features-title\">\n"
                     "<h2 id=\"features-title\">What every guest gets</h2>\n<details>\n<summary>");
    page_put_count(out, featureset_count(features), "feature");
    strbuf_puts(out, "</summary>\n<dl class=\"words\">\n");
    for (enum feature_class kind = CLASS_SECURITY; kind < CLASS_COUNT; kind++)
        put_class(out, features, kind);
    strbuf_puts(out, "</dl>\n</details>\n</section>\n");
}
