/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Files of /proc, whose first byte says which: a process's words ('c'), its map ('m'), its state
 * ('s'; 'n': that of one with this name), locks ('l') and TCP sockets ('t'). What was put together
 * from parts is taken apart to the same ones.
 */
#include <unistd.h>

#include "base/proc.h"
#include "doctor/doctor_private.h"
#include "fuzz.h"
#include "vm/arglist.h"

/* QEMU's command line, whoever wrote it. */
static void try_words(const char *text, size_t length)
{
    autostrlist struct strlist words = {0};
    autoarglist struct arglist arguments = {0};
    struct error err = ERROR_INIT;
    size_t at = 0;
    MUST(proc_words(text, length, &words));
    for (size_t i = 0; i < words.count; i++) {
        MUST(at < length && strcmp(text + at, words.items[i]) == 0);
        at += strlen(words.items[i]) + 1;
    }
    MUST(at == length || at == length + 1);
    if (words.count > 0 && !arglist_parse(&arguments, (int)words.count, words.items, &err))
        MUST(err.status != STATUS_OK && *err.message);
}

static void try_map(const char *text)
{
    autostrlist struct strlist lines = {0};
    MUST(strlist_split(&lines, text, '\n'));
    for (size_t i = 0; i < lines.count; i++) {
        autofree char *copy = strdup(lines.items[i]);
        MUST(copy);
        const char *path = proc_mapped_path(copy);
        if (!path)
            continue;
        MUST(*path == '/' && path > copy && path[-1] == ' ');
        bool some = false;
        for (size_t k = 0; k < lines.count; k++) {
            size_t all = strlen(lines.items[k]), end = strlen(path);
            some = some || (all > end && strcmp(lines.items[k] + all - end, path) == 0);
        }
        MUST(some || !proc_executes(text, path));
    }
    proc_executes(text, "");
    proc_executes(text, text);
}

static void try_state(const char *text)
{
    char state = 0;
    uint64_t started = 0;
    if (proc_stat(text, &state, &started))
        MUST(strchr(text, ')'));
}

/* A name has up to 15 bytes, any at all (prctl(2)). */
static void try_name(const char *name)
{
    char state = 0;
    uint64_t started = 0;
    autofree char *text = string_format("4711 (%.15s) R 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 "
                                        "18 1234567 20 21\n",
                                        name);
    MUST(text && proc_stat(text, &state, &started) && state == 'R' && started == 1234567);
}

static void try_lines(const char *text)
{
    autostrlist struct strlist lines = {0};
    MUST(strlist_split(&lines, text, '\n'));
    for (size_t i = 0; i < lines.count; i++) {
        struct tcp_listener listener;
        unsigned long long inode;
        long pid;
        MUST(!parse_lock_line(lines.items[i], &inode, &pid) || pid > 0);
        parse_tcp_line(lines.items[i], &listener);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    autofree char *text = calloc(1, size);
    MUST(text);
    memcpy(text, data + 1, size - 1);
    switch (data[0]) {
    case 'c':
        try_words(text, size - 1);
        break;
    case 'm':
        try_map(text);
        break;
    case 's':
        try_state(text);
        break;
    case 'n':
        try_name(text);
        break;
    case 'l':
    case 't':
        try_lines(text);
        break;
    }
    return 0;
}
