/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "host/backends.h"

#include <dirent.h>
#include <errno.h>
#include <linux/virtio_ids.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "host/backend_ask.h"

#define VDPA "vhost-vdpa"

/* What is asked in any case. Opening a file may load its module. QEMU's tap and vhost=on do that
 * with the same files; vhost_vsock would take its place as the host's only vsock transport, so that
 * one is for the administrator to load. A file of vhost-scsi comes with its module. */
static const struct backend_question fixed[] = {
    {"vhost-net", "/dev/vhost-net", NULL},
    {"vhost-scsi", "/dev/vhost-scsi", NULL},
    {"vhost-vsock", "/dev/vhost-vsock", "/sys/class/misc/vhost-vsock"},
};
#define FIXED_COUNT (sizeof(fixed) / sizeof(fixed[0]))
static const struct backend_question last = {"tun", "/dev/net/tun", NULL};

/* The files of vhost-vdpa devices, sorted: for the same host the same answer. */
static bool list_vdpa(struct strlist *paths)
{
    DIR *folder = opendir("/dev");
    bool good = true;
    for (struct dirent *entry; good && folder && (entry = readdir(folder));)
        if (string_starts_with(entry->d_name, VDPA "-"))
            good = strlist_pushf(paths, "/dev/%s", entry->d_name);
    if (folder)
        closedir(folder);
    strlist_sort(paths);
    return good;
}

static bool is_absent(const struct backend_answer *answer)
{
    return answer->step == BACKEND_OPEN &&
           (answer->error == ENOENT || answer->error == ENODEV || answer->error == ENXIO);
}

/* Why there is no answer, for people. */
static char *describe(const struct backend_question *question, const struct backend_answer *answer,
                      int signal)
{
    const char *words = strerror(answer->error);
    switch (answer->step) {
    case BACKEND_NOT_ASKED:
        return signal ? string_format("%s: asking was ended by signal %d (%s)", question->path,
                                      signal, strsignal(signal))
                      : string_format("%s: no answer in %d s", question->path, BACKENDS_MS / 1000);
    case BACKEND_NOT_LOADED:
        return string_format("the module of %s is not loaded (modprobe vhost_vsock)",
                             question->path);
    case BACKEND_NAMESPACE:
        return string_format("no network namespace to try a tap in: %s", words);
    case BACKEND_TAP:
        return string_format("%s: no tap to try: %s", question->path, words);
    case BACKEND_QUESTION:
        return string_format("%s: a question is refused: %s", question->path, words);
    default:
        return string_format("%s: %s", question->path, words);
    }
}

static bool add_unknown(struct device_offer *offer, const char *backend, const char *why,
                        struct error *err)
{
    autofree char *plain = string_plain(why, BACKEND_WHY_MAX);
    return (plain && device_offer_add_backend(offer, backend, BACKEND_UNKNOWN, plain)) ||
           error_no_memory(err);
}

static bool add_known(struct device_offer *offer, const char *backend,
                      const struct backend_answer *answer, struct error *err)
{
    size_t count;
    const struct backend_feature *features = backend_features(&count);
    struct backend_offer *made = device_offer_add_backend(offer, backend, BACKEND_KNOWN, NULL);
    for (size_t i = 0; made && i < count && i < BACKEND_FEATURES_MAX; i++)
        if (answer->has[i] && !strlist_push(&made->features, features[i].name))
            made = NULL;
    if (made)
        strlist_sort(&made->features);
    return made || error_no_memory(err);
}

static bool add(struct device_offer *offer, const struct backend_question *question,
                const struct backend_answer *answer, int signal, struct error *err)
{
    if (answer->step == BACKEND_ANSWERED)
        return add_known(offer, question->backend, answer, err);
    if (is_absent(answer))
        return device_offer_add_backend(offer, question->backend, BACKEND_ABSENT, NULL) ||
               error_no_memory(err);
    autofree char *why = describe(question, answer, signal);
    return add_unknown(offer, question->backend, why, err);
}

/* All network devices of vhost-vdpa as one: QEMU may be given any of them, so what counts is what
 * they all have. One that does not answer (in use, it is busy) leaves that unknown. */
static bool add_vdpa(struct device_offer *offer, const struct backend_question *questions,
                     const struct backend_answer *answers, size_t count, int signal,
                     struct error *err)
{
    struct backend_answer all = {.step = BACKEND_OPEN, .error = ENOENT};
    for (size_t i = 0; i < count; i++) {
        const struct backend_answer *answer = &answers[i];
        if (is_absent(answer) ||
            (answer->step == BACKEND_ANSWERED && answer->kind != VIRTIO_ID_NET))
            continue;
        if (answer->step != BACKEND_ANSWERED)
            return add(offer, &questions[i], answer, signal, err);
        for (size_t k = 0; k < BACKEND_FEATURES_MAX; k++)
            all.has[k] = (all.step != BACKEND_ANSWERED || all.has[k]) && answer->has[k];
        all.step = BACKEND_ANSWERED;
    }
    struct backend_question question = {.backend = VDPA};
    return add(offer, &question, &all, signal, err);
}

/* Ask those that have a file, if any: the others are absent. */
static bool ask_all(const struct backend_question *questions, size_t count,
                    struct backend_answer *answers, int *signal, struct error *err)
{
    autofree struct backend_question *asked = calloc(count + 1, sizeof(*asked));
    autofree struct backend_answer *got = calloc(count + 1, sizeof(*got));
    autofree size_t *places = calloc(count + 1, sizeof(*places));
    size_t asked_count = 0;
    if (!asked || !got || !places)
        return error_no_memory(err);
    for (size_t i = 0; i < count; i++) {
        answers[i] = (struct backend_answer){.step = BACKEND_OPEN, .error = ENOENT};
        if (access(questions[i].path, F_OK) < 0 && errno == ENOENT)
            continue;
        places[asked_count] = i;
        asked[asked_count++] = questions[i];
    }
    if (asked_count > 0 &&
        !backend_ask(asked, asked_count, deadline_in_ms(BACKENDS_MS), got, signal, err))
        return false;
    for (size_t i = 0; i < asked_count; i++)
        answers[places[i]] = got[i];
    return true;
}

bool backends_examine(struct device_offer *offer, struct error *err)
{
    autostrlist struct strlist paths = {0};
    bool has_tap = device_offer_find_backend(offer, last.backend) != NULL;
    int signal = 0;
    if (!list_vdpa(&paths))
        return error_no_memory(err);
    size_t fore = FIXED_COUNT + paths.count, count = fore + !has_tap;
    autofree struct backend_question *questions = calloc(fore + 1, sizeof(*questions));
    autofree struct backend_answer *answers = calloc(fore + 1, sizeof(*answers));
    if (!questions || !answers)
        return error_no_memory(err);
    memcpy(questions, fixed, sizeof(fixed));
    for (size_t i = 0; i < paths.count; i++)
        questions[FIXED_COUNT + i] = (struct backend_question){VDPA, paths.items[i], NULL};
    questions[fore] = last;
    int64_t start = clock_now_ms();
    if (!ask_all(questions, count, answers, &signal, err))
        return false;
    log_debug("device backends are examined in %lld ms", (long long)(clock_now_ms() - start));
    for (size_t i = 0; i < FIXED_COUNT; i++)
        if (!add(offer, &questions[i], &answers[i], signal, err))
            return false;
    return add_vdpa(offer, questions + FIXED_COUNT, answers + FIXED_COUNT, paths.count, signal,
                    err) &&
           (has_tap || add(offer, &questions[fore], &answers[fore], signal, err));
}
