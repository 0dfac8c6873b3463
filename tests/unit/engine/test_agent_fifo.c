/* agent/fifo: pieces never overlap, and come back in any order. */
#include "engine/agent/fifo.h"
#include "tests/unit/unit.h"

#include <stdlib.h>

static struct fifo f;

static void pieces_come_back_in_any_order(void)
{
    uint32_t offset[4], piece[4];
    fifo_init(&f, 1024);
    for (unsigned i = 0; i < 4; i++) {
        CU_ASSERT_EQUAL(fifo_take(&f, 250, &offset[i], &piece[i]), 0);
        CU_ASSERT_EQUAL(offset[i], i * 256);
    }
    uint32_t none;
    CU_ASSERT_EQUAL(fifo_take(&f, 1, &none, &none), -EAGAIN);
    fifo_return(&f, piece[1]);
    CU_ASSERT_EQUAL(fifo_take(&f, 1, &none, &none), -EAGAIN); /* the oldest is still out */
    fifo_return(&f, piece[0]);
    CU_ASSERT_EQUAL(fifo_take(&f, 512, &offset[0], &piece[0]), 0);
    CU_ASSERT_EQUAL(offset[0], 0);
    fifo_return(&f, piece[3]);
    fifo_return(&f, piece[2]);
    fifo_return(&f, piece[0]);
    CU_ASSERT_EQUAL(f.count, 0);
    CU_ASSERT_EQUAL(fifo_take(&f, 1024, &offset[0], &piece[0]), 0);
    fifo_return(&f, piece[0]);
}

static void a_piece_is_contiguous(void)
{
    uint32_t offset, first, second, third;
    fifo_init(&f, 1024);
    CU_ASSERT_EQUAL(fifo_take(&f, 640, &offset, &first), 0);
    CU_ASSERT_EQUAL(fifo_take(&f, 64, &offset, &second), 0);
    fifo_return(&f, first);
    CU_ASSERT_EQUAL(fifo_take(&f, 512, &offset, &third), 0); /* not the 320 at the end */
    CU_ASSERT_EQUAL(offset, 0);
    fifo_return(&f, second);
    fifo_return(&f, third);
}

static void limits_are_named(void)
{
    uint32_t offset, piece;
    fifo_init(&f, 0);
    CU_ASSERT_EQUAL(fifo_take(&f, 0, &offset, &piece), -EAGAIN);
    fifo_init(&f, 1u << 20);
    CU_ASSERT_EQUAL(fifo_take(&f, (1u << 20) + 1, &offset, &piece), -EAGAIN);
    uint32_t pieces[FIFO_PIECES];
    for (uint32_t i = 0; i < FIFO_PIECES; i++)
        CU_ASSERT_EQUAL(fifo_take(&f, 0, &offset, &pieces[i]), 0);
    CU_ASSERT_EQUAL(fifo_take(&f, 1, &offset, &piece), -EAGAIN);
    for (uint32_t i = FIFO_PIECES; i-- != 0;)
        fifo_return(&f, pieces[i]);
    CU_ASSERT_EQUAL(f.count, 0);
}

/* Random traffic against a map of what is out. */
static void random_pieces_never_overlap(void)
{
    enum { BYTES = 8192, HELD = 40 };
    static uint8_t owner[BYTES / 64];
    struct {
        uint32_t offset, cells, piece;
    } held[HELD];
    unsigned count = 0, taken = 0;
    srand(4711);
    memset(owner, 0, sizeof owner);
    fifo_init(&f, BYTES);
    for (unsigned i = 0; i < 200000; i++) {
        uint32_t bytes = (uint32_t)rand() % 700;
        if (count < HELD && rand() % 2 == 0 &&
            fifo_take(&f, bytes, &held[count].offset, &held[count].piece) == 0) {
            held[count].cells = bytes == 0 ? 1 : (bytes + 63) / 64;
            CU_ASSERT_FATAL(held[count].offset % 64 == 0 &&
                            held[count].offset + held[count].cells * 64 <= BYTES);
            for (uint32_t c = 0; c < held[count].cells; c++) {
                CU_ASSERT_EQUAL_FATAL(owner[held[count].offset / 64 + c], 0);
                owner[held[count].offset / 64 + c] = 1;
            }
            count++;
            taken++;
        } else if (count != 0) {
            unsigned which = (unsigned)rand() % count;
            memset(owner + held[which].offset / 64, 0, held[which].cells);
            fifo_return(&f, held[which].piece);
            held[which] = held[--count];
        }
    }
    CU_ASSERT_TRUE(taken > 50000);
}

static const struct unit_test tests[] = {
    UNIT_TEST(pieces_come_back_in_any_order),
    UNIT_TEST(a_piece_is_contiguous),
    UNIT_TEST(limits_are_named),
    UNIT_TEST(random_pieces_never_overlap),
};
UNIT_MAIN("agent_fifo", tests)
