/* The log writes of a cluster of replicas: what the NICs would do. */
#include "dataplane/replica_grant.h"
#include "tests/unit/dataplane/replica_cluster.h"
#include "tests/unit/unit.h"

#include <string.h>

/* The write lands, if its connection is still there, and is complete. */
static void land(struct cluster *c, const struct cluster_write *w)
{
    struct cluster_node *to = &c->nodes[w->to];
    if (group_connection_key(&to->group, w->from) == w->token.key)
        memcpy(to->shard.arena + w->token.address, w->bytes, w->length);
    replica_written(&c->nodes[w->from].replica, &to->replica.self, w->number);
}

void cluster_write_post(struct cluster *c, uint32_t node, const struct replica_out *out)
{
    const struct message *m = &out->message;
    CU_ASSERT_FATAL(c->write_count < CLUSTER_LETTERS);
    c->writes[c->write_count++] = (struct cluster_write){
        .from = node,
        .to = out->to,
        .bytes = m->bytes,
        .length = m->length,
        .number = m->number,
        .token = m->token,
    };
    if (!c->writes_late)
        cluster_writes_land(c);
}

void cluster_writes_land(struct cluster *c)
{
    for (uint32_t i = 0; i < c->write_count; i++)
        land(c, &c->writes[i]);
    c->write_count = 0;
}
