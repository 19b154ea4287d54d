/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "host/profile.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/digest.h"
#include "base/file.h"
#include "base/paths.h"
#include "cpu/feature_table.h"
#include "host/backends.h"
#include "host/backends_kept.h"
#include "host/system.h"

void profile_free(struct profile *profile)
{
    free(profile->qemu_version);
    free(profile->machine);
    free(profile->kernel_irqchip);
    machine_list_free(&profile->machines);
    cpu_offer_free(&profile->offer);
    device_offer_free(&profile->devices);
    *profile = (struct profile){0};
}

/* The serial of a profile whose content has this digest: one more than that of the last different
 * one. */
static bool next_serial(const char *state_folder, const char *digest, int64_t *serial,
                        struct error *err)
{
    autofree char *path = path_join(state_folder, "profile-serial.json", "");
    autofree char *lock_path = path_join(state_folder, "profile-serial.lock", "");
    if (!path || !lock_path)
        return error_no_memory(err);
    if (!folder_make(state_folder, 0700, err))
        return false;
    autoclose int lock = file_lock(lock_path, true, NULL, err);
    if (lock < 0)
        return false;
    autofree char *old = NULL;
    size_t length;
    json_int_t last = 0;
    if (!file_read(path, 4096, true, &old, &length, err))
        return false;
    if (old) {
        const char *last_digest;
        autojson json_t *json = json_parse_strict(old, length, 4096, err);
        if (!json || !json_take(json, err, "the last serial", "{s:s, s:I}", "digest", &last_digest,
                                "serial", &last)) {
            error_wrap(err, "%s", path);
            return error_advise(err, "put it back from a copy, or remove it: a peer that has this "
                                     "host's last profile then says what to remove there");
        }
        if (strcmp(last_digest, digest) == 0) {
            *serial = last;
            return true;
        }
    }
    autojson json_t *made = json_pack("{s:s, s:I}", "digest", digest, "serial", last + 1);
    autofree char *line = made ? json_to_text(made) : NULL;
    if (!line)
        return error_no_memory(err);
    if (!file_write_atomic(path, line, strlen(line), 0600, err))
        return false;
    *serial = last + 1;
    return true;
}

static json_t *describe(const struct config *config, const struct qemu *qemu, const char *files,
                        const struct probe_parameters *parameters, struct cpu_offer *offer,
                        const struct device_offer *devices, const struct host_view *view,
                        struct error *err)
{
    if (!(offer->host = strdup(config->host_name)) ||
        !featureset_copy(&offer->denied, &config->deny) ||
        !featureset_copy(&offer->required, &config->require)) {
        error_no_memory(err);
        return NULL;
    }
    if (!system_physical_features(&offer->physical, err))
        return NULL;
    offer->physical_known = true;
    json_t *content =
        json_pack("{s:i, s:i, s:s, s:O, s:O, s:{s:s, s:s, s:s}, s:{s:s, s:s, s:s, s:b}, s:o, s:o}",
                  "version", PROFILE_VERSION, "table", FEATURE_TABLE_VERSION, "boot_id",
                  view->boot_id, "kernel", view->kernel, "processor", view->processor, "qemu",
                  "version", qemu->version, "package", qemu->package, "files", files, "probe",
                  "machine", parameters->machine, "accel", parameters->accel, "kernel_irqchip",
                  parameters->kernel_irqchip ? parameters->kernel_irqchip : "", "cpu_pm",
                  (int)parameters->cpu_pm, "machines", machine_list_to_json(&qemu->machines), "cpu",
                  cpu_offer_to_json(offer));
    if (!content || json_object_set_new(content, "devices", device_offer_to_json(devices)) != 0) {
        json_decref(content);
        error_no_memory(err);
        return NULL;
    }
    return content;
}

static bool digest_content(const json_t *content, char hex[DIGEST_HEX_SIZE], struct error *err)
{
    autofree char *text = json_to_text(content);
    return text ? digest_hex(text, strlen(text), hex, err) : error_no_memory(err);
}

json_t *profile_make(const struct config *config, const char *state_folder, const struct qemu *qemu,
                     const struct probe_parameters *parameters, char **model,
                     char host[DIGEST_HEX_SIZE], struct error *err)
{
    autocpuoffer struct cpu_offer offer = {0};
    autodeviceoffer struct device_offer devices = {0};
    autohostview struct host_view host_now = {0};
    char files[DIGEST_HEX_SIZE], digest[DIGEST_HEX_SIZE];
    const struct host_view *view = host_view_is_fresh(&qemu->view) ? &qemu->view : &host_now;
    if (view == &host_now && !host_view_read(&host_now, err))
        return NULL;
    if (!qemu_probe_cpu(qemu, parameters, state_folder, model, &offer, &devices, files, view,
                        err) ||
        (state_folder && !backends_take_kept(state_folder, &devices, err)) ||
        !backends_examine(&devices, err) ||
        (state_folder && !backends_keep(state_folder, &devices, err)))
        return NULL;
    autojson json_t *content =
        describe(config, qemu, files, parameters, &offer, &devices, view, err);
    int64_t serial = 0, now = time(NULL);
    if (!content || !digest_content(content, digest, err) ||
        (state_folder && !next_serial(state_folder, digest, &serial, err)))
        return NULL;
    if (json_object_set_new(content, "serial", json_integer(serial)) != 0 ||
        json_object_set_new(content, "issued", json_integer(now)) != 0 ||
        json_object_set_new(content, "expires", json_integer(now + PROFILE_LIFETIME_S)) != 0) {
        error_no_memory(err);
        return NULL;
    }
    if (host)
        memcpy(host, *files ? digest : "", *files ? sizeof(digest) : 1);
    return STEAL(content);
}

