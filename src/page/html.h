/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Text of others in an HTML page.
 */
#ifndef QML_PAGE_HTML_H
#define QML_PAGE_HTML_H

#include "base/strings.h"

/* Add text as the content of an element or of a quoted attribute: nothing in it is markup. What is
 * not printable ASCII, of which all strings from hosts are (json_parse_strict), becomes U+FFFD. */
void html_puts(struct strbuf *page, const char *text);

#endif
