/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Reading the HTTP answer to request "stream", and not a byte of what follows a 101.
 */
#ifndef QML_PEER_STREAM_ANSWER_H
#define QML_PEER_STREAM_ANSWER_H

#include "peer/client_error.h"

struct stream_answer {
    long status;   /* of HTTP */
    bool upgraded; /* to the protocol of our streams */
};

/* Reads up to size bytes; *count is 0 at the end of the connection. */
typedef CURLcode stream_reader(void *context, void *data, size_t size, size_t *count);

/* Read the answer; unless it is a 101, its body is in call->response then. CURLE_GOT_NOTHING: the
 * connection ended before there was an answer; CURLE_PARTIAL_FILE: before its end;
 * CURLE_WEIRD_SERVER_REPLY: it is not HTTP; CURLE_FILESIZE_EXCEEDED; CURLE_OUT_OF_MEMORY; or what
 * the reader returned. */
CURLcode stream_answer_read(struct call *call, stream_reader *reader, void *context,
                            struct stream_answer *answer);

#endif
