/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "host/system.h"

#include <dirent.h>
#include <libcpuid/libcpuid.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/paths.h"

/* A JSON string of text with everything outside printable ASCII left out. */
static json_t *plain_string(const char *text)
{
    autofree char *plain = string_plain(text, 255);
    return plain ? json_string(plain) : NULL;
}

/* The first line of a small file of the kernel's, or NULL. */
static char *read_line_of(const char *path)
{
    char *text = NULL;
    size_t length;
    if (!file_read(path, 65536, true, &text, &length, NULL) || !text)
        return NULL;
    text[strcspn(text, "\n")] = '\0';
    return text;
}

bool system_boot_id(char *buffer, size_t size, struct error *err)
{
    autofree char *id = read_line_of("/proc/sys/kernel/random/boot_id");
    if (!id || strlen(id) != 36 || size < 37)
        return error_set(err, STATUS_INTERNAL, "the kernel tells no boot id");
    memcpy(buffer, id, 37);
    return true;
}

static bool identify(struct cpu_raw_data_t *raw, struct cpu_id_t *id, struct error *err)
{
    if (!cpuid_present() || cpuid_get_raw_data(raw) != 0 || cpu_identify(raw, id) != 0)
        return error_set(err, STATUS_CONFIG, "libcpuid cannot read this CPU: %s", cpuid_error());
    return true;
}

static unsigned phys_bits_of(const struct cpu_raw_data_t *raw)
{
    return raw->ext_cpuid[0][0] >= 0x80000008 ? raw->ext_cpuid[8][0] & 0xff : 36;
}

bool system_phys_bits(unsigned *bits, struct error *err)
{
    struct cpu_raw_data_t raw;
    if (!cpuid_present() || cpuid_get_raw_data(&raw) != 0)
        return error_set(err, STATUS_CONFIG, "libcpuid cannot read this CPU: %s", cpuid_error());
    *bits = phys_bits_of(&raw);
    return true;
}

void system_mask_place(uint32_t leaf, uint32_t *r)
{
    if (leaf == 1)
        r[1] &= 0x00ffffff;
    else if (leaf == 0xb || leaf == 0x1f)
        r[3] = 0;
    else if (leaf == 0x8000001e) {
        r[0] = 0;
        r[1] &= ~0xffU;
        r[2] &= ~0xffU;
    }
}

static bool add_leaf(json_t *leaves, uint32_t leaf, uint32_t subleaf, const uint32_t *registers)
{
    uint32_t r[4] = {registers[0], registers[1], registers[2], registers[3]};
    system_mask_place(leaf, r);
    if (!(r[0] | r[1] | r[2] | r[3]))
        return true;
    return json_array_append_new(leaves, json_sprintf("%x.%x:%08x,%08x,%08x,%08x", leaf, subleaf,
                                                      r[0], r[1], r[2], r[3])) == 0;
}

static json_t *raw_leaves(const struct cpu_raw_data_t *raw)
{
    autojson json_t *leaves = json_array();
    bool good = leaves != NULL;
    for (uint32_t i = 0; good && i < MAX_CPUID_LEVEL; i++)
        good = add_leaf(leaves, i, 0, raw->basic_cpuid[i]);
    for (uint32_t i = 0; good && i < MAX_EXT_CPUID_LEVEL; i++)
        good = add_leaf(leaves, 0x80000000 + i, 0, raw->ext_cpuid[i]);
    return good ? STEAL(leaves) : NULL;
}

/* The level N of x86-64-vN (x86-64 psABI, "Micro-Architecture Levels"); libcpuid before 0.7 does
 * not tell it. */
static int architecture_level(const struct cpu_id_t *id)
{
    static const struct {
        int level;
        cpu_feature_t feature;
    } needed[] = {
        {2, CPU_FEATURE_CX16},     {2, CPU_FEATURE_LAHF_LM},  {2, CPU_FEATURE_POPCNT},
        {2, CPU_FEATURE_PNI},      {2, CPU_FEATURE_SSE4_1},   {2, CPU_FEATURE_SSE4_2},
        {2, CPU_FEATURE_SSSE3},    {3, CPU_FEATURE_AVX},      {3, CPU_FEATURE_AVX2},
        {3, CPU_FEATURE_BMI1},     {3, CPU_FEATURE_BMI2},     {3, CPU_FEATURE_F16C},
        {3, CPU_FEATURE_FMA3},     {3, CPU_FEATURE_ABM},      {3, CPU_FEATURE_MOVBE},
        {3, CPU_FEATURE_OSXSAVE},  {4, CPU_FEATURE_AVX512F},  {4, CPU_FEATURE_AVX512BW},
        {4, CPU_FEATURE_AVX512CD}, {4, CPU_FEATURE_AVX512DQ}, {4, CPU_FEATURE_AVX512VL},
    };
    for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++)
        if (!id->flags[needed[i].feature])
            return needed[i].level - 1;
    return 4;
}

