/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <string.h>

#include "cpu/feature_table.h"
#include "page/baseline_page_private.h"
#include "page/html.h"

#define HOSTS_LISTED 8

void page_put_count(struct strbuf *out, size_t count, const char *noun)
{
    strbuf_printf(out, "%zu %s%s", count, noun, count == 1 ? "" : "s");
}

static size_t count_security(const struct baseline_report *report)
{
    size_t count = 0;
    while (count < report->loss_count && report->losses[count].security)
        count++;
    return count;
}

/* Attributes are quoted throughout; text of others is never one. */
static void put_head(struct strbuf *out, const struct baseline_page *page)
{
    strbuf_puts(out, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                     "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
                     "style-src 'sha256-" BASELINE_PAGE_STYLE_SHA256
                     "'; base-uri 'none'; form-action 'none'\">\n"
                     "<meta name=\"referrer\" content=\"no-referrer\">\n"
                     "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
                     "<meta name=\"color-scheme\" content=\"light dark\">\n<title>Baseline of ");
    page_put_count(out, page->host_count, "host");
    strbuf_puts(out, "</title>\n<style>");
    strbuf_puts(out, baseline_page_style);
    strbuf_puts(out, "</style>\n</head>\n<body>\n");
}

static void put_fact(struct strbuf *out, const char *name, const char *value)
{
    strbuf_printf(out, "<div><dt>%s</dt><dd>", name);
    html_puts(out, value);
    strbuf_puts(out, "</dd></div>\n");
}

static void put_number(struct strbuf *out, const char *name, size_t number)
{
    strbuf_printf(out, "<div><dt>%s</dt><dd>%zu</dd></div>\n", name, number);
}

static void put_summary(struct strbuf *out, const struct baseline_page *page)
{
    const struct baseline *baseline = page->baseline;
    strbuf_puts(out, "<header>\n<h1>Baseline of ");
    page_put_count(out, page->host_count, "host");
    strbuf_puts(out, "</h1>\n<p>The CPU that all of them can give a guest.</p>\n<dl>\n");
    put_number(out, "Features for all", featureset_count(&baseline->features));
    put_number(out, "Lost features", page->report->loss_count);
    put_number(out, "Security lost", count_security(page->report));
    put_fact(out, "CPU model", baseline->model ? baseline->model : "none fits");
    put_fact(out, "Machine type", page->machine ? page->machine : "not known");
    put_fact(out, "Accelerator", baseline->accel);
    put_fact(out, "CPU form", page->form);
    if (baseline->phys_bits > 0)
        put_number(out, "Address bits", baseline->phys_bits);
    strbuf_puts(out, "</dl>\n</header>\n<main>\n");
}

static void put_lines(struct strbuf *out, const struct strlist *lines)
{
    strbuf_puts(out, "<ul>\n");
    for (size_t i = 0; i < lines->count; i++) {
        strbuf_puts(out, "<li>");
        html_puts(out, lines->items[i]);
        strbuf_puts(out, "</li>\n");
    }
    strbuf_puts(out, "</ul>\n");
}

/* The hosts that lack it for that cause; of many only how many, until somebody asks. */
static void put_lack_by(struct strbuf *out, const struct loss *loss, enum loss_cause cause)
{
    size_t count = 0;
    for (size_t i = 0; i < loss->hosts.count; i++)
        count += loss->causes[i] == cause;
    if (count == 0)
        return;
    bool many = count > HOSTS_LISTED;
    strbuf_printf(out, "<div class=\"lack\"><b class=\"w-%s\">%s</b> ", loss_cause_name(cause),
                  loss_cause_name(cause));
    if (many)
        strbuf_printf(out, "<details><summary>%zu hosts</summary>", count);
    for (size_t i = 0, k = 0; i < loss->hosts.count; i++) {
        if (loss->causes[i] != cause)
            continue;
        strbuf_puts(out, "<span class=\"name\">");
        html_puts(out, loss->hosts.items[i]);
        strbuf_puts(out, ++k < count ? ",</span> " : "</span>");
    }
    strbuf_puts(out, many ? "</details></div>" : "</div>");
}