static bool copy_text(char **place, const char *text)
{
    return (*place = strdup(text)) != NULL;
}

bool profile_read(json_t *payload, struct profile *out, struct error *err)
{
    autoprofile struct profile profile = {0};
    const char *key = "", *boot_id, *qemu_version, *package, *files, *machine, *accel, *irqchip;
    json_t *kernel, *processor, *machines, *cpu, *devices = NULL;
    json_int_t version, table, serial, issued, expires;
    int cpu_pm, imported = 0;
    if (!json_is_integer(json_object_get(payload, "version")))
        return error_set(err, STATUS_DATA, "the profile has no version");
    version = json_integer_value(json_object_get(payload, "version"));
    if (version < 1 || version > PROFILE_VERSION)
        return error_set(err, STATUS_DATA, "the profile has version %lld, not %d",
                         (long long)version, PROFILE_VERSION);
    if (!json_take(payload, err, "the profile",
                   "{s?s, s?b, s:I, s:I, s:s, s:I, s:I, s:I, s:o, s:o, s:{s:s, s:s, s:s}, "
                   "s:{s:s, s:s, s:s, s:b}, s:o, s:o, s?o}",
                   "key", &key, "imported", &imported, "version", &version, "table", &table,
                   "boot_id", &boot_id, "serial", &serial, "issued", &issued, "expires", &expires,
                   "kernel", &kernel, "processor", &processor, "qemu", "version", &qemu_version,
                   "package", &package, "files", &files, "probe", "machine", &machine, "accel",
                   &accel, "kernel_irqchip", &irqchip, "cpu_pm", &cpu_pm, "machines", &machines,
                   "cpu", &cpu, "devices", &devices))
        return false;
    if (table < 0 || table > 1000000 || serial < 0 || issued < 0 || expires < issued ||
        strlen(qemu_version) > 32 || (*files && !digest_is_hex(files)) ||
        !name_is_machine(machine) || (*irqchip && !name_is_feature(irqchip)))
        return error_set(err, STATUS_DATA, "the profile is not valid");
    if (!cpu_offer_from_json(cpu, &profile.offer, err) ||
        !machine_list_from_json(machines, &profile.machines, err) ||
        (devices && !device_offer_from_json(devices, &profile.devices, err)))
        return error_wrap(err, "the profile");
    if (strcmp(accel, profile.offer.accel) != 0)
        return error_set(err, STATUS_DATA, "the profile names two accelerators");
    if (!copy_text(&profile.qemu_version, qemu_version) || !copy_text(&profile.machine, machine) ||
        !copy_text(&profile.kernel_irqchip, irqchip))
        return error_no_memory(err);
    profile.table = (unsigned)table;
    profile.serial = serial;
    profile.issued = issued;
    profile.expires = expires;
    profile.cpu_pm = cpu_pm;
    profile.imported = imported;
    profile_free(out);
    *out = profile;
    profile = (struct profile){0};
    return true;
}

bool profile_check(const struct profile *profile, int64_t now, struct error *err)
{
    if (profile->table != FEATURE_TABLE_VERSION)
        return error_set(
            err, STATUS_PROTOCOL,
            "%s computes with feature table %u, this host with %d: use the same version "
            "of qemu-migrate-launch on all hosts",
            profile->offer.host, profile->table, FEATURE_TABLE_VERSION);
    if (profile->devices.table && profile->devices.table != BACKEND_TABLE_VERSION)
        return error_set(
            err, STATUS_PROTOCOL,
            "%s computes with device table %u, this host with %d: use the same version "
            "of qemu-migrate-launch on all hosts",
            profile->offer.host, profile->devices.table, BACKEND_TABLE_VERSION);
    if (profile->expires <= now)
        return error_set(err, STATUS_NOT_TRUSTED,
                         "the profile of %s expired at %lld, it is %lld here (Unix seconds)",
                         profile->offer.host, (long long)profile->expires, (long long)now);
    if (profile->issued > now + CLOCK_TOLERANCE_S)
        return error_set(err, STATUS_NOT_TRUSTED,
                         "the profile of %s was made at %lld, it is only %lld here (Unix seconds): "
                         "set the clocks right",
                         profile->offer.host, (long long)profile->issued, (long long)now);
    return true;
}
