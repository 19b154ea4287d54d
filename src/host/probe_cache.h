/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What a QEMU answered when it was asked before: STATE/probes/KEY.json. An answer is used again
 * only when nothing has changed that it could depend on: the key (probe_key.h), every file that
 * QEMU was made of when it was asked, and the folders that these lie in. When in doubt, QEMU is
 * asked again: a wrapper script's answers are never kept. What damages an entry makes it none.
 *
 * What could still be untrue, and what happens then:
 *  - a library that a QEMU would load now, and did not, from a folder that no file of it lies in
 *    and that the key does not name (one of its own run path; glibc-hwcaps below a folder of
 *    LD_LIBRARY_PATH), or a file that was changed and whose times were put back with the clock;
 *  - a module that was overwritten in place and that QEMU did not load when it was asked;
 *  - under TCG, or where /dev/kvm cannot be asked directly, whatever QEMU reads of the host beyond
 *    kernel, CPUID and KVM's parameters; on a host whose CPUs differ, a CPU's answer for another;
 *  - whatever the user who owns the state folder writes there: it is that user's own QEMU.
 * A feature that is promised and not there makes the proof's QEMU refuse (-cpu has `enforce`), or,
 * where an earlier proof is used again, the real one: no guest runs without it. One that is there
 * and not promised stays off, for it is not in the -cpu. What a guest sees besides is compared by
 * the proof; its own key has this answer in it and the files of QEMU as they are now, so a proof
 * from before such a change is used again as well: `agreement check`, and the drift check before a
 * guest is taken over, always ask QEMU and prove anew.
 */
#ifndef QML_HOST_PROBE_CACHE_H
#define QML_HOST_PROBE_CACHE_H

#include <time.h>

#include "base/digest.h"
#include "base/json.h"
#include "base/strings.h"

/* Something asked of a QEMU. Start with {0}; empty, it is never found and never kept. */
struct probe_question {
    json_t *words; /* probe_key_words */
    char key[DIGEST_HEX_SIZE];
    struct timespec when; /* a file that changed since then may be another than QEMU loaded */
};

void probe_question_free(struct probe_question *question);
#define autoprobequestion __attribute__((cleanup(probe_question_free)))

/* A question of these words (used up; NULL: it stays empty), asked now. */
void probe_question_init(struct probe_question *question, json_t *words);

/* The answer that was kept, a new reference, and the files that QEMU was made of (into *out,
 * which is empty). NULL, when there is none that can be used, is no error: QEMU is asked, then. */
json_t *probe_cache_find(const char *state_folder, const struct probe_question *question,
                         struct strlist *out);

/* Keep an answer (used up; NULL for want of memory). files: what QEMU was made of
 * (qemu_files_list); nothing is kept when it is empty, when a file is not what this process sees
 * there, or has changed since shortly before the question. now: the same question's words, made
 * again (used up): what changed meanwhile is in doubt. That it is not kept is no error. */
void probe_cache_store(const char *state_folder, const struct probe_question *question,
                       const struct strlist *files, json_t *now, json_t *answer);

#endif
