/* model_cursor - cursors at both nodes of the model: what is committed in the cluster, each record by its
 * checksum, is what every cursor gives out, once, in order, transaction by transaction; or it is told that
 * it lagged, and then the tail does not hold what is missing. */
#ifndef DUNLIN_TESTS_UNIT_ENGINE_MODEL_CURSOR_H
#define DUNLIN_TESTS_UNIT_ENGINE_MODEL_CURSOR_H

#include "engine/cursor.h"
#include "tests/unit/engine/model.h"

#define MODEL_CURSORS 4u /* at each node */

struct model_record {
    uint64_t lsn, lsn_end;
    uint32_t crc;
    bool end; /* of a transaction */
    bool matters[MODEL_CURSORS];
};

struct model_cursors {
    struct topic topics[MODEL_CURSORS];
    struct cursor cursors[2][MODEL_CURSORS];
    struct model_record *records; /* committed, oldest first */
    uint32_t count, room;
    uint64_t lsn_from, lsn_to; /* that they cover */
    uint8_t *bytes;
    uint64_t random; /* its own: the model goes the same way without cursors */
    uint64_t events, lagged, sought, grown; /* a run in which one stays 0 proves little */
    uint64_t skipped; /* segments that were cleaned before they were learned of */
};

void model_cursors_open(struct model_cursors *c);
void model_cursors_close(struct model_cursors *c);

/* Learn what was committed since, then let each cursor read now and then. */
void model_cursors_step(struct model_cursors *c, struct model *m);
/* Every cursor reads until nothing is left. */
void model_cursors_drain(struct model_cursors *c, struct model *m);

#endif
