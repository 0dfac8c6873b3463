/* A read that stops once, at a chosen step, while a script of the writer's runs: see interleave.h. */
#include "tests/unit/engine/interleave.h"

#include <string.h>

#define STOPS 48u

static void stop_reader(void *argument)
{
    (void)argument;
    interleave_read_once();
}

static void stop_begin(struct interleave_scene *scene, uint32_t stop)
{
    interleave.f = &scene->f;
    fixture_restore(&scene->f, scene->saved);
    scene->f = scene->saved_f;
    memcpy(interleave.histories, scene->saved_histories, sizeof interleave.histories);
    interleave.seed = stop;
    interleave.random = UINT64_MAX / 3; /* its first draw says: the focus key */
    interleave.version = 1000;
    interleave.filler = 200000;
    interleave.words_only = false;
    if (scene->writer != NULL && scene->writer->begin != NULL)
        scene->writer->begin();
    interleave.reader = coroutine_make(stop_reader, NULL);
    interleave.budget = stop;
    interleave.active = true;
    interleave.reader_done = !coroutine_resume(interleave.reader);
    interleave.active = false;
}

static void stop_end(void)
{
    interleave.budget = UINT64_MAX;
    interleave.active = true;
    if (!interleave.reader_done)
        interleave.reader_done = !coroutine_resume(interleave.reader);
    interleave.active = false;
    ASSERT(interleave.reader_done);
    coroutine_free(interleave.reader);
}

bool interleave_stop_read(struct interleave_scene *s, uint32_t stop, void (*script)(void))
{
    stop_begin(s, stop);
    bool stopped = !interleave.reader_done;
    if (stopped)
        script();
    stop_end();
    return stopped;
}

bool interleave_stop_stores(struct interleave_scene *s, uint32_t stop, uint64_t store,
                            void (*script)(void))
{
    stop_begin(s, stop);
    interleave.to_the_end = true;
    interleave.words_only = true;
    interleave.budget = store;
    interleave.active = !interleave.reader_done;
    script();
    interleave.active = false;
    interleave.to_the_end = false;
    bool more = interleave.reader_done;
    stop_end();
    return more;
}

void interleave_stop_everywhere(struct interleave_scene *s, void (*script)(void))
{
    for (interleave.focus = 0; interleave.focus < INTERLEAVE_HOT_KEYS; interleave.focus++)
        for (uint32_t stop = 1; stop <= STOPS && interleave.failures == 0; stop++)
            (void)interleave_stop_read(s, stop, script);
}
