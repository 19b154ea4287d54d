/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Where two lists of what a guest sees differ.
 */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "device/backend_table.h"
#include "vm/visible_private.h"

struct comparison {
    const struct visible_list *lists[2];
    const char *names[2];
    const struct strlist *accept;
    ssize_t *match[2]; /* which of the other list each is; -1: none */
    struct visible_found *found;
};

enum verdict { SAME, DIFFERENT, DOUBTFUL };

void visible_found_free(struct visible_found *found)
{
    strlist_free(&found->differences);
    strlist_free(&found->doubts);
    strlist_free(&found->accepted);
    strlist_free(&found->names);
}

/* The option that people write for a key of -machine, as "bios" for "firmware" and "boot order" for
 * "boot.order", as a new text; "": there is none. NULL for want of memory. */
static char *written_for(const char *key)
{
    size_t count;
    const struct visible_option *rows = visible_option_rows(&count);
    for (size_t i = 0; i < count; i++) {
        const char *text = rows[i].text;
        size_t length = text ? strcspn(text, "=") : 0;
        bool same = length > 0 && strncmp(text, key, length) == 0;
        if (same && rows[i].kind == VISIBLE_SUGAR && !key[length] &&
            strcmp(text + length, "=%") == 0)
            return strdup(rows[i].name);
        if (same && rows[i].kind == VISIBLE_MACHINE)
            return string_format("%s %s", rows[i].name, key + length);
    }
    return strdup("");
}

/* "-device virtio-net-pci,id=n0: mac", "-m", "-machine hpet". What comes first in an option goes
 * without its name. NULL for want of memory. */
static char *name_of(const struct visible_thing *thing, const char *key)
{
    bool plain = !*key || (strcmp(thing->option, "m") == 0 && strcmp(key, "size") == 0) ||
                 (strcmp(thing->option, "smp") == 0 && strcmp(key, "cpus") == 0);
    bool labelled = *thing->label || *thing->id;
    autofree char *written = written_for(strcmp(thing->option, "machine") == 0 ? key : "");
    autofree char *words = written ? visible_show(written) : NULL;
    if (!words || *words)
        return words ? string_format("-%s", words) : NULL;
    autofree char *label = visible_show(thing->label), *id = visible_show(thing->id);
    autofree char *name = visible_show(key);
    if (!label || !id || !name)
        return NULL;
    return string_format("-%s%s%s%s%s%s%s", thing->option, labelled ? " " : "", label,
                         *id ? ",id=" : "", id,
                         plain      ? ""
                         : labelled ? ": "
                                    : " ",
                         plain ? "" : name);
}

/* Keep what was found under the name that a person can accept it by. text is used up; NULL: no
 * memory. */
static bool note(const struct comparison *c, enum verdict verdict, const char *name, char *text)
{
    struct strlist *list = verdict == DOUBTFUL ? &c->found->doubts
                           : c->accept && strlist_contains(c->accept, name)
                               ? &c->found->accepted
                               : &c->found->differences;
    if (!strlist_contains(&c->found->names, name) && !strlist_push(&c->found->names, name)) {
        free(text);
        return false;
    }
    return text && strlist_push_owned(list, text);
}

/* A file's content: known as a digest, or only its size, or only its name. Firmware that comes with
 * QEMU, and so is found where only QEMU looks, is QEMU's, as it is without the option. */
static enum verdict judge_content(const char *one, const char *other)
{
    bool equal = strcmp(one, other) == 0;
    bool known = !string_starts_with(one, "name:") && !string_starts_with(other, "name:");
    bool alike = strcspn(one, ":") == strcspn(other, ":");
    return equal ? SAME : known && alike ? DIFFERENT : DOUBTFUL;
}

/* A bus is named after a device's id, which may be another one there: "ID.0". */
static bool is_same_bus(const struct comparison *c, const char *one, const char *other)
{
    for (size_t i = 0; i < c->lists[0]->count; i++) {
        const struct visible_thing *thing = &c->lists[0]->things[i];
        size_t length = strlen(thing->id);
        if (length == 0 || strncmp(thing->id, one, length) != 0 ||
            (one[length] && one[length] != '.') || c->match[0][i] < 0)
            continue;
        const char *id = c->lists[1]->things[c->match[0][i]].id;
        size_t other_length = strlen(id);
        if (strncmp(id, other, other_length) == 0 &&
            strcmp(one + length, other + other_length) == 0)
            return true;
    }
    return strcmp(one, other) == 0;
}

