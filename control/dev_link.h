/* dev_link - the links between the nodes of `dunlind dev --moves`, one of which can be cut off: nothing
 * that it sends arrives, and nothing arrives at it, until it is let in again.
 *
 * A transport over another one (transport.h), which it takes every call to; what is lost is lost by
 * the receiver, so everything sent completes as ever.  It has no log writes.
 * Threads: open and close are control's, before and after the lcores; cut_off is for one thread.
 * Owner: the caller frees neither end before the lcores stopped. */
#ifndef DUNLIN_CONTROL_DEV_LINK_H
#define DUNLIN_CONTROL_DEV_LINK_H

#include "dataplane/transport.h"

struct dev_links;

/* Room for count endpoints.  Returns 0 or -ENOMEM. */
MUST_USE int dev_links_open(struct dev_links **links, uint32_t count);
void dev_links_close(struct dev_links *links); /* may be NULL */

/* An endpoint over another, at most count times; good until close. */
struct transport *dev_link_over(struct dev_links *links, struct transport *inner);

/* A node's id, 0: nobody is cut off. */
void dev_links_cut_off(struct dev_links *links, uint32_t node);

#endif
