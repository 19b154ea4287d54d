/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "peer/stream_answer.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"
#include "peer/stream.h"

#define LENGTH_UNKNOWN SIZE_MAX

static CURLcode not_http(struct call *call)
{
    snprintf(call->curl_message, sizeof(call->curl_message), "the answer is not HTTP");
    return CURLE_WEIRD_SERVER_REPLY;
}

/* All up to the empty line, byte by byte: what follows is not ours. */
static CURLcode read_head(struct call *call, stream_reader *reader, void *context,
                          struct strbuf *head)
{
    while (head->length < 4 || memcmp(head->data + head->length - 4, "\r\n\r\n", 4) != 0) {
        char byte;
        size_t count;
        CURLcode code = reader(context, &byte, 1, &count);
        if (code != CURLE_OK)
            return code;
        if (count == 0)
            return CURLE_GOT_NOTHING;
        if (head->length == RESPONSE_HEADERS_MAX)
            return CURLE_FILESIZE_EXCEEDED;
        strbuf_add(head, &byte, 1);
        if (head->failed)
            return CURLE_OUT_OF_MEMORY;
        if (byte == '\0' || (head->length <= 5 && byte != "HTTP/"[head->length - 1]))
            return not_http(call);
    }
    return CURLE_OK;
}

/* Value of a header line if it is `name`'s, without blanks before it; else NULL. */
static const char *value_of(const char *line, const char *name)
{
    size_t length = strlen(name);
    if (strncasecmp(line, name, length) != 0 || line[length] != ':')
        return NULL;
    line += length + 1;
    return line + strspn(line, " \t");
}

static bool parse_head(char *head, struct stream_answer *answer, size_t *length)
{
    unsigned minor, status;
    char *rest = NULL;
    *length = LENGTH_UNKNOWN;
    int end = 0;
    if (sscanf(head, "HTTP/1.%1u %3u%n", &minor, &status, &end) != 2 || status < 100 ||
        !strchr(" \r", head[end]))
        return false;
    answer->status = status;
    strtok_r(head, "\r\n", &rest);
    for (char *line = strtok_r(NULL, "\r\n", &rest); line; line = strtok_r(NULL, "\r\n", &rest)) {
        const char *upgrade = value_of(line, "Upgrade");
        const char *size = value_of(line, "Content-Length");
        uint64_t number = 0;
        if (upgrade && strcasecmp(upgrade, STREAM_PROTOCOL) == 0)
            answer->upgraded = true;
        if (size && (!parse_number(size, 0, SIZE_MAX - 1, &number) || *length != LENGTH_UNKNOWN))
            return false;
        if (size)
            *length = number;
    }
    return true;
}

static CURLcode read_body(struct call *call, stream_reader *reader, void *context, size_t length)
{
    char chunk[4096];
    while (call->response.length < length) {
        size_t count, wanted = length - call->response.length;
        CURLcode code =
            reader(context, chunk, wanted < sizeof(chunk) ? wanted : sizeof(chunk), &count);
        if (code != CURLE_OK)
            return code;
        if (count == 0)
            return length == LENGTH_UNKNOWN ? CURLE_OK : CURLE_PARTIAL_FILE;
        if (count > MESSAGE_MAX - call->response.length)
            return CURLE_FILESIZE_EXCEEDED;
        strbuf_add(&call->response, chunk, count);
        if (call->response.failed)
            return CURLE_OUT_OF_MEMORY;
    }
    return CURLE_OK;
}

CURLcode stream_answer_read(struct call *call, stream_reader *reader, void *context,
                            struct stream_answer *answer)
{
    autostrbuf struct strbuf head = {0};
    size_t length;
    CURLcode code = read_head(call, reader, context, &head);
    if (code != CURLE_OK)
        return code;
    if (!parse_head(head.data, answer, &length))
        return not_http(call);
    if (answer->status == 101)
        return CURLE_OK;
    if (length != LENGTH_UNKNOWN && length > MESSAGE_MAX)
        return CURLE_FILESIZE_EXCEEDED;
    return read_body(call, reader, context, length);
}
