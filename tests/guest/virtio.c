/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The virtio guest: a 64 KiB BIOS image with a driver that does with each virtio device of PCI bus
 * 0 all that comes before its queues (virtio 1.2, 3.1.1), accepts every feature that it is offered,
 * says so on COM1, and then counts, ten lines a second, for ever:
 *
 *   virtio 03.0 1af4:1000 offered 000000010130ffa7 accepted 000000010130ffa7
 *   devices 01
 *   tick 00000001
 *
 * All numbers are hexadecimal; 03.0 is the place on the bus. For every tick it looks again at what
 * is offered and what the device takes for accepted, and a device that is another one then is told
 * once more, with "now" in front. A device that does not take what it offered is told with
 * "refused" at the end. The count and what was seen are kept in RAM, so they move with the guest; a
 * reset begins anew.
 *
 * It needs COM1, the PIC and the PIT, and no firmware: it gives the devices their addresses itself.
 *
 * Build: tests/e2e/lib/negotiator.py, with virtio_start.S and virtio.ld. Nothing here is static but
 * constants: the image is in ROM.
 */
#include <stdbool.h>
#include <stdint.h>

#define COM1 0x3f8
#define PCI_ADDRESS 0xcf8
#define PCI_DATA 0xcfc
#define HOLE 0xe0000000u /* free for PCI on q35 and pc: above memory, below IOAPIC and ROM */
#define DEVICES_MAX 16
#define TICKS_A_LINE 2

/* struct virtio_pci_common_cfg */
enum { OFFER_SELECT = 0, OFFER = 4, ACCEPT_SELECT = 8, ACCEPT = 12, STATUS = 20 };
enum { ACKNOWLEDGE = 1, DRIVER = 2, DRIVER_OK = 4, FEATURES_OK = 8 };

struct device {
    uint32_t place;       /* as PCI_ADDRESS takes it */
    uintptr_t common;     /* where its common configuration is */
    uint64_t features[2]; /* offered, accepted */
};

void guest(void);
void wait_tick(void);

static void out8(uint16_t port, uint8_t value)
{
    __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static uint8_t in8(uint16_t port)
{
    uint8_t value;
    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

static void out32(uint16_t port, uint32_t value)
{
    __asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port));
}

