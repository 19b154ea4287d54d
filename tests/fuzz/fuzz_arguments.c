/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * QEMU's command line, a word a line: what is read can be written again word for word, and with
 * the agreed CPU and machine type in it is understood as exactly those. What is kept of it, and
 * what a person keeps of it, comes back word for word; a guest finds the same in it as in itself.
 * Behind a first line "#!" it is the text of a file with a command line in it.
 */
#include "fuzz.h"
#include "vm/cpu_override.h"
#include "vm/args_file.h"
#include "vm/argv_json.h"
#include "vm/command_line.h"
#include "vm/device_use.h"
#include "vm/invocation.h"
#include "vm/peer_arguments.h"
#include "vm/proof_arguments.h"
#include "vm/secrets.h"
#include "vm/visible.h"

#define WORDS_MAX 64

static void check_rewritten(const struct arglist *list, const char *accel)
{
    autoarglist struct arglist rewritten = {0};
    autoinvocation struct invocation invocation = {0};
    struct error err = ERROR_INIT;
    if (!invocation_rewrite(list, "qemu64,vendor=GenuineIntel", "pc-q35-7.2", accel, &rewritten,
                            &err))
        return;
    if (!invocation_read(&rewritten, &invocation, &err))
        fprintf(stderr, "%s\n", err.message);
    MUST(*err.message == '\0');
    if (invocation.is_query)
        return;
    MUST(invocation.cpu_count == 1);
    MUST(strcmp(invocation.cpu, "qemu64,vendor=GenuineIntel") == 0);
    MUST(strcmp(invocation.machine_type, "pc-q35-7.2") == 0);
    MUST(invocation.accels.count == 1 && strcmp(invocation.accels.items[0], accel) == 0);
}

static void check_same(const struct strlist *a, const struct strlist *b)
{
    MUST(a->count == b->count);
    for (size_t i = 0; i < a->count; i++)
        MUST(strcmp(a->items[i], b->items[i]) == 0);
}

/* As JSON, and as a line that is quoted. */
static void check_kept(const struct strlist *argv)
{
    autostrlist struct strlist back = {0}, words = {0};
    autojson json_t *json = argv_to_json(argv);
    autofree char *line = command_line_quote(argv);
    MUST(json && line);
    if (argv_fits(argv)) {
        MUST(argv_from_json(json, &back, NULL));
        check_same(argv, &back);
    }
    MUST(args_parse("line", line, &words, NULL));
    check_same(argv, &words);
}

static void check_visible(const struct arglist *list)
{
    autostrlist struct strlist left_out = {0}, argv = {0};
    autoarglist struct arglist told = {0}, again = {0};
    autovisiblelist struct visible_list own = {0}, back = {0};
    autovisiblefound struct visible_found found = {0};
    if (visible_list_read(list, &own, NULL)) {
        autojson json_t *json = visible_to_json(&own);
        MUST(json);
        if (visible_from_json(json, "own", &back, NULL))
            MUST(visible_compare(&own, "a", &back, "b", NULL, &found, NULL) &&
                 found.differences.count == 0);
    }
    MUST(arglist_without_secrets(list, &told, &left_out, NULL));
    MUST(arglist_render(&told, &argv, NULL));
    MUST(arglist_parse(&again, (int)argv.count, argv.items, NULL));
}

/* What goes along into the proof survives JSON; of it, a peer that has no command line of its own
 * takes what it knows. */
static void check_proof(const struct invocation *invocation, const char *accel)
{
    autoproofarguments struct proof_arguments made = {0}, back = {0}, taken = {0};
    struct error err = ERROR_INIT;
    if (strcmp(accel, "kvm") != 0 && strcmp(accel, "tcg") != 0)
        return; /* others are refused before */
    if (!proof_arguments_make(invocation, "pc-q35-7.2", accel, &made, &err)) {
        MUST(*err.message);
        return;
    }
    autofree char *text = fuzz_written(proof_arguments_to_json(&made));
    autojson json_t *json = fuzz_reread(text), *told = peer_arguments_make(&made);
    MUST(proof_arguments_from_json(json, &back, NULL));
    autofree char *again = fuzz_written(proof_arguments_to_json(&back));
    MUST(strcmp(text, again) == 0);
    if (told)
        peer_arguments_take(told, "pc-q35-7.2", accel, made.cpu_pm, &taken, NULL);
}

static void check_devices(const struct arglist *list)
{
    autostrlist struct strlist backends = {0};
    struct error err = ERROR_INIT;
    if (!device_use_read(list, &backends, &err))
        MUST(*err.message && backends.count == 0);
}

static void check_file(const char *text)
{
    autostrlist struct strlist words = {0}, again = {0};
    struct error err = ERROR_INIT;
    if (!args_parse("file", text, &words, &err)) {
        MUST(err.status == STATUS_CONFIG && *err.message);
        return;
    }
    autofree char *line = command_line_quote(&words);
    MUST(line && args_parse("line", line, &again, NULL));
    check_same(&words, &again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    autofree char *text = fuzz_text(data, size);
    if (strncmp(text, "#!\n", 3) == 0) {
        check_file(text + 3);
        return 0;
    }
    char program[] = "qemu-system-x86_64", *words[WORDS_MAX + 1] = {program}, *left = text;
    int count = 1;
    for (char *word; count < WORDS_MAX && (word = strsep(&left, "\n"));)
        words[count++] = word;
    autoarglist struct arglist list = {0};
    autostrlist struct strlist argv = {0}, overrides = {0};
    autoinvocation struct invocation invocation = {0};
    if (!arglist_parse(&list, count, words, NULL))
        return 0;
    MUST(arglist_render(&list, &argv, NULL));
    MUST(argv.count == (size_t)count);
    for (int i = 0; i < count; i++)
        MUST(strcmp(argv.items[i], words[i]) == 0);
    check_kept(&argv);
    check_visible(&list);
    check_devices(&list);
    MUST(cpu_overrides_find(&list, &overrides, NULL));
    if (!invocation_read(&list, &invocation, NULL) || invocation.is_query)
        return 0;
    MUST(invocation.accels.count > 0);
    check_rewritten(&list, invocation.accels.items[0]);
    check_proof(&invocation, invocation.accels.items[0]);
    return 0;
}