/* A property that devices have by themselves, and that the agreement on devices and the pre-flight
 * see to: what of it is switched off on one side only, by -device, -set or -global, need not stop a
 * launch. One that somebody has to switch on is nobody else's. */
static bool is_agreed_on(const struct visible_thing *thing, const char *key)
{
    bool is_global = strcmp(thing->option, "global") == 0;
    size_t length = is_global ? strcspn(thing->label, ".") : strlen(thing->label);
    if ((!is_global && strcmp(thing->option, "device") != 0) ||
        (is_global && !thing->label[length]))
        return false;
    autofree char *driver = strndup(thing->label, length);
    const char *class = driver ? device_class_of(driver) : NULL;
    const struct device_property *property =
        class ? device_find_property(class, is_global ? thing->label + length + 1 : key) : NULL;
    return property && property->usual;
}

/* A key that only one of them has: `other` is NULL, and its default may be known. */
static enum verdict judge(const struct comparison *c, const struct visible_thing *thing,
                          const struct visible_property *one, const struct visible_property *other)
{
    if (!other && strcmp(one->key, VISIBLE_NETWORK) == 0)
        return SAME; /* the model is another one: that is said */
    const char *value = visible_default_find(thing->option, thing->label, one->key);
    enum visible_how key_how = visible_key_how(thing->option, one->key, one->how);
    autofree char *usual = other || !value ? NULL : visible_canonical(value, key_how);
    const char *there = other ? other->value : usual;
    enum visible_how how = other && other->how != one->how ? VISIBLE_SEEN : one->how;
    bool untold = strstr(one->value, VISIBLE_NOT_TOLD) ||
                  (other && strstr(other->value, VISIBLE_NOT_TOLD)) ||
                  (how == VISIBLE_SECRET && other && (!*one->value || !*other->value));
    if (there && how == VISIBLE_CONTENT)
        return judge_content(one->value, there);
    if (there && how == VISIBLE_BUS ? is_same_bus(c, one->value, there)
                                    : there && strcmp(one->value, there) == 0)
        return SAME;
    bool told = how == VISIBLE_TOLD || visible_option_find(thing->option)->kind == VISIBLE_POLICY;
    bool automatic = usual && strcmp(usual, "auto") == 0; /* what that comes to is not known */
    return untold || told || automatic || is_agreed_on(thing, one->key) ? DOUBTFUL : DIFFERENT;
}

/* "X" or, of a file that is known, "X (sha256 0123456789ab)". */
static char *value_text(const struct visible_property *property)
{
    const char *digest = property->value + strlen("sha256:");
    if (property->how == VISIBLE_CONTENT && string_starts_with(property->value, "sha256:"))
        return string_format("%s (SHA-256 %.12s)", property->shown, digest);
    if (property->how == VISIBLE_CONTENT && string_starts_with(property->value, "size:"))
        return string_format("%s (%s bytes)", property->shown, strchr(property->value, ':') + 1);
    return strdup(*property->shown ? property->shown : "empty");
}

/* sides[1] may be NULL; first: which host sides[0] is on. */
static bool say(const struct comparison *c, const struct visible_thing *thing,
                const struct visible_property *const sides[2], enum verdict verdict)
{
    const struct visible_property *any = sides[0] ? sides[0] : sides[1];
    const char *usual = visible_default_find(thing->option, thing->label, any->key);
    autofree char *name = name_of(thing, any->key), *texts[2] = {NULL, NULL};
    bool secret = any->how == VISIBLE_SECRET && sides[0] && sides[1];
    const char *more = any->how == VISIBLE_CONTENT && verdict == DOUBTFUL
                           ? ": whether these are the same is not known"
                       : strcmp(any->key, VISIBLE_NETWORK) == 0
                           ? ": QEMU takes no guest from one with headers to one without "
                             "(vnet_hdr=off on -netdev tap does without)"
                           : "";
    for (int i = 0; i < 2; i++)
        texts[i] = sides[i] ? value_text(sides[i])
                   : usual  ? string_format("%s by default", usual)
                            : strdup("not given");
    bool good = name && texts[0] && texts[1] &&
                note(c, verdict, name,
                     secret ? string_format("%s is one on %s and another on %s", name, c->names[0],
                                            c->names[1])
                            : string_format("%s is %s on %s and %s on %s%s", name, texts[0],
                                            c->names[0], texts[1], c->names[1], more));
    free(texts[0]);
    free(texts[1]);
    texts[0] = texts[1] = NULL;
    return good;
}

