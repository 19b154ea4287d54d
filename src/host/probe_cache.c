/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "host/probe_cache.h"

#include <string.h>

#include "base/cache.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "host/qemu_files.h"

#define KIND "probes"
#define ENTRY_SIZE_MAX ((size_t)1 << 20)
/* Some file systems count whole seconds, FAT two of them: a file that changed that shortly before
 * can change again and look the same. */
#define FRESH_S 2

void probe_question_free(struct probe_question *question)
{
    json_decref(question->words);
    *question = (struct probe_question){0};
}

void probe_question_init(struct probe_question *question, json_t *words)
{
    *question = (struct probe_question){.words = words};
    autofree char *text = words ? json_to_text(words) : NULL;
    if (!text || !digest_hex(text, strlen(text), question->key, NULL) ||
        clock_gettime(CLOCK_REALTIME, &question->when) < 0)
        probe_question_free(question);
    question->when.tv_sec -= FRESH_S;
}

static bool any_text(const char *text)
{
    return *text != '\0';
}

/* What an entry holds, if it is one for this question. */
static json_t *open_entry(json_t *entry, const struct probe_question *question,
                          struct strlist *files, struct strlist *folders, struct error *err)
{
    json_t *words, *its_files, *its_folders, *answer;
    if (!json_take(entry, err, KIND, "{s:o, s:o, s:o, s:o}", "asked", &words, "files", &its_files,
                   "folders", &its_folders, "answer", &answer) ||
        !json_take_names(its_files, "files", any_text, files, err) ||
        !json_take_names(its_folders, "folders", any_text, folders, err))
        return NULL;
    if (!json_equal(words, question->words) || files->count == 0) {
        error_set(err, STATUS_DATA, "it is about something else");
        return NULL;
    }
    if (!qemu_files_are_unchanged(files, NULL) || !qemu_files_are_unchanged(folders, NULL)) {
        error_set(err, STATUS_DATA, "QEMU's files have changed");
        return NULL;
    }
    return answer;
}

json_t *probe_cache_find(const char *state_folder, const struct probe_question *question,
                         struct strlist *out)
{
    struct error err = ERROR_INIT;
    autostrlist struct strlist files = {0}, folders = {0};
    autojson json_t *entry =
        question->words ? cache_read(state_folder, KIND, question->key, ENTRY_SIZE_MAX) : NULL;
    json_t *answer = entry ? open_entry(entry, question, &files, &folders, &err) : NULL;
    if (!answer) {
        if (entry)
            log_debug("QEMU is examined again: %s: %s", question->key, err.message);
        return NULL;
    }
    *out = files;
    files = (struct strlist){0};
    return json_incref(answer);
}

void probe_cache_store(const char *state_folder, const struct probe_question *question,
                       const struct strlist *files, json_t *now, json_t *answer)
{
    autojson json_t *still = now, *its_answer = answer;
    autostrlist struct strlist folders = {0};
    if (!question->words || !still || !its_answer || files->count == 0)
        return;
    if (!json_equal(question->words, still) || !qemu_files_folders(files, &folders) ||
        !qemu_files_are_unchanged(files, &question->when) ||
        !qemu_files_are_unchanged(&folders, &question->when)) {
        log_debug("QEMU's answer is not kept: something has just changed");
        return;
    }
    autojson json_t *entry =
        json_pack("{s:O, s:o, s:o, s:O}", "asked", question->words, "files", json_from_names(files),
                  "folders", json_from_names(&folders), "answer", its_answer);
    if (entry)
        cache_write(state_folder, KIND, question->key, entry);
}
