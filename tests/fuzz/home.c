/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "home.h"

#include <ftw.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"

/* Keys that protect nothing. */
#define PEM(base64) "-----BEGIN PRIVATE KEY-----\n" base64 "\n-----END PRIVATE KEY-----\n"

static const char *const keys[] = {
    PEM("MC4CAQAwBQYDK2VwBCIEIEgg6KEaJNHrHVp2Tbn4DqBwNNTAFt6af8lfVbg6Lro4"),
    PEM("MC4CAQAwBQYDK2VwBCIEIDViYb7mU0a8OEe4TSkISU16Wx4taXEAMxzFsxbhFdd0"),
};

static struct fuzz_home home;
static char root[] = "/dev/shm/qml-fuzz-XXXXXX"; /* where it costs nothing to sync */

time_t time(time_t *result)
{
    if (result)
        *result = FUZZ_NOW;
    return FUZZ_NOW;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    return remove(path);
}

static void forget(void)
{
    identity_free(home.own);
    identity_free(home.peer);
    paths_free(&home.paths);
    nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

void fuzz_write(const char *folder, const char *name, const void *data, size_t size)
{
    autofree char *path = path_join(folder, name, "");
    MUST(path);
    FILE *stream = fopen(path, "w");
    if (!stream) {
        *strrchr(path, '/') = '\0'; /* the name may have folders in it, too */
        MUST(folder_make(path, 0700, NULL));
        path[strlen(path)] = '/';
        stream = fopen(path, "w");
    }
    MUST(stream);
    MUST(fchmod(fileno(stream), 0600) == 0);
    MUST(fwrite(data, 1, size, stream) == size);
    MUST(fclose(stream) == 0);
}

void fuzz_write_json(const char *folder, const char *name, const json_t *json)
{
    autofree char *path = path_join(folder, name, "");
    autofree char *text = json ? json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
    MUST(path && (text || !json));
    if (text)
        fuzz_write(folder, name, text, strlen(text));
    else
        unlink(path);
}

static struct identity *make_identity(const char *name, const char *key)
{
    autofree char *folder = path_join(root, name, "");
    MUST(folder);
    fuzz_write(folder, "identity.key", key, strlen(key));
    MUST(identity_create(folder, NULL));
    struct identity *identity = identity_load(folder, NULL);
    MUST(identity);
    return identity;
}

const struct fuzz_home *fuzz_home(void)
{
    if (home.own)
        return &home;
    if (!mkdtemp(root)) {
        snprintf(root, sizeof(root), "/tmp/qml-fuzz-XXXXXX");
        MUST(mkdtemp(root));
    }
    atexit(forget);
    home.folder = root;
    MUST(paths_init(&home.paths, root, NULL));
    home.own = make_identity("own", keys[0]);
    home.peer = make_identity("peer", keys[1]);
    home.entry = (struct trust_entry){.name = (char *)"peer",
                                      .pin_count = 1,
                                      .host = (char *)"127.0.0.1",
                                      .expires = TRUST_NEVER};
    memcpy(home.entry.pins[0], home.peer->pin, PIN_SIZE);
    home.trust = (struct trust){.entries = &home.entry, .count = 1};
    return &home;
}
