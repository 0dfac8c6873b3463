/* agent/fifo: pieces never overlap, and come back in any order. */
#include "engine/agent/fifo.h"
#include "tests/unit/unit.h"

#include <stdlib.h>

static struct fifo f;

static void pieces_come_back_in_any_order(void)
{
    uint32_t offset[4], piece[4];
    agent_fifo_init(&f, 1024);
    for (unsigned i = 0; i < 4; i++) {
        CU_ASSERT_EQUAL(agent_fifo_take(&f, 250, &offset[i], &piece[i]), 0);
        CU_ASSERT_EQUAL(offset[i], i * 256);
    }
    uint32_t none;
    CU_ASSERT_EQUAL(agent_fifo_take(&f, 1, &none, &none), -EAGAIN);
    agent_fifo_return(&f, piece[1]);
    CU_ASSERT_EQUAL(agent_fifo_take(&f, 1, &none, &none), -EAGAIN); /* the oldest is still out */
    agent_fifo_return(&f, piece[0]);
    CU_ASSERT_EQUAL(agent_fifo_take(&f, 512, &offset[0], &piece[0]), 0);
    CU_ASSERT_EQUAL(offset[0], 0);
    agent_fifo_return(&f, piece[3]);
    agent_fifo_return(&f, piece[2]);
    agent_fifo_return(&f, piece[0]);
    CU_ASSERT_EQUAL(f.count, 0);
    CU_ASSERT_EQUAL(agent_fifo_take(&f, 1024, &offset[0], &piece[0]), 0);
    agent_fifo_return(&f, piece[0]);
}

static void a_piece_is_contiguous(void)
{
    uint32_t offset, first, second, third;
    agent_fifo_init(&f, 1024);
    CU_ASSERT_EQUAL(agent_fifo_take(&f, 640, &offset, &first), 0);
    CU_ASSERT_EQUAL(agent_fifo_take(&f, 64, &offset, &second), 0);
    agent_fifo_return(&f, first);
    CU_ASSERT_EQUAL(agent_fifo_take(&f, 512, &offset, &third), 0); /* not the 320 at the end */
    CU_ASSERT_EQUAL(offset, 0);
    agent_fifo_return(&f, second);
    agent_fifo_return(&f, third);
}

static void limits_are_named(void)
{
    uint32_t offset, piece;
    agent_fifo_init(&f, 0);
    CU_ASSERT_EQUAL(agent_fifo_take(&f, 0, &offset, &piece), -EAGAIN);
    agent_fifo_init(&f, 1u << 20);
    CU_ASSERT_EQUAL(agent_fifo_take(&f, (1u << 20) + 1, &offset, &piece), -EAGAIN);
    uint32_t pieces[FIFO_PIECES];
    for (uint32_t i = 0; i < FIFO_PIECES; i++)
        CU_ASSERT_EQUAL(agent_fifo_take(&f, 0, &offset, &pieces[i]), 0);
    CU_ASSERT_EQUAL(agent_fifo_take(&f, 1, &offset, &piece), -EAGAIN);
    for (uint32_t i = FIFO_PIECES; i-- != 0;)
        agent_fifo_return(&f, pieces[i]);
    CU_ASSERT_EQUAL(f.count, 0);
}

/* Random traffic against a map of what is out. */
#define RANDOM_BYTES 8192u

struct piece {
    uint32_t offset, cells, number;
};
static uint8_t taken_cells[RANDOM_BYTES / 64];

static bool take_random(struct piece *p)
{
    uint32_t bytes = (uint32_t)rand() % 700;
    if (agent_fifo_take(&f, bytes, &p->offset, &p->number) != 0)
        return false;
    p->cells = bytes == 0 ? 1 : (bytes + 63) / 64;
    CU_ASSERT_FATAL(p->offset % 64 == 0 && p->offset + p->cells * 64 <= RANDOM_BYTES);
    for (uint32_t c = p->offset / 64; c < p->offset / 64 + p->cells; c++) {
        CU_ASSERT_EQUAL_FATAL(taken_cells[c], 0);
        taken_cells[c] = 1;
    }
    return true;
}

static void random_pieces_never_overlap(void)
{
    enum { HELD = 40 };
    struct piece held[HELD];
    unsigned count = 0, taken = 0;
    srand(4711);
    memset(taken_cells, 0, sizeof taken_cells);
    agent_fifo_init(&f, RANDOM_BYTES);
    for (unsigned i = 0; i < 200000; i++) {
        if (count < HELD && rand() % 2 == 0 && take_random(&held[count])) {
            count++;
            taken++;
        } else if (count != 0) {
            unsigned which = (unsigned)rand() % count;
            memset(taken_cells + held[which].offset / 64, 0, held[which].cells);
            agent_fifo_return(&f, held[which].number);
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
