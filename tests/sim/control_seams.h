/* control_seams - put in front of every source of the control plane that the scenario `control` runs
 * (-include): its clock, memory, random numbers, threads, descriptors and libuv are the simulator's.
 *
 * What libraft, its disk (control/raft_disk.h) and the mesh (control/control_net.h) ask for is replaced by
 * functions of the same names when the program is linked: control_store.c, control_mesh.c.
 *
 * All of it acts for the process that runs at the moment: control_world.h. */
#ifndef DUNLIN_TESTS_SIM_CONTROL_SEAMS_H
#define DUNLIN_TESTS_SIM_CONTROL_SEAMS_H

#include "control/leader_lease_tally.h"
#include "control/raft_machine.h"
#include "control/raft_repair.h"
#include "engine/clock.h"
#include "tests/sim/control_heap.h"

#include <pthread.h>
#include <raft.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <unistd.h>
#include <uv.h>

uint64_t seam_clock_ns(void);
ssize_t seam_random(void *bytes, size_t length);

void seam_cond_wait(void);
void seam_cond_broadcast(void);
void seam_thread_join(void);

int seam_eventfd(void);
ssize_t seam_fd_write(void);

void seam_loop_init(uv_loop_t *loop);
int seam_loop_close(void);
void seam_handle_init(void *handle);
void seam_async_init(uv_async_t *handle, uv_async_cb callback);
void seam_async_send(uv_async_t *handle);
void seam_check_start(uv_check_t *handle, uv_check_cb callback);
void seam_timer_start(uv_timer_t *handle, uv_timer_cb callback, uint64_t timeout_ms,
                      uint64_t repeat_ms);
void seam_timer_stop(uv_timer_t *handle);
uint64_t seam_timer_due_in(const uv_timer_t *handle);
void seam_close(uv_handle_t *handle, uv_close_cb callback);

/* The checks look on. */
void seam_voter_init(struct leader_lease_voter *v, const struct leader_lease_voter_config *config,
                     uint64_t now);
void seam_holder_init(struct leader_lease_holder *h);
void seam_machine_init(struct raft_machine *m);
int seam_raft_init(struct raft *r, struct raft_io *io, struct raft_fsm *fsm, raft_id id,
                   const char *address);
/* Whoever is found to be over has no lease. */
bool seam_is_over(bool is_over, uint32_t node, uint64_t start);
int seam_receive(const struct raft_repair *r, struct raft *raft,
                 const struct raft_append_entries *a);
int64_t seam_apply(struct coordinator_state **state, const struct coordinator_command *c);

#ifdef CONTROL_SEAMS /* of files that define none of these themselves */
#define clock_boottime_ns() seam_clock_ns()
#define getrandom(bytes, length, flags) seam_random((bytes), (length))

#define pthread_mutex_init(mutex, attributes) ((void)(mutex), 0)
#define pthread_mutex_lock(mutex) ((void)(mutex))
#define pthread_mutex_unlock(mutex) ((void)(mutex))
#define pthread_mutex_destroy(mutex) ((void)(mutex), 0)
#define pthread_cond_init(cond, attributes) ((void)(cond), 0)
#define pthread_cond_destroy(cond) ((void)(cond), 0)
#define pthread_cond_wait(cond, mutex) ((void)(cond), (void)(mutex), seam_cond_wait())
#define pthread_cond_broadcast(cond) ((void)(cond), seam_cond_broadcast())
#define pthread_create(thread, attributes, run, argument)                                          \
    ((void)(thread), (void)(run), (void)(argument), 0)
#define pthread_join(thread, result) ((void)(thread), seam_thread_join(), 0)

#define eventfd(count, flags) seam_eventfd()
#define write(fd, bytes, length) ((void)(fd), (void)(bytes), seam_fd_write())
#define read(fd, bytes, length) ((void)(fd), (void)(bytes), (ssize_t)0)
#define close(fd) ((void)(fd), 0)

#define uv_loop_init(loop) (seam_loop_init(loop), 0)
#define uv_loop_close(loop) ((void)(loop), seam_loop_close())
#define uv_run(loop, mode) ((void)(loop), seam_thread_join(), 0)
#define uv_async_init(loop, handle, callback)                                                      \
    ((void)(loop), seam_async_init((handle), (callback)), 0)
#define uv_async_send(handle) (seam_async_send(handle), 0)
#define uv_check_init(loop, handle) ((void)(loop), seam_handle_init(handle), 0)
#define uv_check_start(handle, callback) (seam_check_start((handle), (callback)), 0)
#define uv_timer_init(loop, handle) ((void)(loop), seam_handle_init(handle), 0)
#define uv_timer_start(handle, callback, timeout, repeat)                                          \
    (seam_timer_start((handle), (callback), (timeout), (repeat)), 0)
#define uv_timer_stop(handle) (seam_timer_stop(handle), 0)
#define uv_timer_get_due_in(handle) seam_timer_due_in(handle)
#define uv_close(handle, callback) seam_close((handle), (callback))

#define raft_repair_receive(r, raft, a) seam_receive((r), (raft), (a))
#define leader_lease_voter_init(v, config, now) seam_voter_init((v), (config), (now))
#define leader_lease_holder_init(h, node, start, voters, count)                                    \
    (leader_lease_holder_init((h), (node), (start), (voters), (count)), seam_holder_init(h))
#define leader_lease_tally_is_over(t, node, start, now)                                            \
    seam_is_over(leader_lease_tally_is_over((t), (node), (start), (now)), (node), (start))
/* Few entries, so that a run takes snapshots, and nodes need them. */
#define raft_set_snapshot_threshold(raft, count) raft_set_snapshot_threshold((raft), (count) / 32)
#define raft_set_snapshot_trailing(raft, count) raft_set_snapshot_trailing((raft), (count) / 64)
#define raft_init(raft, io, fsm, id, address) seam_raft_init((raft), (io), (fsm), (id), (address))
#endif

#ifdef CONTROL_SEAMS_MACHINE /* of raft_machine.c */
#define coordinator_command_apply(state, command) seam_apply((state), (command))
#elif defined(CONTROL_SEAMS)
#define raft_machine_init(m) (raft_machine_init(m), seam_machine_init(m))
#endif

#endif
