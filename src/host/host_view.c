/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "host/host_view.h"

#include <string.h>

#include "base/cleanup.h"
#include "host/system.h"

void host_view_free(struct host_view *view)
{
    json_decref(view->kernel);
    json_decref(view->processor);
    json_decref(view->kvm);
    *view = (struct host_view){0};
}

/* The CPU's own CPUID, as a digest: it is long. */
static bool digest_processor(struct host_view *view, struct error *err)
{
    autofree char *text = json_to_text(view->processor);
    return text ? digest_hex(text, strlen(text), view->cpuid, err) : error_no_memory(err);
}

bool host_view_read(struct host_view *out, struct error *err)
{
    autohostview struct host_view view = {.until = deadline_in_ms(HOST_VIEW_MS)};
    if (!system_boot_id(view.boot_id, sizeof(view.boot_id), err) ||
        !(view.processor = system_processor(err)) || !digest_processor(&view, err) ||
        !(view.kernel = system_kernel(err)) || !(view.kvm = system_kvm(err)))
        return false;
    host_view_free(out);
    *out = view;
    view = (struct host_view){0};
    return true;
}

bool host_view_is_fresh(const struct host_view *view)
{
    return view->kvm && deadline_left_ms(view->until) > 0;
}
