/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * QEMU's configuration files and our own config.ini. After a first byte 'q' it is QEMU's.
 */
#include <unistd.h>

#include "fuzz.h"
#include "host/config.h"
#include "vm/config_file.h"

static char folder[] = "/tmp/qml-fuzz-XXXXXX";
static char file[sizeof(folder) + sizeof("/config.ini")];

static void remove_folder(void)
{
    unlink(file);
    rmdir(folder);
}

static void write_file(const uint8_t *data, size_t size)
{
    if (!*file) {
        MUST(mkdtemp(folder));
        snprintf(file, sizeof(file), "%s/config.ini", folder);
        atexit(remove_folder);
    }
    FILE *stream = fopen(file, "w");
    MUST(stream);
    MUST(fwrite(data, 1, size, stream) == size);
    MUST(fclose(stream) == 0);
}

static void check_config(const struct config *config)
{
    static const char word[] = "file=/images/a.qcow2,backing=\"/images/b/c\",x=/imagesd:/images";
    autofree char *mapped = path_map_apply(&config->map, word);
    MUST(config->host_name && name_is_host(config->host_name));
    MUST(mapped && (config->map.count > 0 || strcmp(mapped, word) == 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 0 && data[0] == 'q') {
        autofree char *text = fuzz_text(data + 1, size - 1);
        config_file_check("qemu.conf", text, NULL);
        return 0;
    }
    struct error err = ERROR_INIT;
    autoconfig struct config config = {0};
    write_file(data, size);
    if (!config_load(folder, NULL, &config, &err))
        MUST(err.status == STATUS_CONFIG && *err.message);
    else
        check_config(&config);
    return 0;
}
