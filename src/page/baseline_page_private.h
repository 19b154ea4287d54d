/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The parts of the page of a baseline. What cannot be added for want of memory leaves out->failed.
 */
#ifndef QML_PAGE_BASELINE_PAGE_PRIVATE_H
#define QML_PAGE_BASELINE_PAGE_PRIVATE_H

#include "page/baseline_page.h"

/* The filters, and the table of features by hosts. */
void page_put_map(struct strbuf *out, const struct baseline_page *page);

/* What every guest gets, by class. */
void page_put_features(struct strbuf *out, const struct baseline_page *page);

/* What each host takes from the others, the dearest first: security counts before number. */
void page_put_costs(struct strbuf *out, const struct baseline_page *page);

/* "1 host", "2 hosts". */
void page_put_count(struct strbuf *out, size_t count, const char *noun);

#endif
