/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/cmd_agreement.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "base/cleanup.h"
#include "cli/command.h"
#include "cli/layout.h"
#include "vm/record.h"

struct agreement_command {
    bool cpuid;
};

static bool set_cpuid(void *target, const char *value, struct error *err)
{
    ((struct agreement_command *)target)->cpuid = true;
    return true;
}

const struct option_spec agreement_options[] = {
    {"cpuid", 0, ARGUMENT_NONE, set_cpuid},
    {NULL, 0, ARGUMENT_NONE, NULL},
};

bool open_agreement(const struct context *context, const char *vm, enum status missing,
                    struct agreement *agreement, char digest[DIGEST_HEX_SIZE], struct error *err)
{
    autojson json_t *document = NULL;
    autofree char *path = string_format("%s/agreements/%s.json", context->paths.state, vm);
    autoagreement struct agreement found = {0};
    if (!path)
        return error_no_memory(err);
    if (!agreement_load(context->paths.state, vm, &document, err))
        return false; /* it names the file */
    if (!document)
        return error_set(err, missing,
                         "there is no agreement for %s here: %s does not exist ('agreement list' "
                         "shows those there are)",
                         vm, path);
    if (!agreement_document_open(document, &found, digest, err)) {
        error_wrap(err, "%s", path);
        return error_advise(err, "put it back from a copy, or launch %s with --renegotiate", vm);
    }
    if (strcmp(found.vm, vm) != 0)
        return error_set(err, STATUS_DATA, "%s: it is the agreement of %s", path, found.vm);
    agreement_free(agreement);
    *agreement = found;
    found = (struct agreement){0};
    return true;
}

#define HOSTS_SHOWN 6

/* "a,b,c", of many "a,b,c,d,e and 9 more". */
static char *join_hosts(const struct agreement *agreement)
{
    autostrlist struct strlist hosts = {0};
    size_t count = agreement->party_count;
    size_t shown = count > HOSTS_SHOWN ? HOSTS_SHOWN - 1 : count;
    for (size_t i = 0; i < shown; i++)
        if (!strlist_push(&hosts, agreement->parties[i].host))
            return NULL;
    autofree char *names = strlist_join(&hosts, ",");
    return !names || shown == count ? STEAL(names)
                                    : string_format("%s and %zu more", names, count - shown);
}

/* The VMs that have an agreement here, sorted. Other files in the folder are not ours to judge. */
static int is_agreement(const struct dirent *entry)
{
    static const char suffix[] = ".json";
    size_t length = strlen(entry->d_name), end = strlen(suffix);
    char vm[NAME_MAX + 1] = "";
    if (length <= end || strcmp(entry->d_name + length - end, suffix) != 0)
        return false;
    memcpy(vm, entry->d_name, length - end);
    return name_is_vm(vm);
}

