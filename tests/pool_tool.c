/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The pool by hand, for tests/e2e/test_pool.py, with the configuration of a host:
 *   pool-tool HOME publish          until SIGTERM
 *   pool-tool HOME members          NAME ADDRESS PORT, one a line; notes on standard error
 *   pool-tool HOME put VM           standard input is the document; its member "issued" counts
 *   pool-tool HOME find VM
 *   pool-tool HOME sign TYPE        standard input is a payload
 */
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "base/log.h"
#include "base/paths.h"
#include "peer/envelope.h"
#include "pool/pool.h"
#include "pool/publisher.h"

static volatile sig_atomic_t terminated;

static void on_signal(int number)
{
    terminated = number;
}

struct tool {
    struct paths paths;
    struct config config;
    struct trust trust;
    struct identity *identity;
};

static bool publish(struct tool *tool, struct error *err)
{
    autostrlist struct strlist accels = {0}, qemu = {0};
    if (!strlist_push(&accels, "tcg") || !strlist_push(&qemu, "7.2.22"))
        return error_no_memory(err);
    const struct publisher_setup setup = {.config = &tool->config,
                                          .identity = tool->identity,
                                          .port = 1,
                                          .accels = &accels,
                                          .qemu = &qemu};
    struct pool_publisher publisher = POOL_PUBLISHER_INIT;
    signal(SIGTERM, on_signal);
    if (!pool_publisher_start(&setup, &publisher, err))
        return false;
    printf("%ld\n", (long)publisher.pid);
    fflush(stdout);
    while (!terminated)
        usleep(20000);
    pool_publisher_stop(&publisher);
    return true;
}

static bool members(struct pool *pool, struct error *err)
{
    automembers struct pool_members members = {0};
    if (!pool_members(pool, deadline_in_ms(10000), &members, err))
        return false;
    for (size_t i = 0; i < members.notes.count; i++)
        log_warning("%s", members.notes.items[i]);
    for (size_t i = 0; i < members.count; i++)
        printf("%s %s %u\n", members.items[i].entry->name, members.items[i].address,
               members.items[i].port);
    return true;
}

static bool judge(void *context, json_t *document, int64_t *issued)
{
    *issued = json_integer_value(json_object_get(document, "issued"));
    return *issued > 0;
}

static json_t *read_input(struct error *err)
{
    static char text[65536];
    return json_parse_strict(text, fread(text, 1, sizeof(text), stdin), sizeof(text), err);
}

static bool run(struct tool *tool, int argc, char **argv, struct error *err)
{
    const char *command = argv[2];
    autojson json_t *input = NULL;
    if (argc < 3 || !paths_init(&tool->paths, argv[1], err) ||
        !config_load(tool->paths.config, NULL, &tool->config, err) ||
        !trust_load(tool->paths.config, &tool->trust, err) ||
        !(tool->identity = identity_load(tool->paths.config, err)))
        return false;
    const struct pool_setup setup = {.config = &tool->config,
                                     .identity = tool->identity,
                                     .trust = &tool->trust,
                                     .state_folder = tool->paths.state};
    if (strcmp(command, "publish") == 0)
        return publish(tool, err);
    if (strcmp(command, "sign") == 0 || strcmp(command, "put") == 0)
        if (!(input = read_input(err)))
            return false;
    if (strcmp(command, "sign") == 0) {
        autofree char *text = NULL;
        return envelope_sign(tool->identity, argv[3], input, &text, err) && puts(text) >= 0;
    }
    autopool struct pool *pool = pool_open(&setup, err);
    if (!pool)
        return false;
    if (strcmp(command, "members") == 0)
        return members(pool, err);
    if (strcmp(command, "put") == 0)
        return pool_put_agreement(pool, argv[3], input,
                                  json_integer_value(json_object_get(input, "issued")),
                                  (struct pool_judge){judge, NULL}, deadline_in_ms(10000), err);
    if (!pool_find_agreement(pool, argv[3], deadline_in_ms(10000), &input, err))
        return false;
    autofree char *text = input ? json_to_text(input) : strdup("none");
    return puts(text) >= 0;
}

int main(int argc, char **argv)
{
    struct error err = ERROR_INIT;
    struct tool tool = {.identity = NULL};
    bool good = run(&tool, argc, argv, &err);
    if (!good)
        log_error("%s", err.message);
    identity_free(tool.identity);
    trust_free(&tool.trust);
    config_free(&tool.config);
    paths_free(&tool.paths);
    return good ? 0 : err.status;
}
