/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Whether a host could take a VM, by its profile.
 */
#include "cpu_fixture.h"
#include "device_fixture.h"

#include "vm/fit.h"

#define HOST_FEATURES "lm avx xsave sha-ni invtsc"

/* An agreement and the profile of a host that could take its VM. */
static void make(struct agreement *agreement, struct profile *profile)
{
    *agreement = (struct agreement){
        .machine = strdup("pc-q35-7.2"), .kernel_irqchip = strdup(""), .form = CPU_FORM_NAMED};
    struct baseline *baseline = &agreement->baseline;
    baseline->accel = strdup("kvm");
    baseline->model = strdup("Haswell-v4");
    baseline->phys_bits = 40;
    memcpy(baseline->identity.vendor, "GenuineIntel", CPU_VENDOR_SIZE);
    add_names(&baseline->features, "lm avx xsave ht");
    *profile = (struct profile){.machine = strdup("pc-q35-7.2"),
                                .kernel_irqchip = strdup(""),
                                .offer = offer_of("b", "kvm", "lm avx xsave sha-ni", "ht")};
    profile->offer.physical_known = true;
    add_model(&profile->offer, "Haswell-v4", 13, "lm avx");
    ck_assert(machine_list_add(&profile->machines, "pc-q35-7.2", "q35", false, false));
}

static void check_fit(const struct agreement *agreement, const struct profile *profile,
                      const char *words)
{
    autofit struct fit fit = {0};
    MUST(fit_find(agreement, profile, &fit, &err));
    autofree char *text = fit_describe(&fit);
    ck_assert_str_eq(text, words);
    ck_assert(fit_is_good(&fit) == !*words);
}

START_TEST(fits)
{
    autoagreement struct agreement agreement;
    autoprofile struct profile profile;
    make(&agreement, &profile);
    check_fit(&agreement, &profile, ""); /* ht is nobody's concern */
    /* More than is needed, nothing told of types, models and address bits. */
    machine_list_free(&profile.machines);
    profile.offer.phys_bits = 0;
    profile.offer.models[0].name[0] = 'X';
    agreement.form = CPU_FORM_BASE;
    check_fit(&agreement, &profile, "");
}
END_TEST

START_TEST(lacks)
{
    autoagreement struct agreement agreement;
    autoprofile struct profile profile;
    make(&agreement, &profile);
    add_names(&agreement.baseline.features, "sha-ni aes newer-name");
    add_names(&profile.offer.known, "aes");
    add_names(&profile.offer.denied, "sha-ni");
    check_fit(&agreement, &profile, "lacks aes (cpu) newer-name (qemu) sha-ni (policy)");
    add_names(&profile.offer.physical, "aes");
    profile.offer.phys_bits = 39;
    check_fit(&agreement, &profile,
              "lacks aes (kvm) newer-name (qemu) sha-ni (policy), has only 39 of 40 physical "
              "address bits");
}
END_TEST

START_TEST(other_things)
{
    autoagreement struct agreement agreement;
    autoprofile struct profile profile;
    make(&agreement, &profile);
    profile.machines.types[0].name[9] = '1';
    profile.offer.models[0].name[0] = 'X';
    memcpy(profile.offer.identity.vendor, "AuthenticAMD", CPU_VENDOR_SIZE);
    check_fit(&agreement, &profile,
              "has a CPU of AuthenticAMD, not GenuineIntel, has no machine type pc-q35-7.2, does "
              "not know the CPU model Haswell-v4");
    /* Under TCG vendor and address bits are QEMU's own. */
    memcpy(profile.offer.accel, "tcg", 3);
    profile.offer.phys_bits = 36;
    machine_list_free(&profile.machines);
    agreement.form = CPU_FORM_HOST;
    check_fit(&agreement, &profile, "is described for accelerator tcg, not kvm");
    memcpy(agreement.baseline.accel, "tcg", 3);
    check_fit(&agreement, &profile, "");
}
END_TEST

