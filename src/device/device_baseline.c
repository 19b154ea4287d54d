/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "device/device_baseline.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "device/device_report.h"

void device_baseline_free(struct device_baseline *baseline)
{
    for (size_t i = 0; i < baseline->class_count; i++) {
        free(baseline->classes[i].name);
        strlist_free(&baseline->classes[i].off);
        strlist_free(&baseline->classes[i].kept);
    }
    free(baseline->classes);
    for (size_t i = 0; i < baseline->backend_count; i++)
        free(baseline->backends[i].name);
    free(baseline->backends);
    *baseline = (struct device_baseline){0};
}

/* Does the host, whatever others do, give the property? Unless it is known to lack it: yes. */
static bool gives(const struct device_host *host, const struct device_property *property,
                  const struct strlist *uses, struct device_lack *lack)
{
    size_t count;
    const struct device_need *needs = device_needs(&count);
    const struct class_offer *class = device_offer_find_class(host->offer, property->class);
    *lack = (struct device_lack){.cause = DEVICE_QEMU};
    if (class && !strlist_contains(&class->properties, property->name))
        return false;
    for (size_t i = 0; i < count; i++) {
        if (!device_need_is_of(&needs[i], property) || !strlist_contains(uses, needs[i].backend))
            continue;
        const struct backend_offer *backend =
            device_offer_find_backend(host->offer, needs[i].backend);
        if (backend && backend->state == BACKEND_KNOWN &&
            !strlist_contains(&backend->features, needs[i].feature)) {
            *lack = (struct device_lack){
                .cause = DEVICE_KERNEL, .backend = needs[i].backend, .feature = needs[i].feature};
            return false;
        }
    }
    return true;
}

static bool has(const struct device_offer *offer, const struct device_property *property)
{
    const struct class_offer *class = device_offer_find_class(offer, property->class);
    return class && strlist_contains(&class->properties, property->name);
}

/* Its QEMU has it, and the machine type switches it off there. */
static bool is_compat_off(const struct device_offer *offer, const struct device_property *property)
{
    return has(offer, property) && device_offer_compat_off(offer, property->class, property->name);
}

/* What all hosts together say of one property. */
struct verdict {
    bool off;         /* somebody cannot give it */
    bool given;       /* somebody's QEMU has it, not off by its machine type, nothing missing */
    bool compat_off;  /* by the machine type, in a QEMU that can be asked */
    bool compat_on;   /* the same, and it is not switched off */
    bool class_known; /* somebody's QEMU has the class */
};

static struct verdict judge(const struct device_host *hosts, size_t count,
                            const struct device_property *property, const struct strlist *uses)
{
    struct verdict verdict = {0};
    for (size_t i = 0; i < count; i++) {
        const struct device_offer *offer = hosts[i].offer;
        struct device_lack lack;
        bool off = is_compat_off(offer, property);
        bool can = gives(&hosts[i], property, uses, &lack);
        verdict.class_known |= device_offer_find_class(offer, property->class) != NULL;
        verdict.off |= !can;
        verdict.given |= has(offer, property) && can && !off;
        verdict.compat_off |= off;
        verdict.compat_on |= has(offer, property) && offer->compat_known && !off;
    }
    verdict.off |= verdict.compat_off && verdict.compat_on;
    return verdict;
}

/* Somebody has looked at every backend in use that the property depends on; and where only a kernel
 * can give it (what a tap is asked for), there is a backend in use. */
static bool is_founded(const struct device_host *hosts, size_t count,
                       const struct device_property *property, const struct strlist *uses)
{
    size_t need_count;
    const struct device_need *needs = device_needs(&need_count);
    bool by_tap = false, behind = false;
    for (size_t i = 0; i < need_count; i++) {
        bool known = false;
        if (!device_need_is_of(&needs[i], property))
            continue;
        by_tap |= strcmp(needs[i].backend, "tun") == 0;
        if (!strlist_contains(uses, needs[i].backend))
            continue;
        behind = true;
        for (size_t h = 0; h < count; h++) {
            const struct backend_offer *backend =
                device_offer_find_backend(hosts[h].offer, needs[i].backend);
            known |= backend && backend->state == BACKEND_KNOWN;
        }
        if (!known)
            return false;
    }
    return behind || !by_tap;
}

static bool report_loss(const struct device_host *hosts, size_t count,
                        const struct device_property *property, const struct strlist *uses,
                        struct device_report *report, struct error *err)
{
    struct device_loss *loss = device_report_add_loss(report, property);
    if (!loss)
        return error_no_memory(err);
    for (size_t i = 0; i < count; i++) {
        struct device_lack lack;
        bool can = gives(&hosts[i], property, uses, &lack);
        lack.machine = can && is_compat_off(hosts[i].offer, property);
        if ((!can || lack.machine) && !device_loss_add(loss, hosts[i].name, &lack))
            return error_no_memory(err);
    }
    return true;
}