static void put_security(struct strbuf *out, const struct baseline_page *page)
{
    size_t count = count_security(page->report);
    strbuf_puts(out, "<section id=\"security\" aria-labelledby=\"security-title\">\n"
                     "<h2 id=\"security-title\">Security that is lost</h2>\n");
    if (count == 0) {
        strbuf_puts(out, "<p class=\"good\">No security feature is lost.</p>\n</section>\n");
        return;
    }
    strbuf_puts(out, "<div class=\"scroll\" role=\"region\" tabindex=\"0\" "
                     "aria-labelledby=\"security-title\">\n<table>\n<thead><tr>"
                     "<th scope=\"col\">Feature</th><th scope=\"col\">What the guest loses</th>"
                     "<th scope=\"col\">Lacked by</th></tr></thead>\n<tbody>\n");
    for (size_t i = 0; i < count; i++) {
        const struct loss *loss = &page->report->losses[i];
        const struct feature *feature = feature_find(loss->feature);
        strbuf_puts(out, "<tr><th scope=\"row\"><code>");
        html_puts(out, loss->feature);
        strbuf_puts(out, "</code></th><td class=\"prose\">");
        html_puts(out, feature && feature->loss ? feature->loss : "");
        strbuf_puts(out, "</td><td class=\"prose\">");
        for (enum loss_cause cause = LOSS_CPU; cause <= LOSS_REQUEST; cause++)
            put_lack_by(out, loss, cause);
        strbuf_puts(out, "</td></tr>\n");
    }
    strbuf_puts(out, "</tbody>\n</table>\n</div>\n</section>\n");
}

static void put_warnings(struct strbuf *out, const struct baseline_page *page)
{
    if (page->report->warnings.count == 0)
        return;
    strbuf_puts(out, "<section id=\"warnings\" aria-labelledby=\"warnings-title\">\n"
                     "<h2 id=\"warnings-title\">Warnings</h2>\n");
    put_lines(out, &page->report->warnings);
    strbuf_puts(out, "</section>\n");
}

static void put_devices(struct strbuf *out, const struct baseline_page *page)
{
    if (page->devices_off->count + page->devices_unknown->count == 0 && !page->migration)
        return;
    strbuf_puts(out, "<section id=\"devices\" aria-labelledby=\"devices-title\">\n"
                     "<h2 id=\"devices-title\">Devices and migration</h2>\n");
    if (page->devices_off->count > 0) {
        strbuf_puts(out, "<h3>Switched off</h3>\n");
        put_lines(out, page->devices_off);
    }
    if (page->devices_unknown->count > 0) {
        strbuf_puts(out, "<h3>Not known</h3>\n");
        put_lines(out, page->devices_unknown);
    }
    if (page->migration) {
        strbuf_puts(out, "<h3>What all QEMUs can do in a migration</h3>\n<p>");
        html_puts(out, page->migration);
        strbuf_puts(out, "</p>\n");
    }
    strbuf_puts(out, "</section>\n");
}

static void put_arguments(struct strbuf *out, const struct baseline_page *page)
{
    strbuf_printf(out,
                  "<section id=\"arguments\" aria-labelledby=\"arguments-title\">\n"
                  "<h2 id=\"arguments-title\">-cpu of each host</h2>\n<details%s>\n<summary>",
                  page->host_count > HOSTS_LISTED ? "" : " open");
    page_put_count(out, page->host_count, "host");
    strbuf_puts(out, "</summary>\n<dl class=\"words\">\n");
    for (size_t i = 0; i < page->host_count; i++) {
        strbuf_puts(out, "<dt>");
        html_puts(out, page->hosts[i].offer->host);
        strbuf_puts(out, "</dt><dd><code>");
        html_puts(out, page->hosts[i].cpu);
        strbuf_puts(out, "</code></dd>\n");
    }
    strbuf_puts(out, "</dl>\n</details>\n</section>\n");
}

char *baseline_page_make(const struct baseline_page *page)
{
    autostrbuf struct strbuf out = {0};
    put_head(&out, page);
    put_summary(&out, page);
    put_security(&out, page);
    put_warnings(&out, page);
    page_put_costs(&out, page);
    page_put_map(&out, page);
    page_put_features(&out, page);
    put_devices(&out, page);
    put_arguments(&out, page);
    strbuf_puts(&out, "</main>\n</body>\n</html>\n");
    return strbuf_steal(&out);
}
