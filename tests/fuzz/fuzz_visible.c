/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What a guest sees of two command lines, as hosts tell it: "one" and "other", and "accepted",
 * names of differences. What is read and written again is the same; whichever comes first, the same
 * is found; and nothing differs from itself.
 */
#include "fuzz.h"
#include "vm/visible_host.h"

static bool any_name(const char *name)
{
    return *name != '\0';
}

static bool read_list(json_t *json, struct visible_list *list)
{
    struct error err = ERROR_INIT;
    autovisiblelist struct visible_list again = {0};
    if (!visible_from_json(json, "it", list, &err)) {
        MUST(err.status == STATUS_DATA && *err.message && !list->things);
        return false;
    }
    autojson json_t *written = visible_to_json(list);
    MUST(written);
    if (visible_from_json(written, "it", &again, NULL)) {
        autojson json_t *twice = visible_to_json(&again);
        MUST(twice && json_equal(written, twice));
    }
    return true;
}

static void check_found(const struct visible_found *found)
{
    const struct strlist *lists[] = {&found->differences, &found->doubts, &found->accepted};
    for (size_t i = 0; i < 3; i++)
        for (size_t k = 0; k < lists[i]->count; k++)
            MUST(text_is_plain(lists[i]->items[k]));
}

static void compare(const struct visible_list *one, const struct visible_list *other,
                    const struct strlist *accepted)
{
    autovisiblefound struct visible_found found = {0}, reversed = {0}, own = {0};
    MUST(visible_compare(one, "a", other, "b", accepted, &found, NULL));
    MUST(visible_compare(other, "b", one, "a", accepted, &reversed, NULL));
    MUST(visible_compare(one, "a", one, "b", NULL, &own, NULL) && own.differences.count == 0);
    check_found(&found);
    MUST(found.differences.count == reversed.differences.count &&
         found.doubts.count == reversed.doubts.count &&
         found.accepted.count == reversed.accepted.count);
    struct error err = ERROR_INIT;
    bool same = visible_require_same(one, "a", other, "b", accepted, &err);
    MUST(same ? found.differences.count == 0 : err.status == STATUS_INCOMPATIBLE && *err.message);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    autojson json_t *json = json_parse_strict((const char *)data, size, size, NULL);
    autovisiblelist struct visible_list one = {0}, other = {0};
    autostrlist struct strlist accepted = {0};
    json_take_names(json_object_get(json, "accepted"), "accepted", any_name, &accepted, NULL);
    if (read_list(json_object_get(json, "one"), &one) &&
        read_list(json_object_get(json, "other"), &other))
        compare(&one, &other, &accepted);
    return 0;
}
