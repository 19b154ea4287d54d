/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/remote_shell.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/deadline.h"
#include "base/digest.h"
#include "base/pidfd.h"

#define ANSWER_MS 180000 /* a person may have to type a passphrase; sshd gives them 120 s */
#define POLL_MS 100      /* how soon an interruption is seen that comes just before we wait */
#define END_MS 2000
#define URI "ssh://"

void remote_reply_free(struct remote_reply *reply)
{
    free(reply->output);
    free(reply->message);
    *reply = (struct remote_reply){0};
}

static bool is_word(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (!isalnum((unsigned char)text[i]) && !(i > 0 && strchr("._-", text[i])))
            return false;
    return length > 0;
}

static bool is_ipv6(const char *text, size_t length)
{
    char copy[INET6_ADDRSTRLEN];
    struct in6_addr address;
    if (length >= sizeof(copy))
        return false;
    memcpy(copy, text, length);
    copy[length] = '\0';
    return inet_pton(AF_INET6, copy, &address) == 1;
}

/* The HOST in text: where it begins, and its length; 0: text is not valid. */
static size_t find_host(const char *text, const char **host)
{
    bool is_uri = string_starts_with(text, URI);
    const char *rest = is_uri ? text + strlen(URI) : text;
    const char *at = strchr(rest, '@');
    if (at && !is_word(rest, (size_t)(at - rest)))
        return 0;
    rest = at ? at + 1 : rest;
    *host = rest;
    size_t length = strlen(rest);
    if (!is_uri)
        return is_word(rest, length) || is_ipv6(rest, length) ? length : 0;
    const char *end;
    if (rest[0] == '[') {
        *host = rest + 1;
        length = strcspn(rest + 1, "]");
        end = *host + length + 1;
        if (!is_ipv6(*host, length) || (*host)[length] != ']')
            return 0;
    } else {
        length = strcspn(rest, ":");
        end = rest + length;
        if (!is_word(rest, length))
            return 0;
    }
    uint64_t port;
    return !*end || (*end == ':' && parse_number(end + 1, 1, 65535, &port)) ? length : 0;
}

bool remote_host_is_valid(const char *text)
{
    const char *host;
    return find_host(text, &host) > 0;
}

char *remote_host_name(const char *text)
{
    const char *host = text;
    size_t length = find_host(text, &host);
    return strndup(host, length);
}

/* A copy of what is between two places, without line ends at its end. */
static char *copy_text(const char *begin, const char *end)
{
    while (end > begin && end[-1] == '\n')
        end--;
    return strndup(begin, (size_t)(end - begin));
}

/* Behind "\nNONCE WORD", or NULL. WORD is at *word then. */
static const char *find_mark(const char *text, const char *nonce, const char **word)
{
    for (const char *p = strstr(text, nonce); p; p = strstr(p + 1, nonce))
        if (p > text && p[-1] == '\n' && p[strlen(nonce)] == ' ') {
            *word = p + strlen(nonce) + 1;
            return p - 1;
        }
    return NULL;
}

int remote_reply_parse(const char *text, const char *nonce, struct remote_reply *reply,
                       struct error *err)
{
    const char *word = NULL, *output, *message, *end;
    uint64_t status;
    if (!find_mark(text, nonce, &word) || !(output = strchr(word, '\n')))
        return 0;
    const char *output_end = find_mark(output, nonce, &word);
    if (!output_end || !(message = strchr(word, '\n')))
        return 0;
    autofree char *digits = strndup(word, (size_t)(message - word));
    if (!digits) {
        error_no_memory(err);
        return -1;
    }
    end = find_mark(message, nonce, &word);
    if (!end || !strchr(word, '\n'))
        return 0;
    if (!parse_number(digits, 0, 255, &status)) {
        error_set(err, STATUS_DATA, "its shell says something that is no answer");
        return -1;
    }
    struct remote_reply result = {.status = (int)status,
                                  .output = copy_text(output + 1, output_end),
                                  .message = copy_text(message + 1, end)};
    if (!result.output || !result.message) {
        remote_reply_free(&result);
        error_no_memory(err);
        return -1;
    }
    *reply = result;
    return 1;
}

static bool spawn(struct remote_shell *shell, char *const argv[], int other, struct error *err)
{
    posix_spawn_file_actions_t actions;
    if (posix_spawn_file_actions_init(&actions) != 0)
        return error_no_memory(err);
    int problem = posix_spawn_file_actions_adddup2(&actions, other, STDIN_FILENO);
    if (problem == 0)
        problem = posix_spawn_file_actions_adddup2(&actions, other, STDOUT_FILENO);
    pid_t pid = -1;
    if (problem == 0)
        problem = posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (problem == ENOENT || problem == EACCES)
        return error_set_errno(err, STATUS_CONFIG, problem, "%.80s cannot be started", argv[0]);
    if (problem != 0)
        return error_set_errno(err, STATUS_INTERNAL, problem, "%.80s cannot be started", argv[0]);
    shell->process.pid = pid;
    shell->process.pidfd = pidfd_open_process(pid);
    return shell->process.pidfd >= 0 ||
           error_set_errno(err, STATUS_INTERNAL, errno, "pidfd_open of %.80s", argv[0]);
}

