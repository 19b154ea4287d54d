/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "vm/arglist.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

static void item_free(struct arg_item *item)
{
    free(item->text);
    free(item->value);
}

void arglist_free(struct arglist *list)
{
    for (size_t i = 0; i < list->count; i++)
        item_free(&list->items[i]);
    free(list->items);
    free(list->program);
    *list = (struct arglist){0};
}

static bool insert_item(struct arglist *list, size_t index, const struct qemu_option *option,
                        const char *text, const char *value, struct error *err)
{
    if (list->count == list->capacity) {
        size_t capacity = list->capacity ? list->capacity * 2 : 32;
        struct arg_item *items = realloc(list->items, capacity * sizeof(*items));
        if (!items)
            return error_no_memory(err);
        list->items = items;
        list->capacity = capacity;
    }
    struct arg_item item = {.option = option, .text = strdup(text)};
    if (value)
        item.value = strdup(value);
    if (!item.text || (value && !item.value)) {
        item_free(&item);
        return error_no_memory(err);
    }
    memmove(&list->items[index + 1], &list->items[index],
            (list->count - index) * sizeof(*list->items));
    list->items[index] = item;
    list->count++;
    return true;
}

bool arglist_parse(struct arglist *list, int argc, char *const argv[], struct error *err)
{
    autoarglist struct arglist found = {0};
    if (argc < 1)
        return error_set(err, STATUS_USAGE, "QEMU's command is missing");
    found.program = strdup(argv[0]);
    if (!found.program)
        return error_no_memory(err);
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i], *value = NULL;
        const struct qemu_option *option = NULL;
        if (word[0] == '-') {
            option = qemu_option_find(word);
            if (!option)
                return error_set(err, STATUS_USAGE, "QEMU has no option '%s'", word);
            if (option->takes_value && i + 1 == argc)
                return error_set(err, STATUS_USAGE, "QEMU's option '%s' needs a value", word);
            if (option->takes_value)
                value = argv[++i];
        }
        if (!insert_item(&found, found.count, option, word, value, err))
            return false;
    }
    *list = found;
    found = (struct arglist){0};
    return true;
}

bool arglist_copy(const struct arglist *list, struct arglist *copy, struct error *err)
{
    autoarglist struct arglist made = {.program = strdup(list->program)};
    if (!made.program)
        return error_no_memory(err);
    for (size_t i = 0; i < list->count; i++) {
        const struct arg_item *item = &list->items[i];
        if (!insert_item(&made, i, item->option, item->text, item->value, err))
            return false;
    }
    *copy = made;
    made = (struct arglist){0};
    return true;
}

const struct arg_item *arglist_next(const struct arglist *list, enum qemu_option_id id,
                                    size_t *cursor)
{
    while (*cursor < list->count) {
        const struct arg_item *item = &list->items[(*cursor)++];
        if (item->option && item->option->id == id)
            return item;
    }
    return NULL;
}

size_t arglist_count(const struct arglist *list, enum qemu_option_id id)
{
    size_t count = 0;
    for (size_t cursor = 0; arglist_next(list, id, &cursor);)
        count++;
    return count;
}

const char *arglist_last(const struct arglist *list, enum qemu_option_id id)
{
    const char *value = NULL;
    const struct arg_item *item;
    for (size_t cursor = 0; (item = arglist_next(list, id, &cursor));)
        value = item->value;
    return value;
}

void arglist_remove_at(struct arglist *list, size_t index)
{
    item_free(&list->items[index]);
    list->count--;
    memmove(&list->items[index], &list->items[index + 1],
            (list->count - index) * sizeof(*list->items));
}

size_t arglist_remove(struct arglist *list, enum qemu_option_id id)
{
    size_t removed = 0;
    for (size_t cursor = 0; arglist_next(list, id, &cursor); removed++)
        arglist_remove_at(list, --cursor);
    return removed;
}

bool arglist_set_value(struct arglist *list, size_t index, const char *value, struct error *err)
{
    char *copy = strdup(value);
    if (!copy)
        return error_no_memory(err);
    free(list->items[index].value);
    list->items[index].value = copy;
    return true;
}

bool arglist_insert(struct arglist *list, size_t index, const char *option, const char *value,
                    struct error *err)
{
    const struct qemu_option *found = qemu_option_find(option);
    if (!found || found->takes_value != (value != NULL) || index > list->count)
        return error_set(err, STATUS_INTERNAL, "cannot add QEMU's option '%s'", option);
    return insert_item(list, index, found, option, value, err);
}

bool arglist_append(struct arglist *list, const char *option, const char *value, struct error *err)
{
    return arglist_insert(list, list->count, option, value, err);
}

bool arglist_render(const struct arglist *list, struct strlist *argv, struct error *err)
{
    autostrlist struct strlist words = {0};
    if (!strlist_push(&words, list->program))
        return error_no_memory(err);
    for (size_t i = 0; i < list->count; i++) {
        const struct arg_item *item = &list->items[i];
        if (!strlist_push(&words, item->text) ||
            (item->value && !strlist_push(&words, item->value)))
            return error_no_memory(err);
    }
    *argv = words;
    words = (struct strlist){0};
    return true;
}