/* On any KVM whose QEMU knows it, under TCG never. */
START_TEST(given_by_name)
{
    autoagreement struct agreement agreement;
    autoprofile struct profile profile;
    make(&agreement, &profile);
    add_names(&agreement.baseline.features, "topoext");
    check_fit(&agreement, &profile, "lacks topoext (qemu)");
    add_names(&profile.offer.known, "topoext");
    check_fit(&agreement, &profile, "");
    memcpy(agreement.baseline.accel, "tcg", 3);
    memcpy(profile.offer.accel, "tcg", 3);
    check_fit(&agreement, &profile, "lacks topoext (qemu)");
    memcpy(agreement.baseline.accel, "kvm", 3);
    memcpy(profile.offer.accel, "kvm", 3);
    add_names(&profile.offer.denied, "topoext");
    check_fit(&agreement, &profile, "lacks topoext (policy)");
}
END_TEST

START_TEST(fixed_tsc)
{
    autoagreement struct agreement agreement;
    autoprofile struct profile profile;
    make(&agreement, &profile);
    add_names(&agreement.baseline.features, "invtsc");
    add_names(&profile.offer.known, "invtsc");
    add_names(&profile.offer.unmigratable, "invtsc");
    check_fit(&agreement, &profile, "lacks invtsc (cpu)");
    ck_assert(cpu_knobs_set(&agreement.baseline.knobs, "tsc-frequency", "2000000000"));
    check_fit(&agreement, &profile, "");
}
END_TEST

START_TEST(devices)
{
    static const struct {
        const char *host, *words;
        size_t doubts;
    } rows[] = {
        {"c tun:uso,vnet-hdr net:csum,host_uso", "", 0},
        {"c tun:vnet-hdr net:csum,host_uso",
         "cannot give host_uso of virtio-net: b's kernel lacks uso of tap devices", 0},
        {"c tun:vnet-hdr vhost-net: net:csum",
         "cannot give host_uso of virtio-net: b's QEMU does not know it", 0},
        {"c tun?denied net:csum,host_uso", "", 1},
        {"c", "", 1},
    };
    autoagreement struct agreement agreement;
    autoprofile struct profile profile;
    autodeviceoffer struct device_offer before = {0};
    autostrlist struct strlist uses = {0};
    struct device_host then = fixture_host("a tun:uso,vnet-hdr net:csum,host_uso", &before);
    make(&agreement, &profile);
    ck_assert(strlist_push(&uses, "tun"));
    MUST(device_baseline_compute(&then, 1, &uses, &agreement.devices, NULL, &err));
    for (size_t i = 0; i < COUNT(rows); i++) {
        autofit struct fit fit = {0};
        device_offer_free(&profile.devices);
        fixture_host(rows[i].host, &profile.devices);
        check_fit(&agreement, &profile, rows[i].words);
        MUST(fit_find(&agreement, &profile, &fit, &err));
        ck_assert_uint_eq(fit.doubts.count, rows[i].doubts);
    }
}
END_TEST

START_TEST(doubts)
{
    autoagreement struct agreement agreement;
    autoprofile struct profile profile;
    autofit struct fit fit = {0}, none = {0};
    make(&agreement, &profile);
    profile.machine[9] = '1';
    profile.cpu_pm = true;
    free(profile.kernel_irqchip);
    profile.kernel_irqchip = strdup("split");
    MUST(fit_find(&agreement, &profile, &fit, &err));
    ck_assert(fit_is_good(&fit));
    ck_assert_uint_eq(fit.doubts.count, 3);
    profile.imported = true; /* its probe is nobody's */
    MUST(fit_find(&agreement, &profile, &none, &err));
    ck_assert_uint_eq(none.doubts.count, 0);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {fits,      lacks,   other_things, given_by_name,
                                  fixed_tsc, devices, doubts};
    return unit_run("fit", tests, COUNT(tests));
}
