/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Where two command lines differ for a guest, for tests/e2e/test_command_lines.py:
 *   print-visible SOURCE DESTINATION    files as vms/VM.args; a line each, of doubts with "? "
 */
#include <stdio.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "vm/args_file.h"
#include "vm/visible_host.h"

static bool read_line(const char *path, struct visible_list *list, struct error *err)
{
    autofree char *text = NULL;
    autostrlist struct strlist words = {0};
    autoarglist struct arglist arguments = {0};
    size_t length;
    return file_read(path, 1 << 20, false, &text, &length, err) &&
           args_parse(path, text, &words, err) &&
           arglist_parse(&arguments, (int)words.count, words.items, err) &&
           visible_host_read(&arguments, list, err);
}

int main(int argc, char **argv)
{
    autovisiblelist struct visible_list one = {0}, other = {0};
    autovisiblefound struct visible_found found = {0};
    struct error err = ERROR_INIT;
    if (argc != 3 || !read_line(argv[1], &one, &err) || !read_line(argv[2], &other, &err) ||
        !visible_compare(&one, "src", &other, "dst", NULL, &found, &err)) {
        fprintf(stderr, "print-visible: %s\n", err.message);
        return 1;
    }
    for (size_t i = 0; i < found.differences.count; i++)
        puts(found.differences.items[i]);
    for (size_t i = 0; i < found.doubts.count; i++)
        printf("? %s\n", found.doubts.items[i]);
    return 0;
}
