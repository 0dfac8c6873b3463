#include "dataplane/dpdk_size.h"

#include <stdlib.h>
#include <string.h>

#define OVERHEAD 26u   /* 14 of Ethernet's head, 4 of its checksum, two tags of 4 */
#define ROOM_MIN 2048u /* and the least frame of net_af_packet that its driver takes by itself */
#define FRAMES "framesz="
#define FRAMES_MAX 32768u
#define OBJECT_HEAD 64u   /* what stands before an mbuf in its pool */
#define POOL_BYTES 8192u  /* a pool's own, and what its allocations round up to */
#define CACHE_BYTES 8320u /* of one thread in one pool */
#define RING_BYTES 512u   /* of a ring, before its places */
#define DRIVER_MIB 2u     /* of a port, and of each pair of queues, that its driver takes */
#define SMALL_PAGE UINT64_C(4096)
#define HUGE_PAGE (UINT64_C(2) << 20)
#define MIB (UINT64_C(1) << 20)

uint32_t dpdk_size_room(uint32_t mtu)
{
    /* Why in KiB: some devices count the length of buffers so. */
    return (uint32_t)max_u64(align_up(mtu + OVERHEAD, 1024), ROOM_MIN);
}

uint32_t dpdk_size_frame_bytes(const char *device)
{
    const char *frames = strstr(device, FRAMES);
    return frames != NULL
               ? (uint32_t)min_u64(strtoul(frames + strlen(FRAMES), NULL, 10), FRAMES_MAX)
               : ROOM_MIN;
}

static bool is_of(const char *device, const char *driver)
{
    return strncmp(device, driver, strlen(driver)) == 0;
}

static uint64_t ring_bytes(uint64_t places)
{
    uint64_t power = 1;
    while (power < places)
        power *= 2;
    return RING_BYTES + power * sizeof(void *);
}

static uint64_t objects_bytes(uint64_t object, uint64_t page)
{
    if (page == 0)
        return DPDK_SIZE_MBUFS * object;
    uint64_t pages = object <= page ? (DPDK_SIZE_MBUFS + page / object - 1) / (page / object)
                                    : DPDK_SIZE_MBUFS * ((object + page - 1) / page);
    return pages * page;
}

/* Of so many bytes behind the mbuf; page 0: one behind the other, whatever the pages. */
static uint64_t pool_bytes(uint64_t buffer, uint64_t page)
{
    /* Why an odd number of cache lines: DPDK spreads mbufs over the channels of the memory so. */
    uint64_t object = align_up(OBJECT_HEAD + DPDK_SIZE_MBUF + buffer, CACHE_LINE) | CACHE_LINE;
    return objects_bytes(object, page) + ring_bytes(DPDK_SIZE_MBUFS + 1) +
           DPDK_SIZE_THREADS * (uint64_t)CACHE_BYTES + POOL_BYTES;
}

uint32_t dpdk_size_least_mib(const struct dpdk_size *s)
{
    uint64_t page = s->small_pages ? SMALL_PAGE : HUGE_PAGE;
    uint64_t room = dpdk_size_room(s->mtu != 0 ? s->mtu : 1500);
    if (is_of(s->device, "net_af_packet"))
        room = max_u64(room, dpdk_size_frame_bytes(s->device));
    uint64_t packets =
        pool_bytes(DPDK_SIZE_HEADROOM + room, is_of(s->device, "net_af_xdp") ? 0 : page);
    uint64_t lcore = packets + pool_bytes(0, page) + ring_bytes(DPDK_SIZE_INBOX);
    return (uint32_t)((s->lcore_count * lcore + MIB - 1) / MIB);
}

uint32_t dpdk_size_mib(const struct dpdk_size *s)
{
    return dpdk_size_least_mib(s) + DRIVER_MIB * (s->lcore_count + 1);
}
