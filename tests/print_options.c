/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What src/vm makes of QEMU's command lines, for tests/e2e/check-options to hold against the real
 * thing:
 *   print-options table                          NAME VALUE|FLAG BOTH|OLD|NEW X86|OTHER
 *   print-options read QEMU ARGS…                "query", "run", or an error and its status
 *   print-options rewrite CPU TYPE ACCEL QEMU …  the words of the new command line, one a line
 */
#include <stdio.h>
#include <string.h>

#include "vm/invocation.h"

static void print_table(void)
{
    static const char *const versions[] = {"BOTH", "OLD", "NEW"};
    size_t count;
    const struct qemu_option *options = qemu_options_all(&count);
    for (size_t i = 0; i < count; i++)
        printf("%s %s %s %s\n", options[i].name, options[i].takes_value ? "VALUE" : "FLAG",
               versions[options[i].versions], options[i].for_x86 ? "X86" : "OTHER");
}

static bool read_or_rewrite(bool rewrite, int argc, char **argv, struct error *err)
{
    autoarglist struct arglist list = {0}, changed = {0};
    autoinvocation struct invocation invocation = {0};
    autostrlist struct strlist words = {0};
    int skip = rewrite ? 3 : 0;
    if (argc <= skip)
        return error_set(err, STATUS_USAGE, "too few arguments");
    if (!arglist_parse(&list, argc - skip, argv + skip, err) ||
        !invocation_read(&list, &invocation, err))
        return false;
    if (!rewrite)
        return puts(invocation.is_query ? "query" : "run") >= 0;
    if (!invocation_rewrite(&list, argv[0], argv[1], argv[2], &changed, err) ||
        !arglist_render(&changed, &words, err))
        return false;
    for (size_t i = 0; i < words.count; i++)
        puts(words.items[i]);
    return true;
}

int main(int argc, char **argv)
{
    struct error err = ERROR_INIT;
    if (argc == 2 && strcmp(argv[1], "table") == 0) {
        print_table();
        return 0;
    }
    if (argc < 3)
        return STATUS_USAGE;
    if (read_or_rewrite(strcmp(argv[1], "rewrite") == 0, argc - 2, argv + 2, &err))
        return 0;
    fprintf(stderr, "%s\n", err.message);
    return (int)err.status;
}
