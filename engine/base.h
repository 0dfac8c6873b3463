/* base - the few words every file uses: attributes, asserts, alignment.
 *
 * ASSERT stays on in release builds: it guards what only our own code can break.  It is never put
 * on bytes that came from a wire, a disk or an agent; those get a named error.
 * ASSERT_SLOW is for checks that cost more than the work they guard; debug and simulation only. */
#ifndef DUNLIN_ENGINE_BASE_H
#define DUNLIN_ENGINE_BASE_H

#include <errno.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MUST_USE __attribute__((warn_unused_result))
#define ALWAYS_INLINE inline __attribute__((always_inline))
#define COLD __attribute__((cold, noinline))
#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)
#define PREFETCH(p) __builtin_prefetch((p), 0, 3)
#define PREFETCH_WRITE(p) __builtin_prefetch((p), 1, 3)

#define CACHE_LINE 64u
#define PAGE 4096u
#define NS_PER_MS UINT64_C(1000000)
#define NS_PER_S UINT64_C(1000000000)

/* Prints the expression and its place to stderr and aborts. */
_Noreturn COLD void base_assert_failed(const char *expression, const char *file, int line);

#define ASSERT(e) (LIKELY(e) ? (void)0 : base_assert_failed(#e, __FILE__, __LINE__))
#ifdef DUNLIN_SLOW_ASSERTS
#define ASSERT_SLOW(e) ASSERT(e)
#else
#define ASSERT_SLOW(e) ((void)sizeof(e))
#endif

static ALWAYS_INLINE uint64_t align_up(uint64_t value, uint64_t power_of_two)
{
    return (value + power_of_two - 1) & ~(power_of_two - 1);
}

static ALWAYS_INLINE bool is_power_of_two(uint64_t value)
{
    return value != 0 && (value & (value - 1)) == 0;
}

static ALWAYS_INLINE uint64_t min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static ALWAYS_INLINE uint64_t max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static ALWAYS_INLINE void cpu_relax(void)
{
    __builtin_ia32_pause();
}

#endif
