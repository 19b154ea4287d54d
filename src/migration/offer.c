/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What a QEMU has for migrations: asked, sent, and set.
 */
#include <string.h>

#include "base/cleanup.h"
#include "migration/settings.h"

#define COMMAND_MS 10000
#define NAMES_MAX 256 /* capabilities or parameters of a peer; QEMU 10.0 has 22 and 30 */
#define NAME_MAX_LENGTH 63
#define TEXT_MAX_LENGTH 255 /* of a parameter */

void migration_offer_free(struct migration_offer *offer)
{
    json_decref(offer->capabilities);
    json_decref(offer->parameters);
    *offer = (struct migration_offer){0};
}

static bool is_name(const char *name)
{
    size_t length = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-_");
    return length > 0 && length <= NAME_MAX_LENGTH && name[length] == '\0';
}

static bool is_setting(const json_t *value)
{
    return json_is_boolean(value) || json_is_integer(value) ||
           json_is_plain(value, TEXT_MAX_LENGTH);
}

/* {"name": "migrate", "meta-type": "command", "arg-type": "150"} and what 150 is. */
static const json_t *find_entity(const json_t *schema, const char *name, const char *meta)
{
    size_t i;
    json_t *entry;
    json_array_foreach(schema, i, entry)
    {
        const char *is = json_string_value(json_object_get(entry, "name"));
        const char *type = json_string_value(json_object_get(entry, "meta-type"));
        if (is && type && strcmp(is, name) == 0 && strcmp(type, meta) == 0)
            return entry;
    }
    return NULL;
}

static bool takes(const json_t *arguments, const char *name)
{
    size_t i;
    json_t *member;
    json_array_foreach(json_object_get(arguments, "members"), i, member)
    {
        const char *is = json_string_value(json_object_get(member, "name"));
        if (is && strcmp(is, name) == 0)
            return true;
    }
    return false;
}

static bool read_schema(const json_t *schema, enum migration_end end, struct migration_offer *offer,
                        struct error *err)
{
    const char *command = end == MIGRATION_SOURCE ? "migrate" : "migrate-incoming";
    const json_t *entry = find_entity(schema, command, "command");
    const char *type = json_string_value(json_object_get(entry, "arg-type"));
    const json_t *arguments = type ? find_entity(schema, type, "object") : NULL;
    offer->uri = takes(arguments, "uri");
    offer->channels = takes(arguments, "channels");
    offer->exit_on_error = takes(arguments, "exit-on-error");
    return offer->uri || offer->channels ||
           error_set(err, STATUS_PROTOCOL, "this QEMU's schema has no %s with an address", command);
}

bool migration_offer_from_replies(const json_t *capabilities, const json_t *parameters,
                                  const json_t *schema, enum migration_end end,
                                  struct migration_offer *out, struct error *err)
{
    automigrationoffer struct migration_offer offer = {.capabilities = json_object(),
                                                       .parameters = json_object()};
    size_t i;
    const char *name;
    json_t *value;
    if (!offer.capabilities || !offer.parameters)
        return error_no_memory(err);
    if (!json_is_array(capabilities) || json_array_size(capabilities) > NAMES_MAX ||
        !json_is_object(parameters) || json_object_size(parameters) > NAMES_MAX)
        return error_set(err, STATUS_PROTOCOL, "QEMU's capabilities of migration are not valid");
    json_array_foreach(capabilities, i, value)
    {
        name = json_string_value(json_object_get(value, "capability"));
        json_t *state = json_object_get(value, "state");
        if (!name || !is_name(name) || !json_is_boolean(state))
            return error_set(err, STATUS_PROTOCOL,
                             "QEMU's capabilities of migration are not valid");
        if (json_object_set(offer.capabilities, name, state) != 0)
            return error_no_memory(err);
    }
    /* Others, like block-bitmap-mapping, are nothing to decide here. */
    json_object_foreach((json_t *)parameters, name, value)
    {
        if (is_name(name) && is_setting(value) &&
            json_object_set(offer.parameters, name, value) != 0)
            return error_no_memory(err);
    }
    if (!read_schema(schema, end, &offer, err))
        return false;
    migration_offer_free(out);
    *out = offer;
    offer = (struct migration_offer){0};
    return true;
}

