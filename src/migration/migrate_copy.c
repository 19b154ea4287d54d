/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Preparing both sides, and following the copy until the guest stands still for the switchover.
 */
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "migration/sequence.h"
#include "vm/command_line.h"

#define ALMOST_BYTES ((int64_t)32 << 20) /* so much left: the end may be near */
#define EXPLAIN_MS 2000
#define PASSES_BEFORE_POSTCOPY 2 /* the first ends when the counter becomes 2 */

bool migration_note(struct migration *m, const struct error *why)
{
    if (m->why.status == STATUS_OK)
        m->why = *why;
    return false;
}

static bool note_text(struct migration *m, const char *text)
{
    struct error why = ERROR_INIT;
    error_set(&why, STATUS_MIGRATION, "%s", text);
    return migration_note(m, &why);
}

bool migration_command(struct migration *m, const char *command, json_t *arguments,
                       struct error *err)
{
    return qmp_execute(m->qmp, command, arguments, deadline_in_ms(COMMAND_MS), STATUS_MIGRATION,
                       NULL, err);
}

void migration_report(struct migration *m)
{
    struct progress_sample *sample = &m->look.sample;
    sample->status = m->look.status;
    if (m->options->report && sample->total > 0)
        m->options->report(m->options->context, sample);
}

void migration_make_room(const struct migration *m)
{
    if (m->options->report)
        m->options->report(m->options->context, NULL);
}

static json_t *make_arguments(struct migration *m, bool resume, uint16_t direct_port,
                              struct error *err)
{
    const struct migration_side *side = &m->settings.ends[MIGRATION_SOURCE];
    autofree char *path = NULL;
    autojson json_t *arguments = NULL;
    migration_streams_free(STEAL(m->streams));
    if (direct_port > 0) {
        arguments = migration_arguments(side, m->record->migration.host, direct_port);
    } else {
        path = vm_socket_path(m->paths, m->record->vm, "migration", err);
        int channels = 1 + m->options->wishes.multifd;
        if (!path ||
            !(m->streams = migration_streams_new(path, channels, &m->client, &m->key, err)))
            return NULL;
        arguments = migration_arguments(side, path, 0);
    }
    if (!arguments || (resume && json_object_set_new(arguments, "resume", json_true()) < 0)) {
        error_no_memory(err);
        return NULL;
    }
    return STEAL(arguments);
}

bool migration_send(struct migration *m, bool resume, uint16_t direct_port, struct error *err)
{
    json_t *arguments = make_arguments(m, resume, direct_port, err);
    return arguments && migration_command(m, "migrate", arguments, err);
}

bool migration_begin(struct migration *m, const struct migration_offer *offer)
{
    struct error err = ERROR_INIT;
    struct guardian_status status;
    uint16_t port = 0;
    struct order_prepare prepare = {.offer = *offer, .wishes = m->options->wishes};
    m->prepared = true;
    if (!guardian_link_prepare(m->link, &prepare, &status, &port, &err) ||
        !guardian_status_check(&status, m->peer->name, &err))
        return migration_note(m, &err);
    if (m->options->wishes.direct && port == 0)
        return note_text(m, "the guardian names no port for --direct");
    m->applied = true;
    if (!migration_side_apply(m->qmp, &m->settings.ends[MIGRATION_SOURCE], &err) ||
        !guardian_link_start(m->link, &err) ||
        !migration_send(m, false, m->options->wishes.direct ? port : 0, &err))
        return migration_note(m, &err);
    return true;
}

/* Why it fails: what the guardian knows, what became of the streams, QEMU's own words. */
static bool explain(struct migration *m)
{
    struct error stream = ERROR_INIT, there = ERROR_INIT;
    struct guardian_status status;
    const struct link_renewal question = {.limit_ms = EXPLAIN_MS};
    bool cut = m->streams && migration_streams_failed(m->streams, &stream);
    bool told = guardian_link_renew(m->link, &question, &status, NULL) &&
                !guardian_status_check(&status, m->peer->name, &there);
    if (cut && told)
        error_set(&there, STATUS_MIGRATION, "%s (%s)", there.message, stream.message);
    if (told)
        return migration_note(m, &there);
    if (cut)
        return migration_note(m, &stream);
    if (!guardian_link_check(m->link, &there))
        return migration_note(m, &there);
    return note_text(m, *m->look.reason                            ? m->look.reason
                        : strcmp(m->look.status, "cancelled") == 0 ? "it was cancelled"
                                                                   : "QEMU does not say why");
}

static bool is_interrupted(const struct migration *m)
{
    return m->options->interrupted && *m->options->interrupted;
}

/* All is well on the way. */
static bool may_go_on(struct migration *m)
{
    struct error err = ERROR_INIT;
    if (m->streams && migration_streams_failed(m->streams, &err))
        return explain(m);
    return guardian_link_check(m->link, &err) || migration_note(m, &err);
}

