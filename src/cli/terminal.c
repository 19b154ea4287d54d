/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "cli/command.h"

#define ANSWER_MAX 80
#define POLL_MS 100 /* how soon an interruption is seen that comes just before we wait */

static int open_terminal(void)
{
    return open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC);
}

bool terminal_is_there(void)
{
    autoclose int fd = open_terminal();
    return fd >= 0;
}

/* One line without its end; what does not fit is left out. False at the end, or interrupted. */
static bool read_line(int fd, char line[ANSWER_MAX])
{
    size_t length = 0;
    while (!interrupted) {
        struct pollfd item = {.fd = fd, .events = POLLIN};
        char byte;
        if (poll(&item, 1, POLL_MS) <= 0)
            continue;
        ssize_t n = read(fd, &byte, 1);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        if (byte == '\n') {
            line[length] = '\0';
            return true;
        }
        if (length < ANSWER_MAX - 1)
            line[length++] = byte;
    }
    return false;
}

bool terminal_confirm(const char *text, const char *question, const char *refusal,
                      struct error *err)
{
    char line[ANSWER_MAX];
    autoclose int fd = open_terminal();
    if (fd < 0)
        return error_set(err, STATUS_USAGE, "there is no terminal to ask at");
    tcflush(fd, TCIFLUSH);
    if (!fd_write_all(fd, text, strlen(text), err) ||
        !fd_write_all(fd, question, strlen(question), err) || !fd_write_all(fd, " ", 1, err))
        return error_wrap(err, "the terminal");
    bool answered = read_line(fd, line);
    if (interrupted)
        return error_set(err, STATUS_INTERRUPTED, "interrupted");
    return (answered && strcmp(line, "yes") == 0) ||
           error_set(err, STATUS_NOT_TRUSTED, "%s", refusal);
}
