/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "cpu/feature_table.h"
#include "page/baseline_page_private.h"
#include "page/html.h"

/* What one host costs. */
struct cost {
    size_t index;         /* of the host */
    struct strlist names; /* what only it lacks */
    size_t security;      /* how many of them, the first ones */
    size_t lacks;         /* what it lacks, with others or alone */
};

static int compare_costs(const void *a, const void *b)
{
    const struct cost *x = a, *y = b;
    const size_t ours[] = {x->security, x->names.count, x->lacks};
    const size_t theirs[] = {y->security, y->names.count, y->lacks};
    for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
        if (ours[i] != theirs[i])
            return ours[i] > theirs[i] ? -1 : 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

static bool find_cost(const struct baseline_page *page, size_t index, struct cost *cost)
{
    const char *host = page->hosts[index].offer->host;
    cost->index = index;
    for (size_t i = 0; i < page->report->loss_count; i++)
        cost->lacks += strlist_contains(&page->report->losses[i].hosts, host);
    if (!baseline_report_cost(page->report, host, &cost->names, NULL))
        return false;
    for (size_t i = 0; i < cost->names.count; i++)
        cost->security += feature_is_security(cost->names.items[i]);
    return true;
}

/* Names from first up to end, in a block that begins with a title. */
static void put_names(struct strbuf *out, const struct strlist *names, size_t first, size_t end,
                      const char *title)
{
    if (first == end)
        return;
    strbuf_printf(out, "<div>%s", title);
    for (size_t i = first; i < end; i++) {
        strbuf_puts(out, i > first ? " <code>" : "<code>");
        html_puts(out, names->items[i]);
        strbuf_puts(out, "</code>");
    }
    strbuf_puts(out, "</div>");
}

static void put_row(struct strbuf *out, const struct page_host *host, const struct cost *cost)
{
    strbuf_puts(out, "<tr><th scope=\"row\">");
    html_puts(out, host->offer->host);
    strbuf_puts(out, "</th><td>");
    html_puts(out, *host->offer->identity.model_id ? host->offer->identity.model_id : "not told");
    strbuf_puts(out, "</td><td class=\"brief\">");
    html_puts(out, host->qemu_version ? host->qemu_version : "not told");
    strbuf_printf(out, "</td><td class=\"number\">%zu</td><td class=\"number\">%zu</td><td>",
                  cost->lacks, cost->names.count);
    if (cost->names.count == 0)
        strbuf_puts(out, "nothing");
    put_names(out, &cost->names, 0, cost->security, "<span class=\"tag\">security</span> ");
    put_names(out, &cost->names, cost->security, cost->names.count, "");
    strbuf_puts(out, "</td></tr>\n");
}

void page_put_costs(struct strbuf *out, const struct baseline_page *page)
{
    struct cost *costs = calloc(page->host_count, sizeof(*costs));
    bool good = costs != NULL;
    for (size_t i = 0; good && i < page->host_count; i++)
        good = find_cost(page, i, &costs[i]);
    if (good)
        qsort(costs, page->host_count, sizeof(*costs), compare_costs);
    strbuf_puts(out,
                "<section id=\"costs\" aria-labelledby=\"costs-title\">\n"
                "<h2 id=\"costs-title\">What each host costs the others</h2>\n"
                "<p>Lacks: how many of the lost features the host has not got. Alone: how many of "
                "them all the others have, so that this host takes them away, security first. The "
                "dearest host comes first.</p>\n"
                "<div class=\"scroll\" role=\"region\" tabindex=\"0\" "
                "aria-labelledby=\"costs-title\">\n<table>\n<thead><tr><th scope=\"col\">Host</th>"
                "<th scope=\"col\">CPU</th><th scope=\"col\">QEMU</th>"
                "<th scope=\"col\" class=\"number\">Lacks</th>"
                "<th scope=\"col\" class=\"number\">Alone</th>"
                "<th scope=\"col\">What it alone takes away</th></tr></thead>\n<tbody>\n");
    for (size_t i = 0; good && i < page->host_count; i++)
        put_row(out, &page->hosts[costs[i].index], &costs[i]);
    strbuf_puts(out, "</tbody>\n</table>\n</div>\n</section>\n");
    for (size_t i = 0; costs && i < page->host_count; i++)
        strlist_free(&costs[i].names);
    free(costs);
    out->failed = out->failed || !good;
}