static uint32_t in32(uint16_t port)
{
    uint32_t value;
    __asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

static void put_char(char c)
{
    /* A UART that never gets ready must not stop the count. */
    for (int tries = 100000; tries > 0 && !(in8(COM1 + 5) & 0x20); tries--)
        ;
    out8(COM1, (uint8_t)c);
}

static void put_text(const char *text)
{
    while (*text)
        put_char(*text++);
}

static void put_hex(uint64_t number, int digits)
{
    while (digits-- > 0)
        put_char("0123456789abcdef"[number >> (4 * digits) & 15]);
}

/* PCI */

static uint32_t pci_read(uint32_t place, uint32_t offset)
{
    out32(PCI_ADDRESS, place | (offset & 0xfc));
    return in32(PCI_DATA) >> (8 * (offset & 3));
}

static void pci_write(uint32_t place, uint32_t offset, uint32_t value)
{
    out32(PCI_ADDRESS, place | offset);
    out32(PCI_DATA, value);
}

/* The address of a memory BAR, which gets one of the hole if it has none; 0: it is none. */
static uint32_t bar_address(uint32_t place, uint32_t bar, uint32_t *free_address)
{
    uint32_t offset = 0x10 + 4 * bar, is = pci_read(place, offset);
    if (is & 1)
        return 0;
    if (is & ~15u)
        return is & ~15u;
    pci_write(place, offset, 0xffffffff);
    uint32_t size = -(pci_read(place, offset) & ~15u);
    uint32_t address = (*free_address + size - 1) & -size;
    *free_address = address + size;
    pci_write(place, offset, address);
    if ((is & 6) == 4)
        pci_write(place, offset + 4, 0);
    return address;
}

/* Where the device has its common configuration (virtio 1.2, 4.1.4); 0: it is too old for that. */
static uintptr_t find_common(uint32_t place, uint32_t *free_address)
{
    if (!(pci_read(place, 6) & 0x10))
        return 0;
    for (uint32_t at = pci_read(place, 0x34) & 0xfc; at; at = pci_read(place, at + 1) & 0xfc) {
        if ((pci_read(place, at) & 0xff) != 9 || (pci_read(place, at + 3) & 0xff) != 1)
            continue;
        uint32_t bar = bar_address(place, pci_read(place, at + 4) & 0xff, free_address);
        if (!bar)
            return 0;
        pci_write(place, 4, (pci_read(place, 4) & 0xffff) | 6); /* memory, bus master */
        return bar + pci_read(place, at + 8);
    }
    return 0;
}

/* Virtio */

static void write32(uintptr_t address, uint32_t value)
{
    *(volatile uint32_t *)address = value;
}

static uint64_t read_features(uintptr_t common, uint32_t select, uint32_t value)
{
    uint64_t features = 0;
    for (uint32_t half = 0; half < 2; half++) {
        write32(common + select, half);
        features |= (uint64_t)(*(volatile uint32_t *)(common + value)) << (32 * half);
    }
    return features;
}

static void look(struct device *device)
{
    device->features[0] = read_features(device->common, OFFER_SELECT, OFFER);
    device->features[1] = read_features(device->common, ACCEPT_SELECT, ACCEPT);
}

static bool negotiate(struct device *device)
{
    volatile uint8_t *status = (volatile uint8_t *)(device->common + STATUS);
    *status = 0;
    while (*status != 0)
        ;
    *status = ACKNOWLEDGE;
    *status = ACKNOWLEDGE | DRIVER;
    uint64_t offered = read_features(device->common, OFFER_SELECT, OFFER);
    for (uint32_t half = 0; half < 2; half++) {
        write32(device->common + ACCEPT_SELECT, half);
        write32(device->common + ACCEPT, (uint32_t)(offered >> (32 * half)));
    }
    *status = ACKNOWLEDGE | DRIVER | FEATURES_OK;
    bool taken = *status & FEATURES_OK;
    if (taken)
        *status = ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK;
    look(device);
    return taken;
}

static void put_device(const struct device *device, const char *first, const char *last)
{
    uint32_t id = pci_read(device->place, 0);
    put_text(first);
    put_text("virtio ");
    put_hex(device->place >> 11 & 31, 2);
    put_char('.');
    put_hex(device->place >> 8 & 7, 1);
    put_char(' ');
    put_hex(id & 0xffff, 4);
    put_char(':');
    put_hex(id >> 16, 4);
    put_text(" offered ");
    put_hex(device->features[0], 16);
    put_text(" accepted ");
    put_hex(device->features[1], 16);
    put_text(last);
    put_text("\r\n");
}

void guest(void)
{
    struct device devices[DEVICES_MAX];
    uint32_t count = 0, free_address = HOLE, tick = 0;
    for (uint32_t number = 0; number < 256 && count < DEVICES_MAX; number++) {
        struct device *device = &devices[count];
        device->place = 0x80000000u | number << 8;
        if ((pci_read(device->place, 0) & 0xffff) != 0x1af4)
            continue;
        device->common = find_common(device->place, &free_address);
        if (!device->common)
            continue;
        count++;
        bool taken = negotiate(device);
        put_device(device, "", taken ? "" : " refused");
    }
    put_text("devices ");
    put_hex(count, 2);
    put_text("\r\n");
    for (;;) {
        for (uint32_t i = 0; i < count; i++) {
            struct device before = devices[i];
            look(&devices[i]);
            if (devices[i].features[0] != before.features[0] ||
                devices[i].features[1] != before.features[1])
                put_device(&devices[i], "now ", "");
        }
        put_text("tick ");
        put_hex(++tick, 8);
        put_text("\r\n");
        for (int i = 0; i < TICKS_A_LINE; i++)
            wait_tick();
    }
}
