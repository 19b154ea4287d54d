/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The program under QEMU's name: a symlink called qemu-system-x86_64 that leads to it, as ccache is
 * called as a compiler. All words are QEMU's then, and [launch] of config.ini has the options.
 */
#ifndef QML_CLI_MASQUERADE_H
#define QML_CLI_MASQUERADE_H

#include "cli/command.h"

/* Whether the program was called so. argv0: may be NULL. */
bool masquerade_is_asked(const char *argv0);

/* Do as `launch` does with those options; or, when QEMU is only asked something, has no machine, or
 * nobody is configured to agree with about a VM that is unknown here, run the real QEMU with the
 * same words. argv: argc of them, argv[0] included. Returns only if that failed: what launch
 * reports; STATUS_CONFIG for what config.ini says (its line is told), or without a real QEMU. */
bool masquerade_run(struct context *context, int argc, char **argv, struct error *err);

#endif
