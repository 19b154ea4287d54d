/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "migration/settings.h"

#include <string.h>

#include "base/cleanup.h"

#define CHANNELS_MAX 63 /* multifd-channels; with the main one as many as a relay group carries */
#define DOWNTIME_MAX_MS 2000000 /* QEMU's MAX_MIGRATE_DOWNTIME */

/* How a capability is decided. All that stand here are off unless the rule says otherwise. */
enum rule {
    RULE_OFF,      /* of no use here, or works against what we do */
    RULE_BOTH,     /* on at both sides; without it there is no migration */
    RULE_EACH,     /* on wherever it is there */
    RULE_SOURCE,   /* on at the source; without it there is no migration */
    RULE_MULTIFD,  /* on at both sides if wished */
    RULE_POSTCOPY, /* on at both sides if wished */
    RULE_CONVERGE, /* on at the source if wished; without it the wish is only a wish */
    RULE_SAME,     /* on when the user has it on at both sides */
    RULE_AGREED,   /* as the user has it, which must be the same at both sides */
};

/* QEMU 7.2 to 10.2, qapi/migration.json. What is not here is newer: as it is if both have it alike,
 * else off. */
static const struct {
    const char *name;
    enum rule rule;
} rules[] = {
    {"auto-converge", RULE_CONVERGE},
    {"background-snapshot", RULE_OFF},
    {"block", RULE_OFF},
    {"compress", RULE_OFF},
    {"dirty-bitmaps", RULE_SAME},
    {"dirty-limit", RULE_OFF},
    {"events", RULE_EACH},
    /* With it a destination finds out that it cannot lock its disks only when it is to run. */
    {"late-block-activate", RULE_OFF},
    {"mapped-ram", RULE_OFF},
    {"multifd", RULE_MULTIFD},
    {"pause-before-switchover", RULE_SOURCE},
    {"postcopy-blocktime", RULE_OFF},
    {"postcopy-preempt", RULE_OFF},
    {"postcopy-ram", RULE_POSTCOPY},
    {"rdma-pin-all", RULE_OFF},
    {"release-ram", RULE_OFF},
    /* Without it the source says "completed" to a destination that failed to load. */
    {"return-path", RULE_BOTH},
    {"switchover-ack", RULE_SAME},
    {"validate-uuid", RULE_SAME},
    {"x-colo", RULE_OFF},
    /* Memory that both map from one file must not be written by the migration too. */
    {"x-ignore-shared", RULE_AGREED},
    {"xbzrle", RULE_OFF},
    {"zero-blocks", RULE_OFF},
    {"zero-copy-send", RULE_OFF},
};
#define RULES (sizeof(rules) / sizeof(rules[0]))

/* One decision, with what it is made of and what it makes. */
struct decision {
    const struct migration_offer *offers;
    const char *const *names;
    const struct migration_wishes *wishes;
    struct migration_settings *settings;
    struct error *err;
};

static void side_free(struct migration_side *side)
{
    json_decref(side->capabilities);
    json_decref(side->parameters);
    json_decref(side->undo_capabilities);
    json_decref(side->undo_parameters);
}

void migration_settings_free(struct migration_settings *settings)
{
    for (int end = 0; end < MIGRATION_ENDS; end++)
        side_free(&settings->ends[end]);
    strlist_free(&settings->notes);
    *settings = (struct migration_settings){0};
}

static const json_t *capability_of(const struct decision *d, int end, const char *name)
{
    return json_object_get(d->offers[end].capabilities, name);
}

static bool add_capability(json_t *arguments, const char *name, bool on)
{
    return json_array_append_new(json_object_get(arguments, "capabilities"),
                                 json_pack("{s:s, s:b}", "capability", name, "state", on)) == 0;
}

/* Set a capability on one side, if that has it; was_on becomes a note when it may not stay. */
static bool set_capability(struct decision *d, int end, const char *name, bool on)
{
    struct migration_side *side = &d->settings->ends[end];
    const json_t *now = capability_of(d, end, name);
    if (!now)
        return true;
    if (json_is_true(now) && !on && strcmp(name, "pause-before-switchover") != 0 &&
        !strlist_pushf(&d->settings->notes, "%s: %s was on, and is off for this migration",
                       d->names[end], name))
        return error_no_memory(d->err);
    return (add_capability(side->capabilities, name, on) &&
            add_capability(side->undo_capabilities, name, json_is_true(now))) ||
           error_no_memory(d->err);
}

/* Both sides must have it. */
static bool need(struct decision *d, const char *name, const char *option, bool destination_too)
{
    for (int end = 0; end < (destination_too ? MIGRATION_ENDS : MIGRATION_DESTINATION); end++)
        if (!capability_of(d, end, name))
            return option ? error_set(d->err, STATUS_INCOMPATIBLE,
                                      "%s: the QEMU on %s has no %s: migrate without it", option,
                                      d->names[end], name)
                          : error_set(d->err, STATUS_INCOMPATIBLE,
                                      "the QEMU on %s has no %s, without which a guest cannot be "
                                      "moved safely: a newer QEMU is needed there",
                                      d->names[end], name);
    return true;
}