bool remote_shell_start(struct remote_shell *shell, const struct strlist *ssh, const char *host,
                        struct error *err)
{
    autostrlist struct strlist argv = {0};
    int ends[2];
    shell->host = host;
    for (size_t i = 0; i < ssh->count; i++)
        if (!strlist_push(&argv, ssh->items[i]))
            return error_no_memory(err);
    if (!strlist_push(&argv, "-T") || !strlist_push(&argv, host) || !strlist_push(&argv, "sh"))
        return error_no_memory(err);
    if (!random_hex(sizeof(shell->nonce) / 2, shell->nonce, err))
        return false;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
        return error_set_errno(err, STATUS_INTERNAL, errno, "socketpair");
    shell->fd = ends[0];
    autoclose UNREAD int other = ends[1];
    return spawn(shell, argv.items, other, err);
}

/* Why there is no answer. */
static bool say_end(struct remote_shell *shell, struct error *err)
{
    int wait_status = 0, status = -1;
    if (process_wait(&shell->process, deadline_in_ms(END_MS), &wait_status) == 1 &&
        WIFEXITED(wait_status))
        status = WEXITSTATUS(wait_status);
    if (shell->interrupted && *shell->interrupted)
        return error_set(err, STATUS_INTERRUPTED, "interrupted");
    if (!shell->answered && (status == 126 || status == 127))
        return error_set(err, STATUS_CONFIG, "%s has no POSIX shell (sh) for us", shell->host);
    return error_set(err, STATUS_UNAVAILABLE,
                     shell->answered
                         ? "the connection to %s was lost"
                         : "no answer from %s by ssh (what ssh says of it stands above)",
                     shell->host);
}

static bool write_command(struct remote_shell *shell, const char *command, struct error *err)
{
    const char *nonce = shell->nonce;
    /* Standard output goes on as it comes, standard error is kept until it has ended. */
    autofree char *line =
        string_format("printf '\\n%s begin\\n'; { e=$({ %s ; } 2>&1 >&3 3>&- </dev/null); s=$?; } "
                      "3>&1; printf '\\n%s %%s\\n%%s\\n%s end\\n' \"$s\" \"$e\"\n",
                      nonce, command, nonce, nonce);
    if (!line)
        return error_no_memory(err);
    for (size_t sent = 0, length = strlen(line); sent < length;) {
        ssize_t n = send(shell->fd, line + sent, length - sent, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR && !(shell->interrupted && *shell->interrupted))
            continue;
        if (n < 0)
            return say_end(shell, err);
        sent += (size_t)n;
    }
    return true;
}

/* Add what has come to text; false with err at the end of it, and when it is too late. */
static bool read_more(struct remote_shell *shell, struct strbuf *text, deadline when,
                      struct error *err)
{
    char bytes[4096];
    struct pollfd item = {.fd = shell->fd, .events = POLLIN};
    int ready = poll(&item, 1, POLL_MS);
    if (shell->interrupted && *shell->interrupted)
        return error_set(err, STATUS_INTERRUPTED, "interrupted");
    if (ready <= 0)
        return deadline_left_ms(when) > 0 ||
               error_set(err, STATUS_UNAVAILABLE, "%s did not answer in time", shell->host);
    ssize_t n = recv(shell->fd, bytes, sizeof(bytes), 0);
    if (n < 0 && errno == EINTR)
        return true;
    if (n <= 0)
        return say_end(shell, err);
    if (memchr(bytes, '\0', (size_t)n) || text->length + (size_t)n > REMOTE_OUTPUT_MAX)
        return error_set(err, STATUS_DATA, "what %s answers by ssh is no answer: %s", shell->host,
                         text->length + (size_t)n > REMOTE_OUTPUT_MAX ? "it has no end"
                                                                      : "it is not text");
    strbuf_add(text, bytes, (size_t)n);
    return !text->failed || error_no_memory(err);
}

bool remote_shell_ask(struct remote_shell *shell, const char *command, struct remote_reply *reply,
                      struct error *err)
{
    deadline when = deadline_in_ms(ANSWER_MS);
    struct strbuf text __attribute__((cleanup(strbuf_free))) = {0};
    if (!write_command(shell, command, err))
        return false;
    for (;;) {
        if (!read_more(shell, &text, when, err))
            return false;
        int found = text.data ? remote_reply_parse(text.data, shell->nonce, reply, err) : 0;
        if (found < 0)
            return error_wrap(err, "%s", shell->host);
        if (found > 0)
            break;
    }
    shell->answered = true;
    return true;
}

void remote_shell_end(struct remote_shell *shell)
{
    int wait_status;
    if (shell->fd >= 0)
        close(shell->fd);
    shell->fd = -1;
    if (shell->process.pid > 0 && shell->process.pidfd >= 0 &&
        process_wait(&shell->process, deadline_in_ms(END_MS), &wait_status) == 0)
        pidfd_signal(shell->process.pidfd, SIGTERM);
    process_end(&shell->process);
}
