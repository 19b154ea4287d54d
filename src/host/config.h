/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * config.ini: what this host's administrator decided.
 */
#ifndef QML_HOST_CONFIG_H
#define QML_HOST_CONFIG_H

#include <stdint.h>

#include "cpu/featureset.h"
#include "host/config_launch.h"
#include "host/config_pool.h"
#include "host/path_map.h"

#define DEFAULT_PORT 16515
#define MIGRATION_PORT_FIRST 49152
#define MIGRATION_PORT_LAST 49215

struct config {
    char *host_name;               /* [host] name, or this machine's name */
    char *listen_address;          /* [listen] address: [ADDR]:PORT, or NULL */
    uint16_t migration_port_first; /* [listen] migration-ports = FIRST-LAST */
    uint16_t migration_port_last;
    struct strlist qemu_binaries; /* [qemu] binary, may be repeated */
    struct featureset deny;       /* [policy] deny, canonical names */
    struct featureset require;    /* [policy] require */
    bool devices_known;           /* [policy] devices = known, not any */
    struct path_map map;          /* [map] */
    struct pool_config pool;      /* [pool] */
    struct config_launch launch;  /* [launch] */
    char *path;                   /* of the file; NULL: there is none */
};

void config_free(struct config *config);
#define autoconfig __attribute__((cleanup(config_free)))

/* Read a file (`file`, which must exist then, or FOLDER/config.ini, which need not). Unknown
 * sections and keys and bad values are STATUS_CONFIG with file and line; a file that others can
 * change is STATUS_NOT_TRUSTED. */
bool config_load(const char *folder, const char *file, struct config *config, struct error *err);

#endif