static bool ask(struct qmp *qmp, const char *command, json_t **reply, struct error *err)
{
    return qmp_execute(qmp, command, NULL, deadline_in_ms(COMMAND_MS), STATUS_PROTOCOL, reply, err);
}

bool migration_offer_read(struct qmp *qmp, enum migration_end end, struct migration_offer *offer,
                          struct error *err)
{
    autojson json_t *capabilities = NULL, *parameters = NULL, *schema = NULL;
    return ask(qmp, "query-migrate-capabilities", &capabilities, err) &&
           ask(qmp, "query-migrate-parameters", &parameters, err) &&
           ask(qmp, "query-qmp-schema", &schema, err) &&
           migration_offer_from_replies(capabilities, parameters, schema, end, offer, err);
}

json_t *migration_offer_to_json(const struct migration_offer *offer)
{
    return json_pack("{s:O, s:O, s:b, s:b, s:b}", "capabilities", offer->capabilities, "parameters",
                     offer->parameters, "uri", offer->uri, "channels", offer->channels,
                     "exit_on_error", offer->exit_on_error);
}

bool migration_offer_from_json(json_t *json, const char *what, struct migration_offer *out,
                               struct error *err)
{
    json_t *capabilities, *parameters, *value;
    const char *name;
    int uri, channels, exit_on_error;
    if (!json_take(json, err, what, "{s:o, s:o, s:b, s:b, s:b}", "capabilities", &capabilities,
                   "parameters", &parameters, "uri", &uri, "channels", &channels, "exit_on_error",
                   &exit_on_error))
        return false;
    if (!json_is_object(capabilities) || json_object_size(capabilities) > NAMES_MAX ||
        !json_is_object(parameters) || json_object_size(parameters) > NAMES_MAX)
        return error_set(err, STATUS_DATA, "%s: capabilities or parameters are not valid", what);
    json_object_foreach(capabilities, name, value)
    {
        if (!is_name(name) || !json_is_boolean(value))
            return error_set(err, STATUS_DATA, "%s: a capability is not valid", what);
    }
    json_object_foreach(parameters, name, value)
    {
        if (!is_name(name) || !is_setting(value))
            return error_set(err, STATUS_DATA, "%s: a parameter is not valid", what);
    }
    if (!uri && !channels)
        return error_set(err, STATUS_DATA, "%s: no way to give an address", what);
    migration_offer_free(out);
    *out = (struct migration_offer){.capabilities = json_incref(capabilities),
                                    .parameters = json_incref(parameters),
                                    .uri = uri,
                                    .channels = channels,
                                    .exit_on_error = exit_on_error};
    return true;
}

json_t *migration_wishes_to_json(const struct migration_wishes *wishes)
{
    return json_pack("{s:I, s:I, s:i, s:b, s:b, s:b}", "bandwidth", (json_int_t)wishes->bandwidth,
                     "downtime_ms", (json_int_t)wishes->downtime_ms, "multifd", wishes->multifd,
                     "postcopy", wishes->postcopy, "auto_converge", wishes->auto_converge, "direct",
                     wishes->direct);
}

bool migration_wishes_from_json(json_t *json, const char *what, struct migration_wishes *wishes,
                                struct error *err)
{
    json_int_t bandwidth, downtime, multifd;
    int postcopy, converge, direct;
    if (!json_take(json, err, what, "{s:I, s:I, s:I, s:b, s:b, s:b}", "bandwidth", &bandwidth,
                   "downtime_ms", &downtime, "multifd", &multifd, "postcopy", &postcopy,
                   "auto_converge", &converge, "direct", &direct))
        return false;
    if (bandwidth < 0 || downtime < 0 || multifd < 0 || multifd > INT16_MAX)
        return error_set(err, STATUS_DATA, "%s: a number is out of range", what);
    *wishes = (struct migration_wishes){.bandwidth = bandwidth,
                                        .downtime_ms = downtime,
                                        .multifd = (int)multifd,
                                        .postcopy = postcopy,
                                        .auto_converge = converge,
                                        .direct = direct};
    return true;
}