static int compare_entries(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static bool find_vms(const struct context *context, struct strlist *vms, struct error *err)
{
    autofree char *folder = path_join(context->paths.state, "agreements", "");
    struct dirent **entries = NULL;
    if (!folder)
        return error_no_memory(err);
    int count = scandir(folder, &entries, is_agreement, compare_entries);
    if (count < 0 && errno != ENOENT)
        return error_set_errno(err, STATUS_CONFIG, errno, "%s", folder);
    bool good = true;
    for (int i = 0; i < count; i++) {
        *strrchr(entries[i]->d_name, '.') = '\0';
        good = good && strlist_push(vms, entries[i]->d_name);
        free(entries[i]);
    }
    free(entries);
    return good || error_no_memory(err);
}

/* A line of `list`: a cell a column, or of a damaged agreement the VM and what is wrong. */
#define COLUMNS 7

/* Where the VM is, as far as is known here: "here", "b", "b->here", "here->b", or "-". */
static char *where(const struct vm_record *record)
{
    if (!record->vm)
        return strdup("-");
    bool arrives = record->place == PLACE_TOLD && record->role == ROLE_DESTINATION;
    switch (record->place) {
    case PLACE_HERE:
        return strdup("here");
    case PLACE_MOVED:
    case PLACE_ELSEWHERE:
        return strdup(record->peer);
    case PLACE_INCOMING:
        arrives = true;
        break;
    default:
        break;
    }
    return arrives ? string_format("%s->here", record->peer)
                   : string_format("here->%s", record->peer);
}

static bool make_row(const struct agreement *agreement, const struct vm_record *record,
                     struct strlist *row)
{
    char when[32];
    const char *model = agreement->baseline.model;
    autofree char *hosts = join_hosts(agreement);
    autofree char *place = where(record);
    agreement_format_time(agreement, when, sizeof(when));
    return hosts && place && strlist_push(row, agreement->vm) &&
           strlist_push(row, agreement->machine) && strlist_push(row, model ? model : "-") &&
           strlist_push(row, when) && strlist_push(row, agreement->proof.made ? "yes" : "no") &&
           strlist_push(row, place) && strlist_push(row, hosts);
}

static json_t *row_to_json(const struct agreement *agreement, const char *digest,
                           const struct vm_record *record)
{
    autojson json_t *hosts = json_array();
    for (size_t i = 0; i < agreement->party_count; i++)
        if (json_array_append_new(hosts, json_string(agreement->parties[i].host)) != 0)
            return NULL;
    return json_pack("{s:s, s:s, s:s, s:s?, s:O, s:I, s:b, s:s?, s:s?}", "vm", agreement->vm,
                     "digest", digest, "machine", agreement->machine, "model",
                     agreement->baseline.model, "hosts", hosts, "issued",
                     (json_int_t)agreement->issued, "proven", (int)agreement->proof.made, "place",
                     record->vm ? vm_place_name(record->place) : NULL, "peer",
                     record->vm && *record->peer ? record->peer : NULL);
}

/* One VM as a row and as JSON. *damaged: its file is not an agreement, which is said there. */
static bool look_at(const struct context *context, const char *vm, struct strlist *row,
                    json_t *array, bool *damaged, struct error *err)
{
    autoagreement struct agreement agreement = {0};
    autovmrecord struct vm_record record = {0};
    struct error wrong = ERROR_INIT;
    char digest[DIGEST_HEX_SIZE];
    *damaged = !open_agreement(context, vm, STATUS_DATA, &agreement, digest, &wrong) ||
               !vm_record_load(&context->paths, vm, &record, &wrong);
    if (*damaged && wrong.status == STATUS_INTERNAL)
        return error_set(err, wrong.status, "%s", wrong.message);
    bool good = *damaged ? strlist_push(row, vm) && strlist_push(row, wrong.message)
                         : make_row(&agreement, &record, row);
    json_t *json = *damaged ? json_pack("{s:s, s:s}", "vm", vm, "error", wrong.message)
                            : row_to_json(&agreement, digest, &record);
    return (json_array_append_new(array, json) == 0 && good) || error_no_memory(err);
}

static bool fill_list(const struct context *context, const struct strlist *vms,
                      struct strlist *rows, json_t *array, size_t *damaged, struct error *err)
{
    static const char *const titles[COLUMNS] = {"VM",     "MACHINE", "MODEL", "ISSUED",
                                                "PROVEN", "WHERE",   "HOSTS"};
    for (size_t i = 0; i < COLUMNS; i++)
        if (!strlist_push(&rows[0], titles[i]))
            return error_no_memory(err);
    for (size_t i = 0; i < vms->count; i++) {
        bool bad;
        if (!look_at(context, vms->items[i], &rows[i + 1], array, &bad, err))
            return false;
        *damaged += bad;
    }
    return true;
}

static bool list(const struct context *context, struct error *err)
{
    autostrlist struct strlist vms = {0};
    autojson json_t *array = json_array();
    size_t damaged = 0;
    if (!find_vms(context, &vms, err))
        return false;
    struct strlist *rows = calloc(vms.count + 1, sizeof(*rows));
    bool good = rows ? fill_list(context, &vms, rows, array, &damaged, err) : error_no_memory(err);
    if (good && context->json)
        good = put_json(json_incref(array), err);
    else if (good && vms.count > 0)
        good = put_table(rows, vms.count + 1, err);
    for (size_t i = 0; rows && i <= vms.count; i++)
        strlist_free(&rows[i]);
    free(rows);
    if (good && damaged > 0)
        return error_set(err, STATUS_DATA,
                         "%zu of %zu agreements cannot be read: launch these VMs with "
                         "--renegotiate, or put their files back from a copy",
                         damaged, vms.count);
    return good;
}

static bool put_guest_table(const struct context *context, const struct agreement *agreement,
                            struct error *err)
{
    if (!agreement->proof.made)
        return error_set(err, STATUS_DATA,
                         "the agreement about %s was made without a proof: it has no table",
                         agreement->vm);
    if (context->json)
        return put_json(guest_table_to_json(&agreement->proof.table), err);
    autofree char *text = guest_table_to_text(&agreement->proof.table);
    if (!text)
        return error_no_memory(err);
    text[strlen(text) - 1] = '\0'; /* put_line ends the last line */
    return put_line(text, err);
}

static bool show(const struct context *context, const char *vm, bool cpuid, struct error *err)
{
    autoagreement struct agreement agreement = {0};
    char digest[DIGEST_HEX_SIZE];
    if (!open_agreement(context, vm, STATUS_USAGE, &agreement, digest, err))
        return false;
    if (cpuid)
        return put_guest_table(context, &agreement, err);
    if (!context->json)
        return agreement_print(&agreement, digest, err);
    json_t *json = agreement_to_json(&agreement);
    if (!json || json_object_set_new(json, "digest", json_string(digest)) != 0) {
        json_decref(json);
        return error_no_memory(err);
    }
    return put_json(json, err);
}

bool command_agreement(struct context *context, int count, char **words, struct error *err)
{
    struct agreement_command command = {.cpuid = false};
    struct operands operands;
    if (!command_options(context, count, words, agreement_options, &command, &operands, err))
        return false;
    if (context->help || context->version)
        return true;
    const char *action = operands.count > 0 ? operands.words[0] : "list";
    const char *vm =
        operands.count == 2 && name_is_vm(operands.words[1]) ? operands.words[1] : NULL;
    if (operands.rest_count < 0 && strcmp(action, "list") == 0 && operands.count <= 1 &&
        !command.cpuid)
        return list(context, err);
    if (operands.rest_count < 0 && strcmp(action, "show") == 0 && vm)
        return show(context, vm, command.cpuid, err);
    if (operands.rest_count < 0 && strcmp(action, "check") == 0 && vm && !command.cpuid)
        return agreement_check(context, vm, err);
    return error_set(err, STATUS_USAGE, "agreement: list, show VM [--cpuid], or check VM");
}
