/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What src/vm makes of QEMU's command lines for a proof, for tests/e2e/check-machine-options to
 * hold against the real thing:
 *   print-proof-arguments about KEY…                   of each -machine option: "KEY about", or
 *                                                      "KEY unknown"
 *   print-proof-arguments make CPU TYPE ACCEL QEMU ARGS…     as JSON
 *   print-proof-arguments digest CPU TYPE ACCEL QEMU ARGS…   of the guest CPU table with them
 *   print-proof-arguments raw CPU MACHINE ACCEL QEMU         the same with just these words
 *   print-proof-arguments memory CPU TYPE ACCEL QEMU ARGS…   the check of the memory
 * An error is one line, and its status the exit status.
 */
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/digest.h"
#include "base/json.h"
#include "guest/proof_run.h"
#include "vm/memory_check.h"

static void print_about(const char *key)
{
    static const char *const names[] = {
        [MACHINE_OPTION_CPU] = "CPU",       [MACHINE_OPTION_ELSEWHERE] = "ELSEWHERE",
        [MACHINE_OPTION_MEMORY] = "MEMORY", [MACHINE_OPTION_CONFIDENTIAL] = "CONFIDENTIAL",
        [MACHINE_OPTION_OBJECT] = "OBJECT", [MACHINE_OPTION_FILE] = "FILE",
        [MACHINE_OPTION_TABLES] = "TABLES", [MACHINE_OPTION_DEVICE] = "DEVICE",
        [MACHINE_OPTION_HOST] = "HOST",
    };
    bool known;
    enum machine_option_about about = machine_option_about(key, &known);
    printf("%s %s\n", key, known ? names[about] : "unknown");
}

static bool print_json(const struct proof_arguments *made, struct error *err)
{
    autojson json_t *json = proof_arguments_to_json(made);
    autofree char *text = json ? json_to_text(json) : NULL;
    return text ? puts(text) >= 0 : error_no_memory(err);
}

static bool print_digest(const struct guest_proof *proof, struct error *err)
{
    autoguesttable struct guest_table table = {0};
    char hex[DIGEST_HEX_SIZE];
    return guest_proof_run(proof, &table, err) && guest_table_digest(&table, hex, err) &&
           puts(hex) >= 0;
}

static bool make(const char *what, char **argv, int argc, struct error *err)
{
    autoarglist struct arglist list = {0};
    autoinvocation struct invocation invocation = {0};
    autoproofarguments struct proof_arguments made = {0};
    struct guest_proof proof = {
        .cpu = argv[0], .machine = argv[1], .accel = argv[2], .qemu = argv[3]};
    if (strcmp(what, "raw") == 0)
        return print_digest(&proof, err);
    if (!arglist_parse(&list, argc - 3, argv + 3, err) ||
        !invocation_read(&list, &invocation, err) ||
        !proof_arguments_make(&invocation, argv[1], argv[2], &made, err))
        return false;
    if (strcmp(what, "make") == 0)
        return print_json(&made, err);
    if (strcmp(what, "memory") == 0)
        return memory_check(proof.qemu, &made, proof.cpu, err);
    proof.machine = made.machine;
    proof.accel = made.accel;
    proof.smp = made.smp;
    proof.cpu_pm = made.cpu_pm;
    return print_digest(&proof, err);
}

int main(int argc, char **argv)
{
    struct error err = ERROR_INIT;
    if (argc >= 2 && strcmp(argv[1], "about") == 0) {
        for (int i = 2; i < argc; i++)
            print_about(argv[i]);
        return 0;
    }
    if (argc >= 6 && make(argv[1], argv + 2, argc - 2, &err))
        return 0;
    fprintf(stderr, "%s\n", argc >= 6 ? err.message : "print-proof-arguments: too few arguments");
    return argc >= 6 ? (int)err.status : STATUS_USAGE;
}
