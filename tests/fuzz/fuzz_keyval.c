/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * QEMU's key=value texts: what is read, written and read again is the same. A first byte says
 * which syntax, and whether the first key is implied.
 */
#include "fuzz.h"
#include "vm/keyval.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    enum keyval_syntax syntax = data[0] & 1 ? KEYVAL_OPTS : KEYVAL_DICT;
    const char *implied = data[0] & 2 ? "type" : NULL;
    autofree char *text = fuzz_text(data + 1, size - 1);
    autokeyval struct keyval first = {0}, second = {0}, merged = {0};
    if (!keyval_parse(&first, text, syntax, implied, NULL))
        return 0;
    keyval_merge(&merged, &first, "", NULL);
    if (first.help)
        return 0;
    autofree char *written = keyval_render(&first);
    MUST(written);
    MUST(keyval_parse(&second, written, syntax, implied, NULL));
    MUST(first.count == second.count);
    for (size_t i = 0; i < first.count; i++)
        MUST(strcmp(first.pairs[i].key, second.pairs[i].key) == 0 &&
             strcmp(first.pairs[i].value, second.pairs[i].value) == 0);
    return 0;
}