/* One of the backends in use stands behind it. */
static bool is_backed(const struct device_property *property, const struct strlist *uses)
{
    size_t count;
    const struct device_need *needs = device_needs(&count);
    for (size_t i = 0; i < count; i++)
        if (device_need_is_of(&needs[i], property) && strlist_contains(uses, needs[i].backend))
            return true;
    return false;
}

static struct device_class_baseline *class_of(struct device_baseline *baseline, const char *name)
{
    size_t count = baseline->class_count;
    if (count > 0 && strcmp(baseline->classes[count - 1].name, name) == 0)
        return &baseline->classes[count - 1];
    struct device_class_baseline *grown = realloc(baseline->classes, (count + 1) * sizeof(*grown));
    char *copy = strdup(name);
    if (grown)
        baseline->classes = grown;
    if (!grown || !copy) {
        free(copy);
        return NULL;
    }
    grown[count] = (struct device_class_baseline){.name = copy};
    baseline->class_count++;
    return &grown[count];
}

static bool add_properties(const struct device_host *hosts, size_t count,
                           const struct strlist *uses, struct device_baseline *baseline,
                           struct device_report *report, struct error *err)
{
    size_t property_count;
    const struct device_property *properties = device_properties(&property_count);
    for (size_t i = 0; i < property_count; i++) {
        const struct device_property *property = &properties[i];
        struct verdict verdict = judge(hosts, count, property, uses);
        if (!verdict.class_known)
            continue;
        struct device_class_baseline *class = class_of(baseline, property->class);
        if (!class)
            return error_no_memory(err);
        bool keep = !verdict.off && property->usual && !verdict.compat_off &&
                    is_founded(hosts, count, property, uses);
        if ((verdict.off && !strlist_push(&class->off, property->name)) ||
            (keep && !strlist_push(&class->kept, property->name)))
            return error_no_memory(err);
        if (report && verdict.off && verdict.given && property->usual &&
            is_backed(property, uses) && !report_loss(hosts, count, property, uses, report, err))
            return false;
    }
    return true;
}

static bool add_backends(const struct device_host *hosts, size_t count, const struct strlist *uses,
                         struct device_baseline *baseline, struct device_report *report,
                         struct error *err)
{
    size_t table_count;
    const struct backend_info *table = backend_table(&table_count);
    baseline->backends = calloc(table_count, sizeof(*baseline->backends));
    if (!baseline->backends)
        return error_no_memory(err);
    for (size_t i = 0; i < table_count; i++) {
        if (!strlist_contains(uses, table[i].name))
            continue;
        struct device_backend_baseline *made = &baseline->backends[baseline->backend_count];
        if (!(made->name = strdup(table[i].name)))
            return error_no_memory(err);
        baseline->backend_count++;
        for (size_t h = 0; h < count; h++)
            if (device_host_knows(&hosts[h], table[i].name) == BACKEND_UNKNOWN) {
                made->unknown = true;
                if (report && !device_report_add_unknown(report, table[i].name, &hosts[h]))
                    return error_no_memory(err);
            }
    }
    return true;
}

bool device_baseline_compute(const struct device_host *hosts, size_t count,
                             const struct strlist *uses, struct device_baseline *out,
                             struct device_report *out_report, struct error *err)
{
    autodevicebaseline struct device_baseline baseline = {0};
    autodevicereport struct device_report report = {0};
    for (size_t i = 0; i < uses->count; i++)
        if (!backend_find(uses->items[i]))
            return error_set(err, STATUS_DATA, "'%.80s' is not a device backend", uses->items[i]);
    if (!add_properties(hosts, count, uses, &baseline, out_report ? &report : NULL, err) ||
        !add_backends(hosts, count, uses, &baseline, out_report ? &report : NULL, err))
        return false;
    device_baseline_free(out);
    *out = baseline;
    baseline = (struct device_baseline){0};
    if (out_report) {
        device_report_sort(&report);
        device_report_free(out_report);
        *out_report = report;
        report = (struct device_report){0};
    }
    return true;
}

bool device_baseline_lacks(const struct device_baseline *baseline, const struct device_host *hosts,
                           size_t count, const struct strlist *uses, struct device_report *out,
                           struct error *err)
{
    autodevicereport struct device_report report = {0};
    for (size_t i = 0; i < baseline->class_count; i++) {
        const struct device_class_baseline *class = &baseline->classes[i];
        for (size_t k = 0; k < class->off.count; k++) {
            const struct device_property *property =
                device_find_property(class->name, class->off.items[k]);
            if (property && !report_loss(hosts, count, property, uses, &report, err))
                return false;
        }
    }
    device_report_sort(&report);
    *out = report;
    report = (struct device_report){0};
    return true;
}

