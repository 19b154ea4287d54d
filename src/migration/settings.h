/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Which capabilities and parameters the two QEMUs of a migration get. Most of them must be the same
 * on both sides or the migration hangs for ever (multifd or its channels, switchover-ack), so that
 * all are decided in one place, from what both QEMUs have and from the user's wishes, and never
 * from a version number. Both ends can decide: the same offers and wishes give the same settings.
 */
#ifndef QML_MIGRATION_SETTINGS_H
#define QML_MIGRATION_SETTINGS_H

#include "qmp/qmp.h"

enum migration_end { MIGRATION_SOURCE, MIGRATION_DESTINATION, MIGRATION_ENDS };

/* What one QEMU has, and how it is set now: by default, by the user's own arguments, or by somebody
 * else at a monitor. */
struct migration_offer {
    json_t *capabilities; /* {name: bool} */
    json_t *parameters;   /* {name: bool, integer or text} */
    bool uri, channels;   /* how `migrate` (destination: `migrate-incoming`) takes the address */
    bool exit_on_error; /* migrate-incoming takes it: the QEMU can outlive a failure, and tell it */
};

void migration_offer_free(struct migration_offer *offer);
#define automigrationoffer __attribute__((cleanup(migration_offer_free)))

/* Ask a QEMU. STATUS_UNAVAILABLE, STATUS_PROTOCOL. */
bool migration_offer_read(struct qmp *qmp, enum migration_end end, struct migration_offer *offer,
                          struct error *err);

/* The same from the replies of query-migrate-capabilities, query-migrate-parameters and
 * query-qmp-schema. STATUS_PROTOCOL when they are not QEMU's. */
bool migration_offer_from_replies(const json_t *capabilities, const json_t *parameters,
                                  const json_t *schema, enum migration_end end,
                                  struct migration_offer *offer, struct error *err);

/* For the network: to a new object (NULL for want of memory), and from one that a peer sent, which
 * must have this form exactly and is bounded. `what` names it in messages. STATUS_DATA. */
json_t *migration_offer_to_json(const struct migration_offer *offer);
bool migration_offer_from_json(json_t *json, const char *what, struct migration_offer *offer,
                               struct error *err);

/* What the user asked `migrate` for; {0}: nothing. */
struct migration_wishes {
    int64_t bandwidth;   /* bytes a second; 0: as it is */
    int64_t downtime_ms; /* 0: as it is */
    int multifd;         /* channels; 0: no multifd */
    bool postcopy;
    bool auto_converge;
    bool direct; /* the QEMUs speak to each other, with no TLS of ours around it */
};

json_t *migration_wishes_to_json(const struct migration_wishes *wishes);
bool migration_wishes_from_json(json_t *json, const char *what, struct migration_wishes *wishes,
                                struct error *err);

/* For one side. */
struct migration_side {
    json_t *capabilities;      /* the arguments of migrate-set-capabilities */
    json_t *parameters;        /* those of migrate-set-parameters; an empty object: none to set */
    json_t *undo_capabilities; /* how it was before, in the same forms */
    json_t *undo_parameters;
    bool uri, channels, exit_on_error; /* as in its offer */
};

struct migration_settings {
    struct migration_side ends[MIGRATION_ENDS];
    struct strlist notes; /* what the user should know: settings of his that do not hold */
};

void migration_settings_free(struct migration_settings *settings);
#define automigrationsettings __attribute__((cleanup(migration_settings_free)))

/* Decide. names: of the two hosts, for messages. STATUS_INCOMPATIBLE when a side cannot do what is
 * needed or wished, naming both; STATUS_USAGE for a wish out of range. */
bool migration_settings_decide(const struct migration_offer offers[MIGRATION_ENDS],
                               const char *const names[MIGRATION_ENDS],
                               const struct migration_wishes *wishes,
                               struct migration_settings *settings, struct error *err);

/* Set one side, and look that it holds: another client of the monitor may be at it too. What QEMU
 * does not take is STATUS_INCOMPATIBLE with its words; STATUS_UNAVAILABLE, STATUS_PROTOCOL. */
bool migration_side_apply(struct qmp *qmp, const struct migration_side *side, struct error *err);

/* Set the side as it was before. As migration_side_apply. */
bool migration_side_undo(struct qmp *qmp, const struct migration_side *side, struct error *err);

/* The arguments of `migrate` or `migrate-incoming` for a Unix socket, or with port > 0 for the TCP
 * address host:port. A destination that can stays when it fails. NULL for want of memory. */
json_t *migration_arguments(const struct migration_side *side, const char *path_or_host,
                            uint16_t port);

#endif
