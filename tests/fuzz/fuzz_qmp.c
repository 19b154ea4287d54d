/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What a QEMU answers. Bytes that are no object are said as they are: after a first byte 'g' they
 * are all that is said, greeting included, after 't' as well, but it does not hang up and soon it
 * is too late; after any other they follow a good greeting. An object is a script: "replies" (an
 * array: answers and events in their order), "greeting", which reader takes them ("ask": a name in
 * the table below), and what that has to know: "machine", "accel", "model"; and, for those that
 * keep answers, what is kept of an earlier one ("kept").
 */
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fake_qemu.h"
#include "home.h"
#include "host/probe_cache.h"
#include "host/probe_key.h"
#include "host/qemu.h"
#include "host/qemu_devices.h"
#include "host/qemu_files.h"
#include "migration/inventory.h"
#include "migration/settings.h"
#include "vm/memory_check.h"
#include "vm/vcpu.h"

#define TALK_MS 10000
#define LATE_MS 20

static void check(bool good, const struct error *err)
{
    MUST(good || (err->status != STATUS_OK && *err->message));
    MUST(text_is_plain(err->message) || !*err->message);
}

static void ask_cpu(struct qmp *qmp, const json_t *script)
{
    autorunningcpu struct running_cpu cpu = {0};
    struct error err = ERROR_INIT;
    bool good = running_cpu_read(qmp, &cpu, &err);
    check(good, &err);
    MUST(!good || (cpu.count > 0 && name_is_machine(cpu.machine)));
}

static void ask_inventory(struct qmp *qmp, const json_t *script)
{
    struct error err = ERROR_INIT;
    autojson json_t *found = inventory_read(qmp, &err);
    check(found, &err);
    MUST(!found || inventory_check(found, "found", NULL));
}

static void ask_offer(struct qmp *qmp, const json_t *script)
{
    struct error err = ERROR_INIT;
    automigrationoffer struct migration_offer offer = {0}, again = {0};
    int end = json_is_true(json_object_get(script, "source"));
    bool good = migration_offer_read(qmp, (enum migration_end)end, &offer, &err);
    check(good, &err);
    if (!good)
        return;
    autofree char *text = fuzz_written(migration_offer_to_json(&offer));
    autojson json_t *json = fuzz_reread(text);
    MUST(migration_offer_from_json(json, "offer", &again, NULL));
    const struct migration_side side = {.capabilities = json_object_get(script, "capabilities"),
                                        .parameters = json_object_get(script, "parameters")};
    check(migration_side_apply(qmp, &side, &err), &err);
}

static void ask_events(struct qmp *qmp, const json_t *script)
{
    bool closed = false;
    for (json_t *event; !closed && (event = qmp_next_event(qmp, deadline_in_ms(TALK_MS), &closed));)
        json_decref(event);
}

/* Readers that start a QEMU by themselves; here it is any program, as far as files go. */
#define SOME_PROGRAM "/bin/sh"

static struct qemu_binary some_binary(void)
{
    static char path[] = SOME_PROGRAM;
    struct stat st;
    MUST(stat(path, &st) == 0);
    return (struct qemu_binary){
        .path = path, .device = st.st_dev, .inode = st.st_ino, .changed = st.st_ctim};
}

/* The state folder, with the script's entry for that question; NULL: nothing is kept. */
static const char *keep(const struct probe_parameters *parameters, const json_t *script,
                        char key[DIGEST_HEX_SIZE])
{
    autoprobequestion struct probe_question question = {0};
    const json_t *kept = json_object_get(script, "kept");
    const char *state = fuzz_home()->paths.state;
    const struct qemu_binary binary = some_binary();
    struct stat st;
    *key = '\0';
    if (!kept)
        return NULL;
    probe_question_init(&question, probe_key_words_now(&binary, parameters, NULL));
    MUST(question.words && stat(SOME_PROGRAM, &st) == 0);
    autofree char *identity = file_identity(SOME_PROGRAM, &st);
    autofree char *name = string_format("probes/%s.json", question.key);
    autojson json_t *entry = json_pack("{s:O, s:[s], s:[], s:O}", "asked", question.words, "files",
                                       identity, "folders", "answer", kept);
    MUST(name && entry);
    fuzz_write_json(state, name, entry);
    memcpy(key, question.key, DIGEST_HEX_SIZE);
    return state;
}

static void forget_kept(const char *key)
{
    autofree char *name = string_format("probes/%s.json", key);
    MUST(name);
    if (*key)
        fuzz_write_json(fuzz_home()->paths.state, name, NULL);
}

static void start_open(const struct probe_parameters *parameters, const json_t *script)
{
    struct error err = ERROR_INIT;
    autoqemu struct qemu qemu = {0};
    char key[DIGEST_HEX_SIZE];
    const char *state = keep(NULL, script, key);
    bool good = qemu_open_cached(SOME_PROGRAM, state, &qemu, &err);
    check(good, &err);
    MUST(!good || (*qemu.version && qemu.package));
    forget_kept(key);
}