bool device_baseline_gaps(const struct device_baseline *baseline, const struct device_host *host,
                          const struct strlist *uses, struct device_report *out, struct error *err)
{
    autodevicereport struct device_report gaps = {0};
    for (size_t i = 0; i < baseline->class_count; i++) {
        const struct device_class_baseline *class = &baseline->classes[i];
        for (size_t k = 0; k < class->kept.count; k++) {
            const struct device_property *property =
                device_find_property(class->name, class->kept.items[k]);
            struct device_lack lack;
            if (property &&
                (is_compat_off(host->offer, property) || !gives(host, property, uses, &lack)) &&
                !report_loss(host, 1, property, uses, &gaps, err))
                return false;
        }
    }
    for (size_t i = 0; i < uses->count; i++) {
        const struct backend_info *backend = backend_find(uses->items[i]);
        if (backend && device_host_knows(host, backend->name) == BACKEND_UNKNOWN &&
            !device_report_add_unknown(&gaps, backend->name, host))
            return error_no_memory(err);
    }
    device_report_free(out);
    *out = gaps;
    gaps = (struct device_report){0};
    return true;
}

bool device_baseline_check(const struct device_baseline *baseline, const struct device_host *host,
                           const struct strlist *own_uses, struct error *err)
{
    autodevicebaseline struct device_baseline own = {0};
    autodevicereport struct device_report gaps = {0};
    autostrlist struct strlist uses = {0};
    if (!device_baseline_uses(baseline, &uses, err) ||
        !device_baseline_compute(host, 1, &uses, &own, NULL, err) ||
        !device_baseline_gaps(baseline, host, &uses, &gaps, err))
        return false;
    for (size_t i = 0; i < own_uses->count; i++)
        if (!strlist_contains(&uses, own_uses->items[i]))
            return error_set(err, STATUS_INCOMPATIBLE, "devices: %s uses %s, which is left out",
                             host->name, own_uses->items[i]);
    for (size_t i = 0; i < own.class_count; i++)
        for (size_t k = 0; k < own.classes[i].off.count; k++)
            if (!device_baseline_is_off(baseline, own.classes[i].name, own.classes[i].off.items[k]))
                return error_set(err, STATUS_INCOMPATIBLE,
                                 "devices: %s of %s is not switched off, and %s cannot give it",
                                 own.classes[i].off.items[k], own.classes[i].name, host->name);
    for (size_t i = 0; i < own.backend_count; i++)
        if (own.backends[i].unknown && !baseline->backends[i].unknown)
            return error_set(err, STATUS_INCOMPATIBLE,
                             "devices: %s is said to be known everywhere, and %s does not know it",
                             own.backends[i].name, host->name);
    return gaps.loss_count == 0 ||
           error_set(err, STATUS_INCOMPATIBLE, "devices: %s of %s is kept, and %s cannot give it",
                     gaps.losses[0].property, gaps.losses[0].class, host->name);
}

/* The first host of which it is known whether it has the feature, and that is so; or NULL. */
static const struct device_host *find_host(const struct device_host *hosts, size_t count,
                                           const struct device_equal *equal, bool has)
{
    for (size_t i = 0; i < count; i++) {
        const struct backend_offer *backend =
            device_offer_find_backend(hosts[i].offer, equal->backend);
        if (backend && backend->state == BACKEND_KNOWN &&
            strlist_contains(&backend->features, equal->feature) == has)
            return &hosts[i];
    }
    return NULL;
}

bool device_baseline_equal(const struct device_host *hosts, size_t count,
                           const struct strlist *uses, struct error *err)
{
    size_t equal_count;
    const struct device_equal *equals = device_equals(&equal_count);
    for (size_t i = 0; i < equal_count; i++) {
        const struct device_equal *equal = &equals[i];
        const struct device_host *with = find_host(hosts, count, equal, true);
        const struct device_host *without = find_host(hosts, count, equal, false);
        if (strlist_contains(uses, equal->backend) && with && without)
            return error_set(err, STATUS_INCOMPATIBLE,
                             "devices: %s's kernel has %s of %s and %s's has not: QEMU lets no "
                             "guest go from %s to %s; %s",
                             with->name, equal->feature, backend_find(equal->backend)->title,
                             without->name, with->name, without->name, equal->cure);
    }
    return true;
}

bool device_baseline_uses(const struct device_baseline *baseline, struct strlist *uses,
                          struct error *err)
{
    for (size_t i = 0; i < baseline->backend_count; i++)
        if (!strlist_push(uses, baseline->backends[i].name))
            return error_no_memory(err);
    return true;
}

bool device_baseline_is_off(const struct device_baseline *baseline, const char *class,
                            const char *property)
{
    for (size_t i = 0; i < baseline->class_count; i++)
        if (strcmp(baseline->classes[i].name, class) == 0)
            return strlist_contains(&baseline->classes[i].off, property);
    return false;
}
