/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Text of others in an HTML page.
 */
#ifndef QML_PAGE_HTML_H
#define QML_PAGE_HTML_H

#include "base/strings.h"

/* Add text as the content of an element or of a quoted attribute: nothing in it is markup. What no
 * page may have, or what would show other text than there is, becomes U+FFFD: control characters
 * but tab and newline, bytes that are not UTF-8 (RFC 3629), and the characters that turn the
 * direction of text around (Unicode 15, UAX #9, section 2). */
void html_puts(struct strbuf *page, const char *text);

#endif
