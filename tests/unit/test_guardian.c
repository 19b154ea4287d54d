/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Whom a guardian obeys: the source of its own VM, agreement and migration; and at its local socket
 * whoever can open that, for one word.
 */
#include "unit.h"

#include <fcntl.h>
#include <sys/socket.h>

#include "base/unix_socket.h"
#include "migration/guardian_private.h"

#define HEX32 "0123456789abcdef0123456789abcdef"
#define HEX64 HEX32 HEX32
#define OTHER32 "1123456789abcdef0123456789abcdef"
#define PIN_A "sha256//47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
#define PIN_B "sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
#define PIN_C "sha256//BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBA="

static struct strlist sources;
static const struct guardian_setup setup = {.sources = &sources};
static struct guardian guardian;

/* It waits for web1 from A, which has changed its key to B; its QEMU has ended, so that nobody is
 * asked. */
static void make(void)
{
    guardian = (struct guardian){.setup = &setup, .qemu_ended = true, .pidfd = -1, .control = -1};
    guardian.record.vm = strdup("web1");
    guardian.record.peer = strdup("a");
    memcpy(guardian.record.agreement, HEX64, DIGEST_HEX_SIZE);
    ck_assert(strlist_push(&sources, PIN_A) && strlist_push(&sources, PIN_B));
}

static void drop(void)
{
    free(guardian.record.vm);
    free(guardian.record.peer);
    strlist_free(&sources);
}

START_TEST(whom_it_obeys)
{
    static const struct {
        const char *pin;
        struct order_key key;
        const char *bound;
        enum status status;
    } rows[] = {
        {PIN_A, {"web1", HEX64, HEX32}, "", STATUS_OK},
        {PIN_B, {"web1", HEX64, HEX32}, "", STATUS_OK},
        {PIN_A, {"web1", HEX64, HEX32}, HEX32, STATUS_OK},
        {PIN_C, {"web1", HEX64, HEX32}, "", STATUS_NOT_TRUSTED},
        {PIN_C, {"web1", HEX64, HEX32}, HEX32, STATUS_NOT_TRUSTED},
        {PIN_A, {"web2", HEX64, HEX32}, "", STATUS_INCOMPATIBLE},
        {PIN_A, {"web1", OTHER32 HEX32, HEX32}, "", STATUS_INCOMPATIBLE},
        {PIN_A, {"web1", HEX64, OTHER32}, HEX32, STATUS_DECISION},
    };
    make();
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct error err = ERROR_INIT;
        struct trust_entry peer = {.name = (char *)"x", .pin_count = 1};
        memcpy(peer.pins[0], rows[i].pin, PIN_SIZE);
        memcpy(guardian.migration, rows[i].bound, strlen(rows[i].bound) + 1);
        bool good = guardian_check_source(&guardian, &peer, &rows[i].key, &err);
        ck_assert_msg(err.status == rows[i].status && good == (rows[i].status == STATUS_OK),
                      "row %zu: %d: %s", i, err.status, err.message);
        /* Nor is a stream taken from others; of the source it is too early for one. */
        autojson json_t *body = order_new_stream(&rows[i].key, 0);
        enum status refusal = good ? STATUS_PROTOCOL : rows[i].status;
        ck_assert(!guardian_admit(&guardian, &peer, "", body, &err));
        ck_assert_msg(err.status == refusal, "stream %zu: %d: %s", i, err.status, err.message);
    }
    drop();
}
END_TEST

/* What is said at the local socket, and what comes back; NULL for nothing. */
static char *says(const char *words, int64_t *took)
{
    autofree char *path = in_folder("control");
    char answer[4096];
    autoclose int fd = unix_connect(path, 0);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(send(fd, words, strlen(words), MSG_NOSIGNAL), (ssize_t)strlen(words));
    int64_t begun = clock_now_ms();
    guardian_control_serve(&guardian);
    *took = clock_now_ms() - begun;
    ssize_t length = recv(fd, answer, sizeof(answer) - 1, MSG_DONTWAIT);
    answer[length > 0 ? length : 0] = '\0';
    return length > 0 ? strdup(answer) : NULL;
}

/* One word, in its time, of a few bytes; and only words that it knows do anything. */
START_TEST(local_socket)
{
    static const struct {
        const char *words, *answer; /* words of it, NULL: none */
    } rows[] = {
        {"", NULL}, /* silence */
        {"give-up", NULL},
        {"give-up-give-up-give-up-give-up-give-up\n", NULL},
        {"\n", "\"refused\":\"\""},
        {"look\n", "\"refused\":\"\""},
        {"RUN\n", "\"refused\":\"\""},
        {"run\n", "\"refused\":\"web1 has not come here"},
    };
    autofree char *path = in_folder("control");
    int64_t took = 0;
    make();
    MUST((guardian.control = guardian_control_listen(path, &err)) >= 0);
    for (size_t i = 0; i < COUNT(rows); i++) {
        autofree char *answer = says(rows[i].words, &took);
        ck_assert_msg(answer ? rows[i].answer && strstr(answer, rows[i].answer) : !rows[i].answer,
                      "row %zu: %s", i, answer ? answer : "(nothing)");
        ck_assert_msg(took < 20000, "row %zu: %lld ms", i, (long long)took);
        ck_assert_int_eq(guardian.lease.state, LEASE_NONE);
        ck_assert(!guardian.leave);
    }
    /* A word that counts: what has not run here can be given up. */
    autofree char *given_up = says("give-up\n", &took);
    ck_assert_ptr_nonnull(given_up);
    ck_assert_int_ne(guardian.lease.state, LEASE_NONE);
    close(guardian.control);
    drop();
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {whom_it_obeys, local_socket};
    return unit_run("guardian", tests, COUNT(tests));
}
