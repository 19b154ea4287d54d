/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The parts of the baseline command.
 */
#ifndef QML_CLI_CMD_BASELINE_H
#define QML_CLI_CMD_BASELINE_H

#include "cli/command.h"
#include "cpu/render.h"
#include "device/device_report.h"
#include "host/profile.h"

/* What it was asked, read and found. */
struct baseline_command {
    struct context *context;
    const char *qemu, *machine;
    const char *agreement; /* --agreement, or NULL */
    const char *html;      /* --html, or NULL */
    struct cpu_request request;
    enum cpu_form form;
    bool form_given;
    struct featureset require, deny;

    size_t count; /* of profiles */
    struct profile *profiles;
    const struct cpu_offer **offers;
    const struct cpu_request **requests;
    struct cpu_offer lender; /* of CPU models' definitions, by --qemu */
    char *machine_chosen;    /* NULL: no profile tells any types */

    struct baseline baseline;
    struct baseline_report report;
    struct device_host *hosts; /* of profiles */
    struct device_report devices;
    struct device_host *machines; /* of profiles: what is known of the machine type there */
    struct strlist cpus;          /* -cpu for each */
};

/* The document of --json (DESIGN 11); NULL for want of memory. */
json_t *baseline_document(const struct baseline_command *command);

/* Tables for people on standard output. */
bool baseline_print(const struct baseline_command *command, struct error *err);

/* Of these the table of what is lost, as wide as the terminal. */
bool baseline_print_losses(const struct baseline_command *command, struct error *err);

/* The page for a browser, whole into the file of --html or not at all. STATUS_CANNOT_WRITE. */
bool baseline_write_page(const struct baseline_command *command, struct error *err);

/* With --agreement: which of the hosts could take that VM. STATUS_INCOMPATIBLE if not all. */
bool baseline_against_agreement(const struct baseline_command *command, struct error *err);

#endif