static bool set_both(struct decision *d, const char *name, bool source, bool destination)
{
    return set_capability(d, MIGRATION_SOURCE, name, source) &&
           set_capability(d, MIGRATION_DESTINATION, name, destination);
}

static bool decide_capability(struct decision *d, const char *name, enum rule rule)
{
    bool source = json_is_true(capability_of(d, MIGRATION_SOURCE, name));
    bool destination = json_is_true(capability_of(d, MIGRATION_DESTINATION, name));
    bool multifd = d->wishes->multifd > 0;
    switch (rule) {
    case RULE_OFF:
        break;
    case RULE_BOTH:
        return need(d, name, NULL, true) && set_both(d, name, true, true);
    case RULE_EACH:
        return set_both(d, name, true, true);
    case RULE_SOURCE:
        return need(d, name, NULL, false) && set_both(d, name, true, false);
    case RULE_MULTIFD:
        return (!multifd || need(d, name, "--multifd", true)) &&
               set_both(d, name, multifd, multifd);
    case RULE_POSTCOPY:
        return (!d->wishes->postcopy || need(d, name, "--postcopy", true)) &&
               set_both(d, name, d->wishes->postcopy, d->wishes->postcopy);
    case RULE_CONVERGE:
        if (d->wishes->auto_converge && !capability_of(d, MIGRATION_SOURCE, name) &&
            !strlist_pushf(&d->settings->notes, "%s: its QEMU has no %s: it goes without",
                           d->names[MIGRATION_SOURCE], name))
            return error_no_memory(d->err);
        return set_both(d, name, d->wishes->auto_converge, false);
    case RULE_SAME:
        return set_both(d, name, source && destination, source && destination);
    case RULE_AGREED:
        if (source != destination)
            return error_set(d->err, STATUS_INCOMPATIBLE,
                             "%s is on at %s and off at %s: it says whether shared memory is "
                             "copied, so set it on both or on neither",
                             name, d->names[source ? MIGRATION_SOURCE : MIGRATION_DESTINATION],
                             d->names[source ? MIGRATION_DESTINATION : MIGRATION_SOURCE]);
        return set_both(d, name, source, source);
    }
    return set_both(d, name, false, false);
}

/* One that this program does not know. */
static bool decide_newer(struct decision *d, int end, const char *name)
{
    for (size_t i = 0; i < RULES; i++)
        if (strcmp(rules[i].name, name) == 0)
            return true;
    const json_t *here = capability_of(d, end, name), *there = capability_of(d, !end, name);
    if (json_is_true(here) == json_is_true(there))
        return true;
    return set_capability(d, end, name, false);
}

static bool decide_capabilities(struct decision *d)
{
    for (size_t i = 0; i < RULES; i++)
        if (!decide_capability(d, rules[i].name, rules[i].rule))
            return false;
    for (int end = 0; end < MIGRATION_ENDS; end++) {
        autostrlist struct strlist names = {0};
        const char *name;
        json_t *value;
        json_object_foreach(d->offers[end].capabilities, name, value)
        {
            if (!strlist_push(&names, name))
                return error_no_memory(d->err);
        }
        strlist_sort(&names); /* an object's order is that of a reply */
        for (size_t i = 0; i < names.count; i++)
            if (!decide_newer(d, end, names.items[i]))
                return false;
    }
    return true;
}

/* value is used up. Nothing is done on a side that has no such parameter. */
static bool set_parameter(struct decision *d, int end, const char *name, json_t *value)
{
    autojson json_t *owned = value;
    struct migration_side *side = &d->settings->ends[end];
    json_t *now = json_object_get(d->offers[end].parameters, name);
    if (!now)
        return true;
    return (owned && json_object_set(side->parameters, name, owned) == 0 &&
            json_object_set(side->undo_parameters, name, now) == 0) ||
           error_no_memory(d->err);
}

static const char *text_of(const struct decision *d, int end, const char *name)
{
    return json_string_value(json_object_get(d->offers[end].parameters, name));
}

/* A choice that must be the same on both: as the user has it if he has it alike, else `otherwise`,
 * which every QEMU has. */
static bool settle_choice(struct decision *d, const char *name, const char *otherwise)
{
    const char *source = text_of(d, MIGRATION_SOURCE, name);
    const char *destination = text_of(d, MIGRATION_DESTINATION, name);
    if (source && destination && strcmp(source, destination) == 0)
        return true;
    for (int end = 0; end < MIGRATION_ENDS; end++) {
        const char *now = text_of(d, end, name);
        if (!now || strcmp(now, otherwise) == 0)
            continue;
        if (!set_parameter(d, end, name, json_string(otherwise)))
            return false;
        if (!strlist_pushf(&d->settings->notes, "%s: %s was %s, and is %s for this migration",
                           d->names[end], name, now, otherwise))
            return error_no_memory(d->err);
    }
    return true;
}

