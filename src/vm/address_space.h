/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * How much physical address space a guest needs: QEMU refuses to start one that does not fit the
 * CPU's address bits. Pure.
 */
#ifndef QML_VM_ADDRESS_SPACE_H
#define QML_VM_ADDRESS_SPACE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "vm/keyval.h"

/* Physical address bits that a pc or q35 machine with this -m (size, slots, maxmem; as written)
 * needs: memory below and above 4 GiB, room for hot-plugged memory, the 64-bit PCI hole (QEMU 10.0
 * hw/i386/pc.c pc_max_used_gpa). vendor: of the guest's CPU; memory beyond AMD's HyperTransport
 * hole starts at 1 TiB. 0: not one of these machine types. STATUS_USAGE: a size that cannot be
 * read. */
bool address_space_bits(const char *machine, const struct keyval *memory, const char *vendor,
                        unsigned *bits, struct error *err);

#endif
