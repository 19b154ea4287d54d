/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Where a VM may be adopted, and what is left when it cannot be kept.
 */
#include "cpu_fixture.h"

#include "base/file.h"
#include "vm/adopt_store.h"
#include "vm/command_line.h"

#define HEX64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

/* A record at this place, of this process or of one that has ended. */
static void make_record(struct vm_record *record, enum vm_place place, bool runs)
{
    *record = (struct vm_record){.vm = strdup("web1"),
                                 .place = place,
                                 .socket = strdup("/nowhere/qmp"),
                                 .peer = strdup("b"),
                                 .peer_host = strdup(""),
                                 .guardian_address = strdup(""),
                                 .qemu = strdup("/usr/bin/qemu"),
                                 .agreement = HEX64};
    MUST(vm_record_set_self(record, &err));
    record->started += runs ? 0 : 1;
}

START_TEST(places)
{
    static const struct {
        enum vm_place place;
        bool runs, same, renegotiate;
        const char *words; /* NULL: it may be adopted */
    } rows[] = {
        {PLACE_HERE, true, true, false, "has its agreement already"},
        {PLACE_HERE, true, true, true, NULL},
        {PLACE_HERE, true, false, true, "give this guest another name"},
        {PLACE_HERE, false, false, false, "was started here before"},
        {PLACE_HERE, false, false, true, NULL},
        {PLACE_INCOMING, true, true, true, "was to come here from b"},
        {PLACE_INCOMING, false, false, true, "was to come here from b"},
        {PLACE_MOVING, true, true, true, "is moving to b"},
        {PLACE_MOVING, false, false, true, "is moving to b"},
        {PLACE_TOLD, true, true, true, "was told to b"},
        {PLACE_MOVED, false, false, true, "lives on b"},
        {PLACE_ELSEWHERE, false, false, true, "lives on b"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        autovmrecord struct vm_record record;
        make_record(&record, rows[i].place, rows[i].runs);
        pid_t pid = rows[i].same ? getpid() : getppid();
        if (rows[i].words)
            MUST_FAIL(STATUS_DECISION, rows[i].words,
                      adopt_check_record(&record, pid, rows[i].renegotiate, &err));
        else
            MUST(adopt_check_record(&record, pid, rows[i].renegotiate, &err));
    }
    struct vm_record none = {0};
    MUST(adopt_check_record(&none, 1, false, &err));
}
END_TEST

/* A process is one VM's only; one whose record is damaged is not our business. */
START_TEST(processes)
{
    struct paths paths = {.state = unit_folder, .run = unit_folder, .config = unit_folder};
    autofree char *folder = in_folder("vms"), *damaged = in_folder("vms/bad.json");
    autovmrecord struct vm_record record;
    MUST(adopt_check_process(&paths, "web2", getpid(), &err)); /* no folder yet */
    MUST(folder_make(folder, 0700, &err));
    MUST(file_write_atomic(damaged, "{", 1, 0600, &err));
    make_record(&record, PLACE_HERE, true);
    MUST(vm_record_store(&paths, &record, &err));
    MUST_FAIL(STATUS_DECISION, "is that of VM web1",
              adopt_check_process(&paths, "web2", getpid(), &err));
    MUST(adopt_check_process(&paths, "web1", getpid(), &err));
    MUST(adopt_check_process(&paths, "web2", getppid(), &err));
}
END_TEST

/* A socket that the user chose says nothing about which QEMU listens there. */
START_TEST(private_sockets)
{
    struct paths paths = {.state = unit_folder, .run = unit_folder, .config = unit_folder};
    autofree char *own = vm_socket_path(&paths, "web1", "command", NULL);
    autofree char *guardian = vm_socket_path(&paths, "web1", "guardian", NULL);
    ck_assert(vm_socket_is_private(own, "web1"));
    ck_assert(!vm_socket_is_private(own, "web2"));
    ck_assert(!vm_socket_is_private(guardian, "web1"));
    ck_assert(!vm_socket_is_private("/run/web1.qmp", "web1"));
    ck_assert(!vm_socket_is_private("", "web1"));
}
END_TEST

/* A record that cannot be stored takes the agreement with it. */
START_TEST(all_or_nothing)
{
    struct paths paths = {.state = unit_folder, .run = unit_folder, .config = unit_folder};
    autofree char *kept = in_folder("agreements/web1.json"), *vms = in_folder("vms");
    autoagreement struct agreement agreement = {.vm = strdup("web1"),
                                                .machine = strdup("pc-q35-7.2"),
                                                .kernel_irqchip = strdup(""),
                                                .parties =
                                                    calloc(1, sizeof(struct agreement_party)),
                                                .party_count = 1};
    autovmrecord struct vm_record record;
    autojson json_t *document = NULL;
    char digest[DIGEST_HEX_SIZE];
    MUST(identity_create(unit_folder, &err));
    autoidentity struct identity *identity = identity_load(unit_folder, NULL);
    struct agreement_party *party = &agreement.parties[0];
    party->host = strdup("a");
    memcpy(party->pin, identity->pin, PIN_SIZE);
    memcpy(party->nonce, HEX64, NONCE_SIZE);
    memcpy(party->profile, HEX64, DIGEST_HEX_SIZE);
    memcpy(agreement.baseline.identity.vendor, "GenuineIntel", CPU_VENDOR_SIZE);
    agreement.baseline.accel = strdup("tcg");
    add_names(&agreement.baseline.features, "lm avx");
    make_record(&record, PLACE_HERE, true);
    MUST(file_write_atomic(vms, "", 0, 0600, &err)); /* no folder */
    MUST_FAIL(STATUS_CANNOT_WRITE, "vms", adopt_store(&paths, identity, &agreement, &record, &err));
    ck_assert_int_ne(access(kept, F_OK), 0);
    ck_assert_int_eq(unlink(vms), 0);
    MUST(folder_make(vms, 0700, &err));
    MUST(adopt_store(&paths, identity, &agreement, &record, &err));
    MUST(agreement_load(unit_folder, "web1", &document, &err));
    autoagreement struct agreement back = {0};
    MUST(agreement_document_open(document, &back, digest, &err));
    ck_assert_str_eq(digest, record.agreement);
    ck_assert_uint_eq(back.party_count, 1);
    /* It is there already: only without a record of the VM is it an interrupted adoption's. */
    struct vm_record none = {0};
    MUST(adopt_check_agreement(&paths, "web1", identity->pin, &none, false, &err));
    MUST_FAIL(STATUS_DECISION, "--renegotiate",
              adopt_check_agreement(&paths, "web1", identity->pin, &record, false, &err));
    MUST_FAIL(STATUS_DECISION, "--renegotiate",
              adopt_check_agreement(&paths, "web1", "sha256//x", &none, false, &err));
    MUST(adopt_check_agreement(&paths, "web1", identity->pin, &record, true, &err));
    MUST(adopt_check_agreement(&paths, "web2", identity->pin, &record, false, &err));
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {places, processes, private_sockets, all_or_nothing};
    return unit_run("adopt store", tests, COUNT(tests));
}