static void start_probe(const struct probe_parameters *parameters, const json_t *script)
{
    struct error err = ERROR_INIT;
    autocpuoffer struct cpu_offer offer = {0};
    autodeviceoffer struct device_offer devices = {0};
    const char *name = json_string_value(json_object_get(script, "model"));
    autofree char *model = name ? strdup(name) : NULL;
    const struct qemu qemu = {.binary = some_binary()};
    char key[DIGEST_HEX_SIZE], files[DIGEST_HEX_SIZE];
    const char *state = keep(parameters, script, key);
    bool good =
        qemu_probe_cpu(&qemu, parameters, state, &model, &offer, &devices, files, NULL, &err);
    check(good, &err);
    if (good) {
        MUST((!*files || digest_is_hex(files)) && (offer.host = strdup("a")) != NULL);
        free(fuzz_written(cpu_offer_to_json(&offer)));
        free(fuzz_written(device_offer_to_json(&devices)));
    }
    forget_kept(key);
}

static void start_memory(const struct probe_parameters *parameters, const json_t *script)
{
    struct error err = ERROR_INIT;
    const struct proof_arguments arguments = {.machine = (char *)parameters->machine,
                                              .accel = (char *)parameters->accel,
                                              .memory = (char *)"size=4G"};
    check(memory_check("qemu", &arguments, "qemu64", &err), &err);
}

static const struct {
    const char *name;
    void (*ask)(struct qmp *qmp, const json_t *script);
    void (*start)(const struct probe_parameters *parameters, const json_t *script);
} readers[] = {
    {"cpu", .ask = ask_cpu},           {"inventory", .ask = ask_inventory},
    {"offer", .ask = ask_offer},       {"events", .ask = ask_events},
    {"open", .start = start_open},     {"probe", .start = start_probe},
    {"memory", .start = start_memory},
};

static void run_script(const json_t *script)
{
    const json_t *greeting = json_object_get(script, "greeting");
    const json_t *replies = json_object_get(script, "replies");
    const char *name = json_string_value(json_object_get(script, "ask"));
    const char *machine = json_string_value(json_object_get(script, "machine"));
    const char *accel = json_string_value(json_object_get(script, "accel"));
    const struct probe_parameters parameters = {.machine = machine ? machine : "pc-q35-7.2",
                                                .accel = accel ? accel : "tcg"};
    for (size_t i = 0; name && i < sizeof(readers) / sizeof(readers[0]); i++) {
        if (strcmp(readers[i].name, name) != 0)
            continue;
        if (readers[i].start) {
            fake_qemu_set_session(greeting, replies);
            readers[i].start(&parameters, script);
            continue;
        }
        int fd;
        struct fake_qemu *qemu = fake_qemu_script(greeting, replies, &fd);
        autoqmp struct qmp *qmp = qmp_open(fd, deadline_in_ms(TALK_MS), NULL);
        if (qmp)
            readers[i].ask(qmp, script);
        qmp_close(STEAL(qmp));
        fake_qemu_free(qemu);
    }
}

static void say_bytes(const char *bytes, size_t size)
{
    static const char greeting[] = "{\"QMP\":{\"version\":{\"qemu\":{\"micro\":2,\"minor\":0,"
                                   "\"major\":10},\"package\":\"\"},\"capabilities\":[]}}\n"
                                   "{\"return\":{},\"id\":1}\n";
    autostrbuf struct strbuf text = {0};
    struct error err = ERROR_INIT;
    int fd;
    if (*bytes != 'g')
        strbuf_puts(&text, greeting);
    strbuf_add(&text, bytes + 1, size - 1);
    strbuf_puts(&text, "");
    struct fake_qemu *qemu = fake_qemu_new(text.data, text.length, &fd);
    autoqmp struct qmp *qmp = qmp_open(fd, deadline_in_ms(TALK_MS), &err);
    check(qmp, &err);
    if (qmp) {
        autojson json_t *reply = NULL;
        MUST(text_is_plain(qmp_package(qmp)) || !*qmp_package(qmp));
        MUST(qmp_version(qmp) <= 9999999);
        bool good = qmp_execute(qmp, "query-status", NULL, deadline_in_ms(TALK_MS),
                                STATUS_INCOMPATIBLE, &reply, &err);
        MUST(good ? reply != NULL : *err.message);
        ask_events(qmp, NULL);
    }
    qmp_close(STEAL(qmp));
    fake_qemu_free(qemu);
}

/* One that answers no more. */
static void be_late(const char *bytes, size_t size)
{
    struct error err = ERROR_INIT;
    bool closed;
    int pair[2];
    MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
    send(pair[0], bytes, size, MSG_NOSIGNAL | MSG_DONTWAIT);
    autoqmp struct qmp *qmp = qmp_open(pair[1], deadline_in_ms(LATE_MS), &err);
    check(qmp, &err);
    if (qmp) {
        qmp_execute(qmp, "query-status", NULL, deadline_in_ms(LATE_MS), STATUS_PROTOCOL, NULL,
                    &err);
        json_decref(qmp_next_event(qmp, deadline_in_ms(0), &closed));
        for (json_t *event; (event = qmp_next_event(qmp, deadline_in_ms(LATE_MS), &closed));)
            json_decref(event);
        json_decref(qmp_next_event(qmp, deadline_in_ms(0), &closed));
    }
    close(pair[0]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    autojson json_t *script = json_loadb((const char *)data, size, JSON_ALLOW_NUL, NULL);
    if (json_is_object(script))
        run_script(script);
    else if (size > 0 && data[0] == 't')
        be_late((const char *)data + 1, size - 1);
    else if (size > 0)
        say_bytes((const char *)data, size);
    return 0;
}
