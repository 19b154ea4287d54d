/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "host/profile.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "cli/command.h"
#include "peer/envelope.h"
#include "peer/identity.h"
#include "peer/trust.h"

struct profile_options {
    const char *qemu, *accel, *machine, *output, *verify, *from_qmp;
    bool is_unsigned;
};

static bool set_qemu(void *target, const char *value, struct error *err)
{
    ((struct profile_options *)target)->qemu = value;
    return true;
}

static bool set_accel(void *target, const char *value, struct error *err)
{
    ((struct profile_options *)target)->accel = value;
    return strcmp(value, "kvm") == 0 || strcmp(value, "tcg") == 0 ||
           error_set(err, STATUS_USAGE, "--accel is kvm or tcg");
}

static bool set_machine(void *target, const char *value, struct error *err)
{
    ((struct profile_options *)target)->machine = value;
    return name_is_machine(value) ||
           error_set(err, STATUS_USAGE, "--machine: '%.80s' is not a machine type", value);
}

static bool set_output(void *target, const char *value, struct error *err)
{
    ((struct profile_options *)target)->output = value;
    return true;
}

static bool set_verify(void *target, const char *value, struct error *err)
{
    ((struct profile_options *)target)->verify = value;
    return true;
}

static bool set_from_qmp(void *target, const char *value, struct error *err)
{
    ((struct profile_options *)target)->from_qmp = value;
    return true;
}

static bool set_unsigned(void *target, const char *value, struct error *err)
{
    ((struct profile_options *)target)->is_unsigned = true;
    return true;
}

const struct option_spec profile_options[] = {
    {"qemu", 0, ARGUMENT_REQUIRED, set_qemu},
    {"accel", 0, ARGUMENT_REQUIRED, set_accel},
    {"machine", 0, ARGUMENT_REQUIRED, set_machine},
    {"output", 'o', ARGUMENT_REQUIRED, set_output},
    {"verify", 0, ARGUMENT_REQUIRED, set_verify},
    {"from-qmp", 0, ARGUMENT_REQUIRED, set_from_qmp},
    {"unsigned", 0, ARGUMENT_NONE, set_unsigned},
    {NULL, 0, ARGUMENT_NONE, NULL},
};

/* KVM where it can be used, as a person would choose. */
static const char *default_accel(void)
{
    return qemu_choose_accel((const char *const[]){"kvm", "tcg"}, 2, NULL);
}

static json_t *make_payload(const struct context *context, const struct profile_options *options,
                            struct error *err)
{
    autoconfig struct config config = {0};
    autoqemu struct qemu qemu = {0};
    if (!config_load(context->paths.config, context->config_file, &config, err))
        return NULL;
    const char *binary = options->qemu                    ? options->qemu
                         : config.qemu_binaries.count > 0 ? config.qemu_binaries.items[0]
                                                          : "qemu-system-x86_64";
    const char *state = options->is_unsigned ? NULL : context->paths.state;
    if (!qemu_open_cached(binary, state, &qemu, err))
        return NULL;
    const struct machine_type *type = machine_list_find(&qemu.machines, options->machine);
    if (!type) {
        error_set(err, STATUS_CONFIG, "%s has no machine type %s", qemu.binary.path,
                  options->machine ? options->machine : "by default");
        return NULL;
    }
    const char *accel = options->accel ? options->accel : default_accel();
    if (!qemu_choose_accel(&accel, 1, err))
        return NULL;
    struct probe_parameters parameters = {.machine = type->name, .accel = accel};
    return profile_make(&config, state, &qemu, &parameters, NULL, NULL, err);
}

/* Recorded replies are nobody's word: such a profile is not signed. */
static char *import_text(const char *path, struct error *err)
{
    autofree char *text = NULL;
    size_t length;
    if (!file_read(path, PROFILE_IMPORT_SIZE_MAX, false, &text, &length, err))
        return NULL;
    autojson json_t *payload = profile_import(text, length, err);
    if (!payload) {
        error_wrap(err, "%s", path);
        error_advise(err, "qemu-migrate-launch-profile(1) says what has to be in it");
        return NULL;
    }
    char *imported = json_to_text(payload);
    if (!imported)
        error_no_memory(err);
    return imported;
}

