/* index_leave - a page of an index goes to another frame: index.h. */
#include "engine/index_bucket.h"

/* Copy a page of the table that readers use, then store its new frame.  Why a reader that still goes by the
 * old one errs in nothing: the page was whole for all that was committed when the reader came to R2, since
 * what is indexed later is committed later; the page changes no more, and is stamped before its frame is
 * used again. */
static int page_move(struct index *x, _Atomic uint32_t *page, const struct reclaim_now *now)
{
    uint32_t frame, old = atomic_load_explicit(page, memory_order_relaxed) - 1;
    uint32_t shift = x->page_shift + 6;
    if (frames_take(x->frames, FRAME_INDEX, 0, &frame) != 0)
        return -EAGAIN;
    /* Why: as of every page, see page_ensure.  relaxed, all of it: the page number publishes it */
    uint64_t count = atomic_load_explicit(&x->board->reclaim_count, memory_order_relaxed);
    atomic_store_explicit(&x->frames->directory[frame].stamp, count, memory_order_relaxed);
    _Atomic uint64_t *from = (void *)(x->arena + ((uint64_t)old << shift));
    _Atomic uint64_t *to = (void *)(x->arena + ((uint64_t)frame << shift));
    for (uint32_t i = 0; i < 1u << (shift - 3); i++)
        atomic_store_explicit(&to[i], atomic_load_explicit(&from[i], memory_order_relaxed),
                              memory_order_relaxed);
    atomic_store_explicit(page, frame + 1, memory_order_release);
    reclaim_retire(x->reclaim, old, now);
    return 0;
}

int index_leave_step(struct index *x, const struct reclaim_now *now)
{
    uint32_t pages = index_pages(x);
    /* Why not while it grows: the next table is there within a bounded number of passes, and this one's
     * pages are gone with it. */
    if (x->growing)
        return -EAGAIN;
    for (uint32_t i = 0; i < pages; i++) {
        _Atomic uint32_t *page = &x->board->pages[x->table.array][i];
        uint32_t known = atomic_load_explicit(page, memory_order_relaxed);
        if (known == 0 || !frames_is_leaving(x->frames, known - 1))
            continue;
        int error = page_move(x, page, now);
        return error == 0 ? 1 : error;
    }
    return 0;
}