static bool set(struct qmp *qmp, const char *command, json_t *arguments, const char *member,
                struct error *err)
{
    size_t size =
        member ? json_array_size(json_object_get(arguments, member)) : json_object_size(arguments);
    return size == 0 || qmp_execute(qmp, command, json_incref(arguments),
                                    deadline_in_ms(COMMAND_MS), STATUS_INCOMPATIBLE, NULL, err);
}

/* Does it hold? */
static bool check_set(struct qmp *qmp, const json_t *capabilities, json_t *parameters,
                      struct error *err)
{
    autojson json_t *now = NULL, *values = NULL;
    size_t i;
    const char *name;
    json_t *wanted;
    if (!ask(qmp, "query-migrate-capabilities", &now, err) ||
        !ask(qmp, "query-migrate-parameters", &values, err))
        return false;
    json_array_foreach(json_object_get(capabilities, "capabilities"), i, wanted)
    {
        size_t k = 0;
        while (k < json_array_size(now) && !json_equal(json_array_get(now, k), wanted))
            k++;
        if (k == json_array_size(now))
            return error_set(err, STATUS_PROTOCOL,
                             "%s was set, and is not so: does somebody else use its monitor?",
                             json_string_value(json_object_get(wanted, "capability")));
    }
    json_object_foreach(parameters, name, wanted)
    {
        if (!json_equal(json_object_get(values, name), wanted))
            return error_set(err, STATUS_PROTOCOL,
                             "%s was set, and is not so: does somebody else use its monitor?",
                             name);
    }
    return true;
}

static bool set_all(struct qmp *qmp, json_t *capabilities, json_t *parameters, struct error *err)
{
    return set(qmp, "migrate-set-capabilities", capabilities, "capabilities", err) &&
           set(qmp, "migrate-set-parameters", parameters, NULL, err) &&
           check_set(qmp, capabilities, parameters, err);
}

bool migration_side_apply(struct qmp *qmp, const struct migration_side *side, struct error *err)
{
    return set_all(qmp, side->capabilities, side->parameters, err);
}

bool migration_side_undo(struct qmp *qmp, const struct migration_side *side, struct error *err)
{
    return set_all(qmp, side->undo_capabilities, side->undo_parameters, err);
}

json_t *migration_arguments(const struct migration_side *side, const char *path_or_host,
                            uint16_t port)
{
    bool v6 = port > 0 && strchr(path_or_host, ':');
    autofree char *number = string_format("%u", port);
    autofree char *uri = port > 0
                             ? string_format(v6 ? "tcp:[%s]:%u" : "tcp:%s:%u", path_or_host, port)
                             : string_format("unix:%s", path_or_host);
    if (!number || !uri)
        return NULL;
    autojson json_t *arguments = NULL;
    if (side->channels) {
        /* A path may have any character: the structured form needs no quoting. */
        json_t *address = port > 0 ? json_pack("{s:s, s:s, s:s, s:s}", "transport", "socket",
                                               "type", "inet", "host", path_or_host, "port", number)
                                   : json_pack("{s:s, s:s, s:s}", "transport", "socket", "type",
                                               "unix", "path", path_or_host);
        arguments =
            json_pack("{s:[{s:s, s:o}]}", "channels", "channel-type", "main", "addr", address);
    } else {
        arguments = json_pack("{s:s}", "uri", uri);
    }
    if (!arguments ||
        (side->exit_on_error && json_object_set_new(arguments, "exit-on-error", json_false()) != 0))
        return NULL;
    return STEAL(arguments);
}
