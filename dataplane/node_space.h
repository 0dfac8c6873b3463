/* node_space - what the files of a node need of node_space.c and nobody else. */
#ifndef DUNLIN_DATAPLANE_NODE_SPACE_H
#define DUNLIN_DATAPLANE_NODE_SPACE_H

#include "dataplane/node.h"

/* Free a space as far as it was made; NULL is none. */
void node_space_free(struct node *n, struct node_space *s);

/* Unmap and close a chunk that nobody names any more; one that is not there is no matter. */
void node_chunk_destroy(struct node *n, struct node_space *s, uint32_t chunk);

#endif
