/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "cli/cmd_baseline.h"
#include "page/baseline_page.h"

#define PAGE_BEGIN "<!DOCTYPE html>"
#define VERSION_UNKNOWN "0.0.0" /* of recorded replies that do not tell it */

/* With FILE forgotten, --html takes the first of the profiles for it. What is no file, or cannot be
 * read, is for the writing. */
static bool is_other_file(const char *path)
{
    char begin[sizeof(PAGE_BEGIN)] = "";
    struct stat st;
    autoclose int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    return fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0 &&
           (read(fd, begin, sizeof(begin) - 1) < 0 || strcmp(begin, PAGE_BEGIN) != 0);
}

bool baseline_write_page(const struct baseline_command *command, struct error *err)
{
    autostrlist struct strlist off = {0}, unknown = {0};
    autofree char *migration = NULL;
    autofree struct page_host *hosts = calloc(command->count, sizeof(*hosts));
    if (!hosts)
        return error_no_memory(err);
    if (!device_report_losses(&command->devices, &off, err) ||
        !device_report_unknown(&command->devices, &unknown, err) ||
        !device_capabilities_line(command->hosts, command->count, &migration, err))
        return false;
    for (size_t i = 0; i < command->count; i++) {
        const struct profile *profile = &command->profiles[i];
        bool known = strcmp(profile->qemu_version, VERSION_UNKNOWN) != 0;
        hosts[i] = (struct page_host){&profile->offer, known ? profile->qemu_version : NULL,
                                      command->cpus.items[i]};
    }
    const struct baseline_page page = {
        .baseline = &command->baseline,
        .report = &command->report,
        .hosts = hosts,
        .host_count = command->count,
        .machine = command->machine_chosen,
        .form = cpu_form_name(command->form),
        .devices_off = &off,
        .devices_unknown = &unknown,
        .migration = migration,
    };
    if (is_other_file(command->html))
        return error_set(err, STATUS_USAGE,
                         "--html: %s is there already, and is no page: it is left as it is (the "
                         "word behind --html is the page's FILE, the profiles stand behind that)",
                         command->html);
    autofree char *text = baseline_page_make(&page);
    return text ? file_write_output(command->html, text, strlen(text), 0644, err)
                : error_no_memory(err);
}
