/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Properties of devices switched off in QEMU's command line, a word a line, and behind a line "%%"
 * in a configuration file: each device of the class has them off then, all else that it says is as
 * it was, and nothing is left to be done a second time.
 */
#include "fuzz.h"
#include "device/backend_table.h"
#include "vm/config_file.h"
#include "vm/device_mask.h"
#include "vm/device_value.h"

#define WORDS_MAX 64

static struct device_off items[] = {
    {"vhost-vsock", "seqpacket", true, NULL},
    {"virtio-net", "csum", true, NULL},
    {"virtio-net", "hash", false, NULL},
    {"virtio-net", "host_uso", true, NULL},
};
static const struct device_offs offs = {items, sizeof(items) / sizeof(*items)};

/* Also what is in it: in JSON it can be an object, which QEMU would refuse. */
static bool is_off(const char *class, const char *key)
{
    size_t length = strcspn(key, ".");
    for (size_t i = 0; class && i < offs.count; i++)
        if (strcmp(items[i].class, class) == 0 && strlen(items[i].property) == length &&
            strncmp(items[i].property, key, length) == 0)
            return true;
    return false;
}

/* What is not switched off is the same, in the same order. */
static void check_rest(const char *class, const struct keyval *before, const struct keyval *after)
{
    size_t at = 0;
    for (size_t i = 0; i < before->count; i++) {
        const struct keyval_pair *pair = &before->pairs[i];
        if (is_off(class, pair->key))
            continue;
        while (at < after->count && is_off(class, after->pairs[at].key))
            at++;
        MUST(at < after->count);
        MUST(strcmp(pair->key, after->pairs[at].key) == 0);
        MUST(strcmp(pair->value, after->pairs[at].value) == 0);
        at++;
    }
}

static void check_device(const char *value, const char *masked)
{
    autokeyval struct keyval before = {0}, after = {0};
    MUST(device_value_read(value, &before, NULL) && device_value_read(masked, &after, NULL));
    const char *driver = keyval_get(&before, "driver");
    const char *class = driver ? device_class_of(driver) : NULL;
    check_rest(class, &before, &after);
    for (size_t i = 0; class && i < offs.count; i++) {
        const char *now = keyval_get(&after, items[i].property);
        if (strcmp(items[i].class, class) == 0)
            MUST(now ? device_value_is_off(now) : !items[i].usual);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    autofree char *text = fuzz_text(data, size);
    char *file = strstr(text, "\n%%\n");
    char program[] = "qemu-system-x86_64", *words[WORDS_MAX + 1] = {program}, *left = text;
    int count = 1;
    if (file) {
        *file = '\0';
        file += strlen("\n%%\n");
    }
    for (char *word; count < WORDS_MAX && (word = strsep(&left, "\n"));)
        words[count++] = word;
    autoarglist struct arglist list = {0}, before = {0}, files = {0};
    autostrlist struct strlist said = {0}, again = {0};
    if (!arglist_parse(&list, count, words, NULL) || !arglist_copy(&list, &before, NULL) ||
        (file && !config_file_options("f", file, &files, NULL)) ||
        !device_mask_write(&offs, &files, &list, &said, NULL))
        return 0;
    for (size_t i = 0; i < before.count; i++) {
        MUST(before.items[i].option == list.items[i].option);
        if (before.items[i].option && before.items[i].option->id == QEMU_OPTION_DEVICE)
            check_device(before.items[i].value, list.items[i].value);
    }
    autoarglist struct arglist once = {0};
    MUST(arglist_copy(&list, &once, NULL));
    MUST(device_mask_write(&offs, &files, &list, &again, NULL));
    for (size_t i = 0; i < once.count; i++)
        if (once.items[i].option && once.items[i].option->id == QEMU_OPTION_DEVICE)
            MUST(strcmp(once.items[i].value, list.items[i].value) == 0);
    return 0;
}
