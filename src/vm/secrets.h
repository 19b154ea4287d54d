/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A QEMU command line without what is nobody else's business. Pure.
 */
#ifndef QML_VM_SECRETS_H
#define QML_VM_SECRETS_H

#include "vm/arglist.h"

/* The same command line for another host's eyes:
 *   - gone: -object of secrets and keys (secret, secret_keyring, tls-creds-*, tls-cipher-suites,
 *     authz-*), -set of objects
 *   - VISIBLE_NOT_TOLD (visible.h) in place of: values of keys with password, passwd, passphrase or
 * secret in their names; -fw_cfg string=; -smbios type=11 value= (systemd reads credentials there);
 * in -append, words whose names say that they are secrets; USER:PASSWORD in URLs and rbd's key=
 * *told must be empty; *left_out gets a line for each. STATUS_INTERNAL. */
bool arglist_without_secrets(const struct arglist *list, struct arglist *told,
                             struct strlist *left_out, struct error *err);

#endif
