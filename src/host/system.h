/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What this machine is: processor (libcpuid), kernel, KVM's modules.
 */
#ifndef QML_HOST_SYSTEM_H
#define QML_HOST_SYSTEM_H

#include "base/json.h"
#include "cpu/featureset.h"

/* The boot id (32 hexadecimal digits with dashes) in buffer of at least 37 bytes. */
bool system_boot_id(char *buffer, size_t size, struct error *err);

/* {"vendor","family","model","stepping","brand","codename","level","phys_bits","cpuid"}: what
 * libcpuid reads of this CPU. level is the psABI level ("x86-64-v3"), codename only a hint. cpuid
 * is a list of "LEAF.SUBLEAF:EAX,EBX,ECX,EDX". A new object, or NULL. */
json_t *system_processor(struct error *err);

/* What a CPU says of its own place among the others differs with where this process happens to run:
 * APIC ids, core and node (Intel SDM volume 2, CPUID leaves 1, 0BH, 1FH; AMD APM volume 3, E.4.16,
 * leaf 8000_001EH). Without it, which this clears in EAX to EDX of that leaf, the same host always
 * says the same. */
void system_mask_place(uint32_t leaf, uint32_t *registers);

/* The features of the table that this CPU itself has, as far as CPUID tells: those whose bits are
 * all set in the raw CPUID. STATUS_INTERNAL for want of memory. */
bool system_physical_features(struct featureset *features, struct error *err);

/* KVM's TSC frequency in kHz (0: it does not tell) and whether it can give a guest another one
 * (KVM_CAP_TSC_CONTROL). Both stay 0 without a usable /dev/kvm. */
void system_kvm_tsc(unsigned *khz, bool *scales);

/* {"device": its number "10:232" or "", "access": "yes" or "no" with the errno, "offers": a
 * digest of the CPUID, feature MSRs and capabilities that KVM tells of, "" without access}. A new
 * object, or NULL. */
json_t *system_kvm(struct error *err);

/* Physical address bits of this CPU (CPUID 0x80000008 EAX 7:0; 36 where it has no such leaf). */
bool system_phys_bits(unsigned *bits, struct error *err);

/* {"release","version","microcode","modules":{"kvm_amd":{"srcversion","parameters":{…}}}}. */
json_t *system_kernel(struct error *err);

#endif
