/* logline - lines for people and scripts, on stderr, in one form:
 *
 *   time=2026-11-21T08:15:30.123456Z level=info event=agent_attached slot=3 uid=0 pid=47 node=n1
 *
 * time is UTC; level is info, warn or error; event is one of the names below; then fields, each
 * name=value.  A value that is empty or holds anything but letters, digits and -_./:,@+%# stands in
 * double quotes, with \" \\ and \xNN for quotes, backslashes and all bytes that are not printable
 * ASCII: a line is always one line.
 *
 *   ready node start socket           it serves
 *   stopping signal                   it was asked to end
 *   start_failed step error           it could not start; step names what failed
 *   space_failed space error          the same, for one space
 *   descriptors_few limit wanted      RLIMIT_NOFILE does not suffice for as many agents as may come
 *   agent_attached slot uid pid
 *   agent_detached slot uid pid reason  closed (it left or died), protocol (impossible request),
 *                                     slow (did not read its answers), fault_ring, fault_memory
 *                                     (what it did to its shared memory), error, shutdown
 *   attach_refused uid pid error
 *   accept_failed error               no descriptors; nobody is accepted for a moment
 *   space_memory_short space error    no memory for what the quota promises; writes are refused
 *   space_memory_back space           there is again
 *   lsn_grant_failed error            the state file cannot be written; writes end when the grant
 *                                     does
 *
 *   join_failed step error cluster    the node cannot take part; step names what failed
 *   move_asked, move_failed           by `dunlin move`: server.h
 *   those of a cluster                cluster_node.h, coordinator_raft.h, raft_node.h, control_net.h
 *
 * All that concern one node of the process end with its name: node.
 *
 * Never blocks: when stderr cannot take a line now, it is dropped; at most LOGLINES_PER_S leave in
 * a second, a quarter of them kept for warnings and errors.  The next line that leaves says how
 * many did not: dropped=N. Threads of control; lcores never log. */
#ifndef DUNLIN_CONTROL_LOGLINE_H
#define DUNLIN_CONTROL_LOGLINE_H

#include "engine/base.h"

#define LOGLINE_BYTES 1024u /* longer ones are cut, between fields */
#define LOGLINES_PER_S 200u

enum log_level { LOG_INFO, LOG_WARN, LOG_ERROR };

struct log_field {
    const char *name;
    const char *text; /* NULL: number */
    int64_t number;
};

#define LOG_TEXT(n, t) ((struct log_field){.name = (n), .text = (t)})
#define LOG_NUMBER(n, v) ((struct log_field){.name = (n), .number = (int64_t)(v)})
/* A negative errno as text. */
#define LOG_ERRNO(error) LOG_TEXT("error", strerrordesc_np(-(error)))

/* log_event(LOG_INFO, "agent_attached", LOG_NUMBER("slot", 3), LOG_TEXT("path", p)); */
#define log_event(level, event, ...)                                                               \
    logline_write((level), (event), (const struct log_field[]){__VA_ARGS__},                       \
                  sizeof((const struct log_field[]){__VA_ARGS__}) / sizeof(struct log_field))

void logline_write(enum log_level level, const char *event, const struct log_field *fields,
                   size_t count);

struct logline {
    uint64_t ns_realtime; /* since 1970 */
    enum log_level level;
    const char *event;
    const struct log_field *fields;
    size_t count;
};

/* The line as logline_write makes it, with its newline, into capacity bytes (>= 128).  Returns its
 * length. */
size_t logline_format(char *line, size_t capacity, const struct logline *what);

#endif
