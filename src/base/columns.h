/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * How wide a terminal is, and text that is made to fit it.
 */
#ifndef QML_BASE_COLUMNS_H
#define QML_BASE_COLUMNS_H

#include <stddef.h>

/* How many columns the terminal fd has: what it says itself (TIOCGWINSZ), else what COLUMNS says,
 * else 80. 0: fd is no terminal, and a line may be as long as it likes. */
size_t columns_of(int fd);

/* The text with no line longer than so many columns, if it can be broken at blanks: lines after the
 * first begin with indent blanks, two where that would leave too little of the line. A word that is
 * longer than a line stays whole, to be copied. columns 0: the text as it is. A column is a byte:
 * what is shown here is ASCII. The caller frees it; NULL for want of memory. */
char *columns_wrap(const char *text, size_t columns, size_t indent);

#endif
