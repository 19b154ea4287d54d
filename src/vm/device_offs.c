/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "vm/device_offs.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "device/device_report.h"

void device_offs_free(struct device_offs *offs)
{
    for (size_t i = 0; i < offs->count; i++)
        free(offs->items[i].why);
    free(offs->items);
    *offs = (struct device_offs){0};
}

static const struct device_loss *find_loss(const struct device_report *report, const char *class,
                                           const char *property)
{
    for (size_t i = 0; report && i < report->loss_count; i++)
        if (report->losses[i].lack_count > 0 && strcmp(report->losses[i].class, class) == 0 &&
            strcmp(report->losses[i].property, property) == 0)
            return &report->losses[i];
    return NULL;
}

static bool add_off(const struct device_property *property, const struct device_report *report,
                    struct device_offs *offs, struct error *err)
{
    const struct device_loss *loss = find_loss(report, property->class, property->name);
    autofree char *why = loss ? device_loss_why(loss) : NULL;
    struct device_off *items = realloc(offs->items, (offs->count + 1) * sizeof(*items));
    if (items)
        offs->items = items;
    if (!items || (loss && !why))
        return error_no_memory(err);
    items[offs->count++] = (struct device_off){.class = property->class,
                                               .property = property->name,
                                               .usual = property->usual,
                                               .why = STEAL(why)};
    return true;
}

bool device_offs_make(const struct device_baseline *baseline, const struct device_offer *own,
                      const struct device_report *report, struct device_offs *out,
                      struct error *err)
{
    autodeviceoffs struct device_offs offs = {0};
    for (size_t i = 0; i < baseline->class_count; i++) {
        const struct device_class_baseline *class = &baseline->classes[i];
        const struct class_offer *offer = device_offer_find_class(own, class->name);
        for (size_t j = 0; offer && j < class->off.count; j++) {
            const struct device_property *property =
                device_find_property(class->name, class->off.items[j]);
            if (property && strlist_contains(&offer->properties, property->name) &&
                !add_off(property, report, &offs, err))
                return false;
        }
    }
    *out = offs;
    offs = (struct device_offs){0};
    return true;
}
