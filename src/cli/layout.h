/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What goes to standard output in lines and tables: no wider than a terminal, and in a pipe a line
 * for each thing, however long, for other programs to search.
 */
#ifndef QML_CLI_LAYOUT_H
#define QML_CLI_LAYOUT_H

#include "base/error.h"
#include "base/strings.h"

/* A text without newlines, on a terminal on several lines, those after the first with indent
 * blanks. Like the others here, STATUS_CANNOT_WRITE or STATUS_INTERNAL. */
bool put_wrapped(const char *text, size_t indent, struct error *err);

/* label and behind it a word of a command line whose parts have commas between them. On a terminal
 * where that is too long it is broken behind commas, by a backslash as a shell has it and with no
 * indent: what is copied is still one word. plain is the word as it is written where there is room,
 * quoted or not. */
bool put_argument(const char *label, const char *plain, const char *word, struct error *err);

/* The lines of put_argument for a terminal with so many columns; 0: no terminal. The caller frees
 * it; NULL for want of memory. */
char *layout_argument(const char *label, const char *plain, const char *word, size_t columns);

/* A table: rows[0] are its titles; a row with another number of cells is a name and a message. On a
 * terminal too narrow for it the last column is wrapped, or else a name has its cells below it,
 * each behind its title. Rows have one cell at least. */
bool put_table(const struct strlist rows[], size_t count, struct error *err);

/* The same as text for a terminal with so many columns; 0: no terminal. The caller frees it; NULL
 * for want of memory. */
char *layout_table(const struct strlist rows[], size_t count, size_t columns);

#endif
