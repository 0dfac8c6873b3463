/* Reads at versions of a model: what the map held then, or "compacted" where that is allowed. */
#include "tests/unit/engine/model.h"

#include <unistd.h>

#define READ_TRIES 3u

struct asked {
    const struct fixture *f;
    uint32_t number;
    struct model_version at; /* of some key */
    bool is_own;             /* of this one */
};

/* What the key held when the transaction that ends at lsn_end was visible; -1: nothing yet. */
static int64_t version_index(const struct model_key *k, uint64_t lsn_end)
{
    int64_t i = (int64_t)k->count - 1;
    while (i >= 0 && k->versions[i].lsn_end > lsn_end)
        i--;
    return i;
}

/* By count it must be there: as many newer ones at most as are kept, the key never deleted since, and all of
 * that since the node has its state from the log. */
static bool must_hold(const struct model *m, const struct asked *a, uint64_t lsn_committed)
{
    const struct model_key *k = &m->keys[a->number];
    int64_t first = version_index(k, a->at.lsn_end), last = version_index(k, lsn_committed);
    if (!a->is_own || first < 0 || last - first >= (int64_t)max_u64(m->policy.history, 1) ||
        k->versions[first].lsn < m->installed[a->f - m->nodes])
        return false;
    for (int64_t i = first; i <= last; i++)
        if (k->versions[i].version == 0)
            return false;
    return true;
}

/* Returns 1 found, 0 not, -ENODATA compacted, -EAGAIN. */
static int read_at(const struct asked *a, const struct model_key *key, struct read_point *p,
                   struct read_found *found, uint8_t *value)
{
    const struct read_space *s = &a->f->space;
    struct read_key k;
    read_key_init(&k, s, key->name, key->length);
    for (uint32_t i = 0; i < READ_TRIES; i++) {
        read_begin(p, s, 0);
        if (a->at.lsn >= p->lsn)
            return -EAGAIN;
        int result = read_find_at(p, s, &k, a->at.lsn, found);
        if (result == 1)
            read_copy(found, value, MODEL_VALUE_MAX);
        if ((result < 0 && result != -ENODATA) || !read_validate(p, s, false))
            continue;
        if (result == 0 && found->lsn == 0 && !read_missed_at(p, a->at.lsn))
            return -ENODATA;
        return result;
    }
    return -EAGAIN;
}

static void check(struct model *m, const struct asked *a)
{
    static uint8_t value[MODEL_VALUE_MAX];
    const struct model_key *k = &m->keys[a->number];
    struct read_point p;
    struct read_found found;
    int result = read_at(a, k, &p, &found, value);
    if (result == -EAGAIN)
        return;
    if (result == -ENODATA) {
        MODEL_CHECK(m, !must_hold(m, a, p.lsn));
        m->counts.at_compacted++;
        return;
    }
    int64_t i = version_index(k, a->at.lsn_end);
    const struct model_version *v = i >= 0 && k->versions[i].version != 0 ? &k->versions[i] : NULL;
    MODEL_CHECK(m, result == (v != NULL));
    if (v == NULL) {
        m->counts.at_missed++;
        return;
    }
    MODEL_CHECK(m, found.lsn == v->lsn);
    model_check_value(m, a->number, v, value, found.value_length);
    m->counts.at_found++;
    m->counts.at_older += i != version_index(k, p.lsn);
}

/* Where memory was short a node may have given up what it had. */
static void look_for_cuts(struct model *m, const struct fixture *f)
{
    uint64_t node = (uint64_t)(f - m->nodes), cut = fixture_counter(f, COUNTER_HISTORIES_CUT);
    if (cut == m->histories_cut[node])
        return;
    m->histories_cut[node] = cut;
    m->installed[node] = f->shard->log.lsn_end;
}

void model_check_at(struct model *m, const struct fixture *f)
{
    look_for_cuts(m, f);
    struct asked a = {.f = f, .number = model_some_key(m), .is_own = model_below(m, 2) == 0};
    const struct model_key *of = &m->keys[a.is_own ? a.number : model_some_key(m)];
    if (of->count == 0)
        return;
    uint32_t back = model_below(m, 3) != 0 ? 6 : LIMIT_VERSION_WALK + 8;
    a.at = of->versions[of->count - 1 - model_below(m, (uint32_t)min_u64(of->count, back))];
    check(m, &a);
}

void model_fail(void)
{
    _exit(3);
}
