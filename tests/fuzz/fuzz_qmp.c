/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What a QEMU answers. Bytes that are no object are said as they are: after a first byte 'g' they
 * are all that is said, greeting included, after 't' as well, but it does not hang up and soon it
 * is too late; after any other they follow a good greeting. An object is a script: "replies" (an
 * array: answers and events in their order), "greeting", which reader takes them ("ask": a name in
 * the table below), and what that has to know: "machine", "accel", "model".
 */
#include <sys/socket.h>
#include <unistd.h>

#include "fake_qemu.h"
#include "host/qemu.h"
#include "host/qemu_devices.h"
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

static void start_open(const struct probe_parameters *parameters, const json_t *script)
{
    struct error err = ERROR_INIT;
    autoqemu struct qemu qemu = {0};
    bool good = qemu_open(SOME_PROGRAM, &qemu, &err);
    check(good, &err);
    MUST(!good || (*qemu.version && qemu.package));
}

static void start_probe(const struct probe_parameters *parameters, const json_t *script)
{
    struct error err = ERROR_INIT;
    autocpuoffer struct cpu_offer offer = {0};
    autodeviceoffer struct device_offer devices = {0};
    const char *name = json_string_value(json_object_get(script, "model"));
    autofree char *model = name ? strdup(name) : NULL;
    const struct qemu qemu = {.binary = {.path = (char[]){SOME_PROGRAM}}};
    bool good = qemu_probe_cpu(&qemu, parameters, NULL, &model, &offer, &devices, NULL, NULL, &err);
    check(good, &err);
    if (good) {
        MUST((offer.host = strdup("a")) != NULL);
        free(fuzz_written(cpu_offer_to_json(&offer)));
        free(fuzz_written(device_offer_to_json(&devices)));
    }
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
