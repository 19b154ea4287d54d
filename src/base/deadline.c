/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/deadline.h"

#include <limits.h>
#include <time.h>

int64_t clock_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

deadline deadline_in_ms(int64_t milliseconds)
{
    int64_t now = clock_now_ms();
    return milliseconds > INT64_MAX - now ? DEADLINE_NEVER : now + milliseconds;
}

int deadline_left_ms(deadline when)
{
    if (when == DEADLINE_NEVER)
        return -1;
    int64_t left = when - clock_now_ms();
    if (left <= 0)
        return 0;
    return left > INT_MAX ? INT_MAX : (int)left;
}