/* What people and the guest do meanwhile counts: stopped or continued, it arrives so; and one that
 * has come to its end stays where it is. */
static bool watch_guest(struct migration *m)
{
    struct error err = ERROR_INIT;
    char state[RUN_STATE_SIZE];
    bool *run = &m->record->migration.run;
    if (!run_state_read(m->qmp, state, &err))
        return migration_note(m, &err);
    m->over = m->over || run_state_is_over(state);
    if (m->over) {
        error_set(&err, STATUS_MIGRATION, "the guest has come to an end on the way");
        return migration_note(m, &err);
    }
    bool running = strcmp(state, "running") == 0;
    bool stopped = strcmp(state, "paused") == 0 || strcmp(state, "prelaunch") == 0;
    if (*run == running || (!running && !stopped))
        return true;
    *run = running;
    log_info("%s was %s meanwhile", m->record->vm, running ? "continued" : "stopped");
    return migration_store(m, PLACE_MOVING, &err) || migration_note(m, &err);
}

/* The rest is fetched when it is needed, after the guest is over there. A guest that is almost all
 * there is better served without. */
static bool begin_postcopy(struct migration *m)
{
    struct error err = ERROR_INIT;
    if (!m->record->migration.postcopy || m->postcopy_begun ||
        m->look.passes < PASSES_BEFORE_POSTCOPY)
        return true;
    m->postcopy_begun = true;
    return migration_command(m, "migrate-start-postcopy", NULL, &err) || migration_note(m, &err);
}

/* In postcopy the guest runs over there as soon as its QEMU is ready for that: the guardian is told
 * before. That it was is taken back when it does not come to migrate-continue, since a guest whose
 * devices' state never left cannot run there. */
static bool tell_postcopy(struct migration *m)
{
    struct error err = ERROR_INIT;
    struct guardian_status status;
    struct order_resume resume = {.run = m->record->migration.run, .postcopy = true};
    if (!migration_tell(m))
        return false;
    if (!guardian_link_resume(m->link, &resume, LINK_URGENT_MS, &status, NULL, &err))
        return migration_note(m, &err);
    if (status.lease != LEASE_TOLD && status.lease != LEASE_RUN)
        return note_text(m, "the guardian does not take it any more");
    return true;
}

/* The guest stands still, and QEMU waits: the last moment to say no. The guardian's `stop` disarms
 * a `cont` that somebody else sent to its QEMU, which would let it run the guest by itself. */
static bool switch_over(struct migration *m)
{
    struct error err = ERROR_INIT;
    struct guardian_status status;
    const struct link_renewal last = {.grant = true, .disarm = true, .limit_ms = LINK_URGENT_MS};
    m->stopped_at = clock_now_ms();
    m->over = migration_wait(m->qmp, 0) || m->over;
    if (m->over)
        return note_text(m, "the guest has come to an end on the way");
    if (is_interrupted(m))
        return note_text(m, "interrupted");
    if (!may_go_on(m))
        return false;
    if (!guardian_link_renew(m->link, &last, &status, &err) ||
        !guardian_status_check(&status, m->peer->name, &err))
        return migration_note(m, &err);
    if (is_interrupted(m))
        return note_text(m, "interrupted");
    if (m->postcopy_begun && !tell_postcopy(m))
        return false;
    m->continued = true;
    return migration_command(m, "migrate-continue", json_pack("{s:s}", "state", "pre-switchover"),
                             &err) ||
           migration_note(m, &err);
}

static int64_t pause_length(const struct migration *m, enum migration_stage stage)
{
    int64_t left = m->look.sample.remaining;
    return stage != STAGE_COPYING || (left >= 0 && left < ALMOST_BYTES) ? POLL_QUICK_MS : POLL_MS;
}

enum copy_end migration_follow(struct migration *m)
{
    struct error err = ERROR_INIT;
    for (;;) {
        if (!migration_look(m->qmp, &m->look, &err)) {
            migration_note(m, &err);
            return END_QEMU_LOST;
        }
        migration_report(m);
        enum migration_stage stage = migration_stage(&m->look);
        switch (stage) {
        case STAGE_COPYING:
            if (is_interrupted(m))
                note_text(m, "interrupted");
            if (is_interrupted(m) || !may_go_on(m) || !watch_guest(m) || !begin_postcopy(m))
                return END_FAILED;
            break;
        case STAGE_PAUSED:
            if (!m->continued && !switch_over(m))
                return END_FAILED;
            break;
        case STAGE_SWITCHING:
            if (!may_go_on(m))
                return END_FAILED;
            break;
        case STAGE_COMPLETED:
            return END_COMPLETED;
        case STAGE_POSTCOPY:
        case STAGE_BROKEN:
            return END_POSTCOPY;
        default:
            explain(m);
            return END_FAILED;
        }
        m->over = migration_wait(m->qmp, pause_length(m, stage)) || m->over;
    }
}