json_t *system_processor(struct error *err)
{
    struct cpu_raw_data_t raw;
    struct cpu_id_t id;
    if (!identify(&raw, &id, err))
        return NULL;
    /* libcpuid 0.7 has other names for what 0.6 makes of this (Intel SDM, CPUID, leaf 1). */
    uint32_t signature = raw.basic_cpuid[1][0];
    int family = signature >> 8 & 0xf, model = (signature >> 12 & 0xf0) | (signature >> 4 & 0xf);
    if (family == 0xf)
        family += signature >> 20 & 0xff;
    json_t *processor = json_pack(
        "{s:o, s:i, s:i, s:i, s:o, s:o, s:o, s:i, s:o}", "vendor", plain_string(id.vendor_str),
        "family", family, "model", model, "stepping", (int)(signature & 0xf), "brand",
        plain_string(id.brand_str), "codename", plain_string(id.cpu_codename), "level",
        json_sprintf("x86-64-v%d", architecture_level(&id)), "phys_bits", (int)phys_bits_of(&raw),
        "cpuid", raw_leaves(&raw));
    if (!processor)
        error_no_memory(err);
    return processor;
}

/* {"NAME": "VALUE"} of a module's parameters; NULL for want of memory. */
static json_t *module_parameters(const char *folder)
{
    autojson json_t *parameters = json_object();
    bool good = true;
    DIR *dir = opendir(folder);
    for (struct dirent *entry; good && dir && (entry = readdir(dir));) {
        if (entry->d_name[0] == '.')
            continue;
        autofree char *path = path_join(folder, entry->d_name, "");
        autofree char *value = path ? read_line_of(path) : NULL;
        good = path != NULL;
        if (value && strlen(entry->d_name) < 64)
            good = json_object_set_new(parameters, entry->d_name, plain_string(value)) == 0;
    }
    if (dir)
        closedir(dir);
    return good ? STEAL(parameters) : NULL;
}

static json_t *kvm_modules(void)
{
    static const char *const names[] = {"kvm", "kvm_intel", "kvm_amd", "kvm_pvm"};
    autojson json_t *modules = json_object();
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        autofree char *folder = string_format("/sys/module/%s", names[i]);
        autofree char *parameters = folder ? path_join(folder, "parameters", "") : NULL;
        autofree char *version = folder ? path_join(folder, "srcversion", "") : NULL;
        if (!parameters || !version)
            return NULL;
        DIR *dir = opendir(folder);
        if (!dir)
            continue;
        closedir(dir);
        autofree char *source = read_line_of(version);
        json_t *module = json_pack("{s:o, s:o}", "srcversion", plain_string(source ? source : ""),
                                   "parameters", module_parameters(parameters));
        if (json_object_set_new(modules, names[i], module) != 0)
            return NULL;
    }
    return STEAL(modules);
}

/* The microcode revision of /proc/cpuinfo's first CPU ("0xa20120e"), or "". */
static json_t *microcode(void)
{
    FILE *file = fopen("/proc/cpuinfo", "re");
    char line[4096], value[64] = "";
    while (file && fgets(line, sizeof(line), file))
        if (sscanf(line, "microcode : %63s", value) == 1 || line[0] == '\n')
            break;
    if (file)
        fclose(file);
    return plain_string(value);
}

json_t *system_kernel(struct error *err)
{
    struct utsname name;
    if (uname(&name) < 0) {
        error_set(err, STATUS_INTERNAL, "the kernel tells no version");
        return NULL;
    }
    json_t *kernel =
        json_pack("{s:o, s:o, s:o, s:o}", "release", plain_string(name.release), "version",
                  plain_string(name.version), "microcode", microcode(), "modules", kvm_modules());
    if (!kernel)
        error_no_memory(err);
    return kernel;
}
