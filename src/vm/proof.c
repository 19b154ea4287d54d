/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "vm/proof.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "vm/keyval.h"
#include "vm/proof_cache.h"

#define TIMEOUT_VCPU_MS 100

void proof_free(struct proof *proof)
{
    free(proof->cpu);
    guest_run_free(proof->run);
    memory_run_free(proof->memory);
    guest_table_free(&proof->found);
    *proof = (struct proof){0};
}

static bool make_key(struct proof *proof, const char *host, struct error *err)
{
    const struct proof_arguments *arguments = proof->arguments;
    autostrlist struct strlist words = {0};
    if (!strlist_push(&words, proof->qemu) || !strlist_push(&words, proof->cpu) ||
        !strlist_push(&words, arguments->machine) || !strlist_push(&words, arguments->accel) ||
        !strlist_push(&words, arguments->smp ? arguments->smp : "") ||
        !strlist_push(&words, arguments->cpu_pm ? "cpu-pm=on" : "") ||
        !strlist_push(&words, arguments->memory ? arguments->memory : "") ||
        !strlist_push(&words, arguments->memory_options ? arguments->memory_options : ""))
        return error_no_memory(err);
    return proof_cache_key(host, &words, proof->key, err);
}

/* Under TCG each vCPU takes QEMU some 10 ms to make, more on a busy host. */
int proof_timeout_ms(const struct proof_arguments *arguments)
{
    autokeyval struct keyval smp = {0};
    uint64_t cpus = 1;
    const char *text =
        arguments->smp && keyval_parse(&smp, arguments->smp, KEYVAL_DICT, "cpus", NULL)
            ? keyval_get(&smp, "cpus")
            : NULL;
    if (text)
        parse_number(text, 1, 4096, &cpus);
    return GUEST_PROOF_TIMEOUT_MS + (int)cpus * TIMEOUT_VCPU_MS;
}

bool proof_start(struct proof *out, const struct paths *paths, const struct qemu *qemu,
                 const struct proof_arguments *arguments, const char *host, const char *cpu,
                 const struct proof_limits *limits, struct error *err)
{
    autoproof struct proof proof = {
        .paths = paths, .qemu = qemu->binary.path, .arguments = arguments, .cpu = strdup(cpu)};
    if (!proof.cpu)
        return error_no_memory(err);
    if (*host && !make_key(&proof, host, err))
        return false;
    if (!*proof.key || !proof_cache_find(paths->state, proof.key, &proof.found)) {
        struct guest_proof how = {.qemu = proof.qemu,
                                  .cpu = cpu,
                                  .machine = arguments->machine,
                                  .accel = arguments->accel,
                                  .smp = arguments->smp,
                                  .cpu_pm = arguments->cpu_pm,
                                  .timeout_ms = limits && limits->timeout_ms > 0
                                                    ? limits->timeout_ms
                                                    : proof_timeout_ms(arguments),
                                  .interrupted = limits ? limits->interrupted : NULL};
        if (!(proof.run = guest_proof_start(&how, err)))
            return error_wrap(err, "the proof");
    } else
        log_debug("proven before, under the same circumstances: %s", proof.key);
    proof_free(out);
    *out = proof;
    proof = (struct proof){0};
    return true;
}

bool proof_is_under_way(const struct proof *proof)
{
    return (proof->run && !proof->is_finished) || proof->found.count > 0;
}

static bool finish(struct proof *proof, struct guest_table *table, struct strlist *refused,
                   struct error *err)
{
    struct error memory = ERROR_INIT;
    /* While the guest runs; and not before those who wait for us were told to begin theirs. */
    bool fits =
        memory_check_start(&proof->memory, proof->qemu, proof->arguments, proof->cpu, &memory) &&
        memory_check_finish(proof->memory, &memory);
    if (!guest_proof_finish(proof->run, table, refused, err))
        return error_wrap(err, "the proof");
    if (!fits) {
        guest_table_free(table);
        return error_set(err, memory.status, "%s", memory.message);
    }
    if (*proof->key)
        proof_cache_store(proof->paths->state, proof->key, table);
    return true;
}

bool proof_finish(struct proof *proof, struct guest_table *table, struct strlist *refused,
                  struct error *err)
{
    if (proof->found.count > 0) {
        *table = proof->found;
        proof->found = (struct guest_table){0};
        return true;
    }
    proof->is_finished = finish(proof, table, refused, err);
    if (!proof->is_finished)
        proof_free(proof);
    return proof->is_finished;
}
