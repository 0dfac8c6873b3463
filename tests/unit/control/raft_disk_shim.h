/* raft_disk_shim - what a disk would hold if the power failed now, and disks that fail.
 *
 * Linked with --wrap for the calls by which raft_disk changes files (openat64, pwrite64, fdatasync, fsync,
 * renameat, unlinkat).  A watched directory has an image: what is synced, and what waits, in pieces of at most
 * one sector of 512 bytes and in single changes of the directory.  A crash keeps any of the pieces, and of the
 * changes either the first few or any of them that do not depend on others.  A sync that fails loses its
 * pieces for good, though they read back well: they are never synced later.
 *
 * Threads: changes may come from any; shim_crash and shim_fail only while nothing else changes. */
#ifndef DUNLIN_TESTS_UNIT_CONTROL_RAFT_DISK_SHIM_H
#define DUNLIN_TESTS_UNIT_CONTROL_RAFT_DISK_SHIM_H

#include "engine/base.h"

struct shim;

/* Watch an existing, empty directory.  at_point, if any, is called before each change and each sync, by the
 * thread that makes it. */
struct shim *shim_begin(const char *directory, void (*at_point)(void *context), void *context);
void shim_end(struct shim *s);

/* Write what a crash leaves to a directory that exists and is empty.  level: 0 keeps only what was synced, 1
 * a random part of the rest, 2 all of it. */
void shim_crash(const struct shim *s, const char *directory, int level, unsigned *seed);
/* Watch a directory that holds files: they count as synced. */
struct shim *shim_adopt(const char *directory);
void shim_at_point(struct shim *s, void (*at_point)(void *context), void *context);

/* From the count-th change or sync on (1: the next) writes fail with that errno (and new files, and syncs if
 * syncs is set); error 0: no more.  A write that fails with ENOSPC may write a part.  metadata files are
 * spared: they have their space. */
void shim_fail(struct shim *s, unsigned count, int error, bool syncs);

/* How many changes and syncs there were. */
unsigned shim_points(const struct shim *s);

/* A new directory of the test, on a file system without a disk if there is one. */
void shim_directory_make(char path[64]);
void shim_directory_clear(const char *path);
void shim_directory_remove(const char *path);

#endif
