/* node_space - what node.c needs of node_space.c and nobody else. */
#ifndef DUNLIN_DATAPLANE_NODE_SPACE_H
#define DUNLIN_DATAPLANE_NODE_SPACE_H

#include "dataplane/node.h"

/* Free a space as far as it was made; NULL is none. */
void node_space_free(struct node_space *s);

#endif