static bool compare_things(const struct comparison *c, const struct visible_thing *one,
                           const struct visible_thing *other)
{
    for (size_t i = 0; i < one->count; i++) {
        const struct visible_property *own = &one->properties[i];
        const struct visible_property *their = visible_thing_get(other, own->key);
        const struct visible_property *const sides[2] = {own, their};
        enum verdict verdict = judge(c, one, own, their);
        if (verdict != SAME && !say(c, one, sides, verdict))
            return false;
    }
    for (size_t i = 0; i < other->count; i++) {
        const struct visible_property *const sides[2] = {NULL, &other->properties[i]};
        if (visible_thing_get(one, sides[1]->key))
            continue;
        enum verdict verdict = judge(c, other, sides[1], NULL);
        if (verdict != SAME && !say(c, other, sides, verdict))
            return false;
    }
    return true;
}

static bool say_missing(const struct comparison *c, int end, const struct visible_thing *thing)
{
    bool policy = visible_option_find(thing->option)->kind == VISIBLE_POLICY;
    bool agreed = strcmp(thing->option, "global") == 0 && is_agreed_on(thing, "");
    enum verdict verdict = policy || agreed ? DOUBTFUL : DIFFERENT;
    const struct visible_property *first = thing->count > 0 ? &thing->properties[0] : NULL;
    /* An option whose value is all that there is to it. */
    bool valued = first && !*first->key && strcmp(first->shown, "on") != 0;
    autofree char *name = name_of(thing, "");
    return name && note(c, verdict, name,
                        string_format("%s%s%s is on %s and not on %s", name, valued ? " " : "",
                                      valued ? first->shown : "", c->names[end], c->names[!end]));
}

static bool compare_order(const struct comparison *c)
{
    const struct visible_thing *thing = visible_out_of_order(c->lists[0], c->lists[1], c->match[0]);
    autofree char *name = thing ? name_of(thing, "") : NULL;
    if (!thing)
        return true;
    return name && note(c, DIFFERENT, "order",
                        string_format("order: what takes the next free place on its bus does not "
                                      "come in one order on %s and %s, from %s on",
                                      c->names[0], c->names[1], name));
}

static bool compare(const struct comparison *c)
{
    if (!visible_match(c->lists[0], c->lists[1], c->match[0], c->match[1]))
        return false;
    for (int end = 0; end < 2; end++)
        for (size_t i = 0; i < c->lists[end]->count; i++) {
            const struct visible_thing *thing = &c->lists[end]->things[i];
            ssize_t match = c->match[end][i];
            if (match < 0 ? !say_missing(c, end, thing)
                          : end == 0 && !compare_things(c, thing, &c->lists[1]->things[match]))
                return false;
        }
    return compare_order(c);
}

bool visible_compare(const struct visible_list *one, const char *one_name,
                     const struct visible_list *other, const char *other_name,
                     const struct strlist *accept, struct visible_found *out, struct error *err)
{
    autovisiblefound struct visible_found found = {0};
    autofree ssize_t *matches = calloc(one->count + other->count + 2, sizeof(*matches));
    if (!matches)
        return error_no_memory(err);
    const struct comparison c = {.lists = {one, other},
                                 .names = {one_name, other_name},
                                 .accept = accept,
                                 .match = {matches, matches + one->count + 1},
                                 .found = &found};
    bool comparable = one->version == other->version && one->version > 0;
    if (comparable ? !compare(&c)
                   : !strlist_pushf(&found.doubts,
                                    "%s and %s say in different ways what a guest sees of their "
                                    "command lines: nobody has compared them",
                                    one_name, other_name))
        return error_no_memory(err);
    found.compared = comparable;
    *out = found;
    found = (struct visible_found){0};
    return true;
}
