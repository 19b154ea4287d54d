/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "vm/query.h"

#include "vm/keyval.h"

static bool pieces_ask(const struct arg_item *item)
{
    const struct qemu_option *option = item->option;
    bool dict = option->query == QUERY_KEYVAL;
    if (!dict && keyval_is_json(item->value))
        return false;
    autokeyval struct keyval keyval = {0};
    if (!keyval_parse(&keyval, item->value, dict ? KEYVAL_DICT : KEYVAL_OPTS, option->implied_key,
                      NULL))
        return false;
    if (dict)
        return keyval.help;
    const char *first = keyval_get(&keyval, option->implied_key);
    if (!first) /* -accel without a name lists them; a device without a driver is an error */
        return option->id == QEMU_OPTION_ACCEL;
    /* Whatever its value is: "help=off" asks too (qemu_opt_has_help_opt in util/qemu-option.c). */
    bool any = keyval_get(&keyval, "help") || keyval_get(&keyval, "?");
    return keyval_is_help(first) || (option->query == QUERY_ANY && any);
}

/* Options without an id of their own share one, so the option itself is compared. */
static bool last_of_option_asks(const struct arglist *list, const struct qemu_option *option)
{
    const char *value = "";
    for (size_t i = 0; i < list->count; i++)
        if (list->items[i].option == option)
            value = list->items[i].value;
    return keyval_is_help(value);
}

static bool item_asks(const struct arglist *list, const struct arg_item *item)
{
    switch (item->option->query) {
    case QUERY_NO:
        return false;
    case QUERY_ALWAYS:
        return true;
    case QUERY_LAST:
        return last_of_option_asks(list, item->option);
    case QUERY_WORD:
        return keyval_is_help(item->value);
    case QUERY_FIRST:
    case QUERY_KEYVAL:
    case QUERY_ANY:
        return pieces_ask(item);
    }
    return false;
}

bool arglist_is_query(const struct arglist *list)
{
    for (size_t i = 0; i < list->count; i++)
        if (list->items[i].option && item_asks(list, &list->items[i]))
            return true;
    return false;
}
