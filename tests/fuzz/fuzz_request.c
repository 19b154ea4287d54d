/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The value of -cpu: what is understood survives JSON, and joined with itself it stays the same.
 */
#include "cpu/cpu_request.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    autofree char *text = fuzz_text(data, size);
    autocpurequest struct cpu_request request = {0}, again = {0}, joined = {0};
    if (!cpu_request_parse(text, &request, NULL))
        return 0;
    autofree char *first = fuzz_written(cpu_request_to_json(&request));
    autojson json_t *json = fuzz_reread(first);
    MUST(cpu_request_from_json(json, &again, NULL));
    autofree char *second = fuzz_written(cpu_request_to_json(&again));
    MUST(strcmp(first, second) == 0);

    const struct cpu_request *both[] = {&request, &again};
    const char *hosts[] = {"a", "b"};
    MUST(cpu_request_join(both, hosts, 2, &joined, NULL));
    autofree char *third = fuzz_written(cpu_request_to_json(&joined));
    MUST(strcmp(first, third) == 0);
    return 0;
}