/* QEMU's own TLS. In our relay it would only be in the way: its handshake stops the QEMU's main
 * loop (measured, 7.2 and 10.0). Without the relay the user wants it, and it is on both sides or
 * refused: it must not become plain behind his back. */
static bool decide_tls(struct decision *d)
{
    static const char *const names[] = {"tls-creds", "tls-hostname", "tls-authz"};
    bool set[MIGRATION_ENDS];
    for (int end = 0; end < MIGRATION_ENDS; end++) {
        const char *credentials = text_of(d, end, names[0]);
        set[end] = credentials && *credentials;
    }
    if (d->wishes->direct && set[MIGRATION_SOURCE] != set[MIGRATION_DESTINATION])
        return error_set(d->err, STATUS_INCOMPATIBLE,
                         "--direct: tls-creds is set on %s and not on %s: set it on both, or "
                         "migrate without --direct",
                         d->names[set[0] ? 0 : 1], d->names[set[0] ? 1 : 0]);
    if (d->wishes->direct)
        return true;
    for (int end = 0; end < MIGRATION_ENDS; end++) {
        for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
            const char *now = text_of(d, end, names[i]);
            if (now && *now && !set_parameter(d, end, names[i], json_string("")))
                return false;
        }
        if (set[end] && !strlist_pushf(&d->settings->notes,
                                       "%s: QEMU's own TLS (tls-creds) is off for this migration: "
                                       "it goes through ours",
                                       d->names[end]))
            return error_no_memory(d->err);
    }
    return true;
}

static bool decide_parameters(struct decision *d)
{
    const struct migration_wishes *wishes = d->wishes;
    /* cpr-reboot and its like keep the memory where it is. */
    for (int end = 0; end < MIGRATION_ENDS; end++) {
        const char *mode = text_of(d, end, "mode");
        if (mode && strcmp(mode, "normal") != 0 &&
            !set_parameter(d, end, "mode", json_string("normal")))
            return false;
    }
    if (wishes->multifd > 0) {
        for (int end = 0; end < MIGRATION_ENDS; end++)
            if (!set_parameter(d, end, "multifd-channels", json_integer(wishes->multifd)))
                return false;
        /* Zero pages inside multifd's packets: QEMU 9.0; 7.2 would take them for pages. */
        if (!settle_choice(d, "multifd-compression", "none") ||
            !settle_choice(d, "zero-page-detection", "legacy"))
            return false;
    }
    if (wishes->bandwidth > 0 &&
        (!set_parameter(d, MIGRATION_SOURCE, "max-bandwidth", json_integer(wishes->bandwidth)) ||
         (wishes->postcopy && !set_parameter(d, MIGRATION_SOURCE, "max-postcopy-bandwidth",
                                             json_integer(wishes->bandwidth)))))
        return false;
    if (wishes->downtime_ms > 0 &&
        !set_parameter(d, MIGRATION_SOURCE, "downtime-limit", json_integer(wishes->downtime_ms)))
        return false;
    return decide_tls(d);
}

static bool check_wishes(const struct migration_wishes *wishes, struct error *err)
{
    if (wishes->multifd < 0 || wishes->multifd > CHANNELS_MAX)
        return error_set(err, STATUS_USAGE, "--multifd: 1 to %d channels", CHANNELS_MAX);
    if (wishes->downtime_ms < 0 || wishes->downtime_ms > DOWNTIME_MAX_MS)
        return error_set(err, STATUS_USAGE, "--downtime: 1 to %d milliseconds", DOWNTIME_MAX_MS);
    /* QEMU 7.2 takes both and 10.0 refuses them; nothing but a version says which do it right. */
    if (wishes->multifd > 0 && wishes->postcopy)
        return error_set(err, STATUS_USAGE, "--postcopy and --multifd do not go together");
    if (wishes->bandwidth < 0)
        return error_set(err, STATUS_USAGE, "--bandwidth: not a rate");
    return true;
}

bool migration_settings_decide(const struct migration_offer offers[MIGRATION_ENDS],
                               const char *const names[MIGRATION_ENDS],
                               const struct migration_wishes *wishes,
                               struct migration_settings *out, struct error *err)
{
    automigrationsettings struct migration_settings settings = {0};
    struct decision decision = {offers, names, wishes, &settings, err};
    if (!check_wishes(wishes, err))
        return false;
    for (int end = 0; end < MIGRATION_ENDS; end++) {
        struct migration_side *side = &settings.ends[end];
        *side = (struct migration_side){
            .capabilities = json_pack("{s:[]}", "capabilities"),
            .parameters = json_object(),
            .undo_capabilities = json_pack("{s:[]}", "capabilities"),
            .undo_parameters = json_object(),
            .uri = offers[end].uri,
            .channels = offers[end].channels,
            .exit_on_error = offers[end].exit_on_error,
        };
        if (!side->capabilities || !side->parameters || !side->undo_capabilities ||
            !side->undo_parameters)
            return error_no_memory(err);
    }
    if (!decide_capabilities(&decision) || !decide_parameters(&decision))
        return false;
    migration_settings_free(out);
    *out = settings;
    settings = (struct migration_settings){0};
    return true;
}
