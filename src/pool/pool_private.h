/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What the files of an open pool share.
 */
#ifndef QML_POOL_POOL_PRIVATE_H
#define QML_POOL_POOL_PRIVATE_H

#include "pool/etcd.h"
#include "pool/pool.h"

struct pool {
    struct pool_setup setup;
    struct etcd *etcd;
};

#endif
