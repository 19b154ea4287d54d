/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A QEMU that says what it is told to: replies on a socket pair, of which the other end is the
 * program's. What is sent to it is read by a thread, and not looked at.
 */
#ifndef QML_TESTS_FAKE_QEMU_H
#define QML_TESTS_FAKE_QEMU_H

#include "fuzz.h"
#include "qmp/qmp.h"

struct fake_qemu;

/* It says these bytes, and hangs up. *fd is the end for the program, who closes it. */
struct fake_qemu *fake_qemu_new(const char *bytes, size_t size, int *fd);
void fake_qemu_free(struct fake_qemu *qemu);

/* A conversation: a greeting and then an array of replies and events (borrowed), which get the id
 * of the question that they answer if they have none. */
struct fake_qemu *fake_qemu_script(const json_t *greeting, const json_t *replies, int *fd);

/* The script of those that qemu_session_start starts from now on: this file has that function, and
 * its like, in place of host/qemu_session.c. */
void fake_qemu_set_session(const json_t *greeting, const json_t *replies);

#endif
