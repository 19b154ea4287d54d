/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The readers of what the source and the guardian of a migration say to each other. One object with
 * any of "request", "answer", "offers" (of the two QEMUs, for "wishes") and "inventories" (of two
 * machines): each is given to all readers of its kind. What is read and written again is the same,
 * byte for byte; what is decided from it is the same each time.
 *
 * The guardian's local socket, too: "word" is said to a guardian whose QEMU has ended and whose
 * lease has the state "lease"; "line" is what one says to who asks. Bytes that are no JSON are said
 * as they are: to the guardian ('w' first, then the lease's state as a digit), or by it ('l').
 */
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/file.h"
#include "base/unix_socket.h"
#include "home.h"
#include "migration/guardian_control.h"
#include "migration/guardian_private.h"
#include "migration/orders.h"
#include "migration/preflight.h"

#define VM "web1"
#define ASKED 3 /* to run, to give up, to leave */

static const char *const names[] = {"src", "dst"};

/* These readers take one form only: the text of what was read is the text that it was read from. */
static void check_same(json_t *json, json_t *written)
{
    autofree char *one = json_to_text(json);
    autofree char *other = fuzz_written(written);
    MUST(one && strcmp(one, other) == 0);
}

static void check_request(json_t *json)
{
    struct order_key key;
    autoprepare struct order_prepare prepare = {0};
    struct order_renew renew;
    struct order_resume resume;
    int channel, taken = 0;
    if (order_take(json, &key, NULL) && ++taken)
        check_same(json, order_new(&key));
    if (order_take_prepare(json, &key, &prepare, NULL) && ++taken)
        check_same(json, order_new_prepare(&key, &prepare));
    if (order_take_stream(json, &key, &channel, NULL) && ++taken) {
        MUST(channel >= 0 && channel < ORDER_CHANNELS_MAX);
        check_same(json, order_new_stream(&key, channel));
    }
    if (order_take_renew(json, &key, &renew, NULL) && ++taken) {
        MUST(renew.grant >= ORDER_NO_GRANT && renew.wait_ms >= 0);
        MUST(renew.wait_ms <= ORDER_WAIT_MAX_MS);
        check_same(json, order_new_renew(&key, &renew));
    }
    if (order_take_resume(json, &key, &resume, NULL) && ++taken)
        check_same(json, order_new_resume(&key, &resume));
    MUST(taken <= 1);
    MUST(taken == 0 || (name_is_vm(key.vm) && migration_id_is_good(key.migration)));
}

static void check_status(const struct guardian_status *status)
{
    struct lease_source lease = LEASE_SOURCE_INIT;
    int64_t stamp, good_until;
    MUST(text_is_plain(status->run_state) && text_is_plain(status->migration));
    MUST(text_is_plain(status->reason) && lease_state_name(status->lease));
    /* A guardian may say any time. */
    lease_source_heard(&lease, 1000, status->stamp);
    MUST(lease_source_grant(&lease, 1000, &stamp) && stamp == status->stamp);
    MUST(lease_source_tell(&lease, 1000, &good_until) && good_until > stamp);
}

/* Its lines lose blanks at their ends when it is written. */
static void check_sight(const struct order_sight *sight)
{
    autosight struct order_sight again = {0};
    autofree char *text = fuzz_written(order_answer_look(sight));
    autojson json_t *json = fuzz_reread(text);
    MUST(order_take_sight(json, &again, NULL));
    MUST(again.differences.count == sight->differences.count);
    check_same(json, order_answer_look(&again));
    check_status(&again.status);
}

static void check_answer(json_t *json)
{
    autosight struct order_sight sight = {0};
    struct guardian_status status;
    uint16_t port;
    if (order_take_sight(json, &sight, NULL))
        check_sight(&sight);
    if (order_take_prepared(json, &status, &port, NULL)) {
        check_status(&status);
        check_same(json, order_answer_prepare(&status, port));
    }
    if (order_take_status(json, &status, NULL)) {
        check_status(&status);
        check_same(json, order_answer(&status));
    }
}

static bool is_same_decision(const struct migration_settings *one,
                             const struct migration_settings *other)
{
    autofree char *notes = strlist_join(&one->notes, ";");
    autofree char *also = strlist_join(&other->notes, ";");
    MUST(notes && also);
    for (int end = 0; end < MIGRATION_ENDS; end++)
        if (!json_equal(one->ends[end].capabilities, other->ends[end].capabilities) ||
            !json_equal(one->ends[end].parameters, other->ends[end].parameters))
            return false;
    return strcmp(notes, also) == 0;
}

static void check_settings(const struct migration_offer offers[MIGRATION_ENDS],
                           const struct migration_wishes *wishes)
{
    automigrationsettings struct migration_settings settings = {0}, again = {0};
    bool good = migration_settings_decide(offers, names, wishes, &settings, NULL);
    MUST(migration_settings_decide(offers, names, wishes, &again, NULL) == good);
    MUST(!good || is_same_decision(&settings, &again));
}

static void check_offers(json_t *list, json_t *json)
{
    struct migration_offer offers[MIGRATION_ENDS] = {{0}};
    struct migration_wishes wishes = {0};
    bool wished = migration_wishes_from_json(json, "wishes", &wishes, NULL), both = wished;
    if (wished)
        check_same(json, migration_wishes_to_json(&wishes));
    for (int end = 0; end < MIGRATION_ENDS; end++) {
        json_t *offer = json_array_get(list, (size_t)end);
        if (migration_offer_from_json(offer, "offer", &offers[end], NULL))
            check_same(offer, migration_offer_to_json(&offers[end]));
        else
            both = false;
    }
    if (both)
        check_settings(offers, &wishes);
    for (int end = 0; end < MIGRATION_ENDS; end++)
        migration_offer_free(&offers[end]);
}

/* A machine can move to one like it, but for what blocks it. */
static void check_inventories(const json_t *one, const json_t *other)
{
    autostrlist struct strlist findings = {0}, again = {0}, none = {0}, warnings = {0};
    MUST(preflight_find(one, other, names, &findings, &warnings));
    for (size_t i = 0; i < warnings.count; i++)
        MUST(text_is_plain(warnings.items[i]));
    MUST(preflight_find(one, other, names, &again, &warnings) && findings.count == again.count);
    for (size_t i = 0; i < findings.count; i++)
        MUST(text_is_plain(findings.items[i]) && strcmp(findings.items[i], again.items[i]) == 0);
    MUST(preflight_find(one, one, names, &none, &warnings) && warnings.count == 0);
    MUST(none.count == json_array_size(json_object_get(one, "blocked")));
}

static char *control_path(const struct fuzz_home *home)
{
    char *path = vm_socket_path(&home->paths, VM, "control", NULL);
    MUST(path);
    char *slash = strrchr(path, '/');
    *slash = '\0';
    MUST(folder_make(path, 0700, NULL));
    *slash = '/';
    return path;
}

/* All that one says who closes then. */
static char *hear(int fd)
{
    autostrbuf struct strbuf text = {0};
    char part[4096];
    for (ssize_t n; (n = recv(fd, part, sizeof(part), 0)) > 0;)
        strbuf_add(&text, part, (size_t)n);
    strbuf_puts(&text, "");
    return strbuf_steal(&text);
}

/* Of a word: only what the lease's state allows is done, and each answer can be read. */
static void check_word(const char *bytes, size_t size, unsigned state)
{
    const struct fuzz_home *home = fuzz_home();
    autofree char *path = control_path(home);
    const struct vm_sockets sockets = {.command = path, .guardian = path};
    const struct guardian_setup setup = {.paths = &home->paths, .sockets = &sockets};
    struct guardian guardian = {
        .setup = &setup,
        .record = {.vm = (char *)VM, .peer = (char *)"src", .socket = path, .pid = 4711},
        .pidfd = -1,
        .qemu_ended = true,
        .lease = {.state = state % (LEASE_ENDED + 1), .until = INT64_MAX}};
    enum lease_guardian_state before = guardian.lease.state;
    struct guardian_status status;
    struct error err = ERROR_INIT;
    guardian.control = guardian_control_listen(path, NULL);
    autoclose int listener = guardian.control, fd = unix_connect(path, 0);
    MUST(listener >= 0 && fd >= 0 && send(fd, bytes, size, MSG_NOSIGNAL) == (ssize_t)size);
    MUST(shutdown(fd, SHUT_WR) == 0);
    guardian_control_serve(&guardian);
    autofree char *text = hear(fd);
    const char *end = memchr(bytes, '\n', size < 31 ? size : 31);
    MUST(text && (*text != '\0') == (end != NULL));
    MUST(guardian.lease.state != LEASE_RUN || before == LEASE_RUN || before == LEASE_TOLD);
    MUST(before != LEASE_RUN || guardian.lease.state == LEASE_RUN);
    MUST(!guardian.leave || before == LEASE_ENDED);
    if (!end)
        return;
    MUST(text[strlen(text) - 1] == '\n');
    autojson json_t *answer = json_parse_strict(text, strlen(text), strlen(text), NULL);
    MUST(answer && json_is_string(json_object_get(answer, "refused")));
    MUST(json_object_del(answer, "refused") == 0 && order_take_status(answer, &status, &err));
    check_status(&status);
}

struct talker {
    int listener;
    const char *bytes;
    size_t size;
};

/* In a guardian's place: the same to each of those who ask below, and then it is gone. */
static void *talk(void *context)
{
    const struct talker *talker = context;
    char ignored[64];
    for (int i = 0; i < ASKED; i++) {
        autoclose int fd = accept(talker->listener, NULL, NULL);
        if (fd >= 0 && recv(fd, ignored, sizeof(ignored), 0) > 0)
            send(fd, talker->bytes, talker->size, MSG_NOSIGNAL);
    }
    shutdown(talker->listener, SHUT_RDWR);
    return NULL;
}

/* Of a guardian's answer, whatever stands there: nothing is decided without one that says so. */
static void check_line(const char *bytes, size_t size)
{
    const struct fuzz_home *home = fuzz_home();
    autofree char *path = control_path(home);
    autoclose int listener = unix_listen(path, 4, 0);
    struct talker talker = {.listener = listener, .bytes = bytes, .size = size};
    pthread_t thread;
    MUST(listener >= 0 && pthread_create(&thread, NULL, talk, &talker) == 0);
    for (int here = 0; here < 2; here++) {
        struct vm_record record = {
            .vm = (char *)VM, .peer = (char *)"src", .socket = path, .place = PLACE_ELSEWHERE};
        struct error err = ERROR_INIT;
        bool good = guardian_decide(&home->paths, &record, here, &err);
        MUST(good || (err.status != STATUS_OK && *err.message));
        MUST(!good || memchr(bytes, '\n', size));
        MUST(record.place == PLACE_ELSEWHERE && record.pid == 0);
    }
    guardian_dismiss(&home->paths, VM);
    MUST(pthread_join(thread, NULL) == 0 && unlink(path) == 0);
}

static void check_local(const json_t *json)
{
    const json_t *word = json_object_get(json, "word"), *line = json_object_get(json, "line");
    json_int_t state = json_integer_value(json_object_get(json, "lease"));
    if (json_is_string(word)) {
        autofree char *text = string_format("%s\n", json_string_value(word));
        MUST(text);
        check_word(text, strlen(text), (unsigned)state);
    }
    if (json_is_object(line)) {
        autofree char *text = json_to_text(line), *whole = string_format("%s\n", text);
        MUST(whole);
        check_line(whole, strlen(whole));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    autojson json_t *json = json_parse_strict((const char *)data, size, size, NULL);
    log_set_level(LOG_LEVEL_ERROR);
    if (!json && size > 1 && *data == 'w')
        check_word((const char *)data + 2, size - 2, data[1]);
    else if (!json && size > 0 && *data == 'l')
        check_line((const char *)data + 1, size - 1);
    if (!json)
        return 0;
    check_local(json);
    check_request(json_object_get(json, "request"));
    check_answer(json_object_get(json, "answer"));
    check_offers(json_object_get(json, "offers"), json_object_get(json, "wishes"));
    json_t *machines = json_object_get(json, "inventories");
    json_t *one = json_array_get(machines, 0), *other = json_array_get(machines, 1);
    if (inventory_check(one, "one", NULL) && inventory_check(other, "other", NULL))
        check_inventories(one, other);
    return 0;
}
