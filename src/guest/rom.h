/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The built-in guest: a BIOS image that reads the CPU as a guest sees it (rom.S).
 */
#ifndef QML_GUEST_ROM_H
#define QML_GUEST_ROM_H

#define GUEST_ROM_SIZE 65536

extern const unsigned char guest_rom[GUEST_ROM_SIZE];

/* What rom.S and QEMU's command line must have in common. */
#define GUEST_ROM_MEMORY_MB 16   /* of RAM; it uses less than 640 KiB */
#define GUEST_ROM_STREAM 0x10000 /* in RAM: what it found */
#define GUEST_ROM_DEBUG_EXIT 0xf4
#define GUEST_ROM_DONE 33   /* QEMU's exit status when the guest came to its end */
#define GUEST_ROM_BROKEN 35 /* when it had an exception that it does not expect */

#endif
