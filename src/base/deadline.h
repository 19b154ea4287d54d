/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Deadlines on the clock that goes on while the machine sleeps (CLOCK_BOOTTIME).
 */
#ifndef QML_BASE_DEADLINE_H
#define QML_BASE_DEADLINE_H

#include <stdint.h>

/* Milliseconds since boot; DEADLINE_NEVER is later than all of them. */
typedef int64_t deadline;
#define DEADLINE_NEVER INT64_MAX

int64_t clock_now_ms(void);
deadline deadline_in_ms(int64_t milliseconds);
/* Milliseconds left, 0 when past, INT_MAX at most: what poll() takes; -1 for DEADLINE_NEVER. */
int deadline_left_ms(deadline when);

#endif
