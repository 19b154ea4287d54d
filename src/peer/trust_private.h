/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Shared by trust.c (reading, finding) and trust-edit.c (changing the files).
 */
#ifndef QML_PEER_TRUST_PRIVATE_H
#define QML_PEER_TRUST_PRIVATE_H

#include "peer/trust.h"

#define TRUST_FOLDER "trust.d"
#define TRUST_SUFFIX ".json"
#define TRUST_VERSION 1

#endif
