/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What error.h says of its functions and an analyzer, which reads one file at a time, does not see:
 * they return false. tests/analysis/run puts this before each file but error.c.
 */
#include "base/error.h"

#define error_set(...) (error_set(__VA_ARGS__), false)
#define error_set_errno(...) (error_set_errno(__VA_ARGS__), false)
#define error_wrap(...) (error_wrap(__VA_ARGS__), false)
#define error_no_memory(...) (error_no_memory(__VA_ARGS__), false)
