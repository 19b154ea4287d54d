/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Asking the person at the terminal: /dev/tty, whatever standard input and output are.
 */
#ifndef QML_CLI_TERMINAL_H
#define QML_CLI_TERMINAL_H

#include <stdbool.h>

#include "base/error.h"

/* Whether there is a terminal of this process's own (tty(4)). */
bool terminal_is_there(void);

/* Show text and question there, and read one line: true if it is "yes", in full. What was typed
 * before the question does not count. Anything else, and the end of the terminal: false with
 * STATUS_NOT_TRUSTED and `refusal`; also false: STATUS_INTERRUPTED; STATUS_USAGE if there is no
 * terminal. text must be fit to be shown. */
bool terminal_confirm(const char *text, const char *question, const char *refusal,
                      struct error *err);

#endif