static char *make_text(const struct context *context, const struct profile_options *options,
                       struct error *err)
{
    autoidentity struct identity *identity = NULL;
    if (!options->is_unsigned && !(identity = identity_load(context->paths.config, err)))
        return NULL;
    autojson json_t *payload = make_payload(context, options, err);
    char *text = NULL;
    if (!payload)
        return NULL;
    if (identity)
        return envelope_sign(identity, PROFILE_TYPE, payload, &text, err) ? text : NULL;
    if (!(text = json_to_text(payload)))
        error_no_memory(err);
    return text;
}

static bool put_good(const struct profile *profile, const struct trust_entry *entry,
                     const char *pin, struct error *err)
{
    autofree char *line =
        string_format("good: profile of %s, signed by %s (%s), serial %lld", profile->offer.host,
                      entry->name, pin, (long long)profile->serial);
    return line ? put_line(line, err) : error_no_memory(err);
}

/* Says who signed a stored profile, and whether it counts here and now. */
static bool verify(const struct context *context, const char *file, struct error *err)
{
    autofree char *text = NULL;
    size_t length;
    autoenvelope struct envelope envelope = {0};
    autoprofile struct profile profile = {0};
    autotrust struct trust trust = {0};
    if (!file_read(file, PROFILE_SIZE_MAX * 2, false, &text, &length, err))
        return false;
    if (!envelope_open(text, length, PROFILE_SIZE_MAX * 2, PROFILE_TYPE, &envelope, err) ||
        !profile_read(envelope.payload, &profile, err)) {
        error_wrap(err, "%s", file);
        return error_advise(err, PROFILE_ADVICE);
    }
    if (!trust_load(context->paths.config, &trust, err))
        return false;
    const struct trust_entry *entry = trust_find_pin(&trust, envelope.pin);
    if (!entry)
        return error_set(
            err, STATUS_NOT_TRUSTED,
            "%s: rightly signed, by %s, a key that is not trusted here: qemu-migrate-launch "
            "trust add NAME %s",
            file, envelope.pin, envelope.pin);
    if (trust_entry_is_expired(entry, time(NULL)))
        return error_set(err, STATUS_NOT_TRUSTED,
                         "%s: the trust in %s has expired: 'trust add %s %s' renews it", file,
                         entry->name, entry->name, envelope.pin);
    if (!profile_check(&profile, time(NULL), err))
        return error_wrap(err, "%s", file);
    return context->json ? put_json(json_pack("{s:s, s:s, s:s, s:I, s:I, s:I}", "host",
                                              profile.offer.host, "peer", entry->name, "pin",
                                              envelope.pin, "serial", (json_int_t)profile.serial,
                                              "issued", (json_int_t)profile.issued, "expires",
                                              (json_int_t)profile.expires),
                                    err)
                         : put_good(&profile, entry, envelope.pin, err);
}

bool command_profile(struct context *context, int count, char **words, struct error *err)
{
    struct profile_options options = {0};
    struct operands operands;
    if (!command_options(context, count, words, profile_options, &options, &operands, err))
        return false;
    if (context->help || context->version)
        return true;
    if (operands.count > 0 || operands.rest_count >= 0)
        return error_set(err, STATUS_USAGE, "profile takes options only");
    if (options.verify)
        return verify(context, options.verify, err);
    autofree char *text =
        options.from_qmp ? import_text(options.from_qmp, err) : make_text(context, &options, err);
    if (!text)
        return false;
    if (!options.output)
        return put_line(text, err);
    autofree char *line = string_format("%s\n", text);
    return line ? file_write_output(options.output, line, strlen(line), 0644, err)
                : error_no_memory(err);
}
