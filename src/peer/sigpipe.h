/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * OpenSSL writes to sockets without MSG_NOSIGNAL: for the time of its work SIGPIPE is kept from
 * this thread. The signal is sent to the thread that writes, so nothing else in the process is
 * touched, and no handler changes.
 */
#ifndef QML_PEER_SIGPIPE_H
#define QML_PEER_SIGPIPE_H

#include <signal.h>
#include <stdbool.h>

struct sigpipe_guard {
    sigset_t saved;
    bool was_pending;
};

/* Block SIGPIPE in this thread. */
void sigpipe_block(struct sigpipe_guard *guard);

/* Forget a SIGPIPE that came meanwhile and put the mask back. errno is kept. */
void sigpipe_restore(const struct sigpipe_guard *guard);

#endif
