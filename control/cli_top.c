/* dunlin top: top_view.h on a terminal, anew every interval; or one frame of it as text. */
#include "control/cli.h"
#include "control/top_view.h"
#include "engine/clock.h"

/* Why: its macros convert without saying so. */
#define NCURSES_NOMACROS
#include <curses.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define INTERVAL_MS_DEFAULT 1000u
#define KEYS_TEXT "q ends, arrows and PgUp PgDn scroll the shards, s sorts them by rate"

/* ---- looks ---- */

struct top {
    const struct cli *c;
    struct dunlin *handle;
    struct top_view view;
    uint64_t looked_ns;
    uint32_t first; /* shard that is shown first */
    bool by_rate;
};

static void look_free(struct top_look *look)
{
    json_decref(look->status);
    json_decref(look->shards);
    *look = (struct top_look){NULL, NULL};
}

/* Returns 0, or -errno with what was known kept. */
static int look(struct top *t)
{
    int error = 0;
    struct top_look now = {NULL, NULL};
    now.status = cli_object_get(t->handle, dunlin_status_json, &error);
    if (error == 0)
        now.shards = cli_object_get(t->handle, dunlin_shards_json, &error);
    if (error != 0) {
        look_free(&now);
        return error;
    }
    uint64_t now_ns = clock_boottime_ns();
    look_free(&t->view.before);
    t->view.before = t->view.now;
    t->view.now = now;
    t->view.seconds = (double)max_u64(now_ns - t->looked_ns, 1) / (double)NS_PER_S;
    t->looked_ns = now_ns;
    return 0;
}

static uint32_t interval_ms(const struct cli *c)
{
    return c->interval_ms != 0 ? c->interval_ms : INTERVAL_MS_DEFAULT;
}

/* ---- one frame as text ---- */

static void print_line(void *context, bool is_heading, const char *text)
{
    (void)context;
    (void)is_heading;
    (void)puts(text);
}

static int once(struct top *t)
{
    const uint64_t ns = interval_ms(t->c) * NS_PER_MS;
    const struct timespec pause = {.tv_sec = (time_t)(ns / NS_PER_S),
                                   .tv_nsec = (long)(ns % NS_PER_S)};
    const struct top_sink sink = {.line = print_line};
    int error = look(t);
    if (error == 0) {
        (void)nanosleep(&pause, NULL);
        error = look(t);
    }
    if (error != 0)
        return cli_fail_by(t->c, error);
    top_view_head(&t->view, &sink);
    top_view_shards(&t->view, false, &sink);
    return cli_flushed(CLI_DONE);
}

/* ---- on the terminal ---- */

/* Where the next line goes. */
struct page {
    int row, rows, columns;
    uint32_t skip, shown; /* lines of it that come before the first one, and that there are */
};

static void draw_line(void *context, bool is_heading, const char *text)
{
    struct page *p = context;
    p->shown++;
    if (p->shown <= p->skip || p->row >= p->rows)
        return;
    (void)attrset(is_heading ? (int)A_REVERSE : (int)A_NORMAL);
    (void)mvaddnstr(p->row, 0, text, p->columns);
    for (int used = (int)strlen(text); is_heading && used < p->columns; used++)
        (void)addch(' ');
    (void)attrset((int)A_NORMAL);
    p->row++;
}

/* Returns the rows that shards have. */
static uint32_t draw(struct top *t, int error)
{
    struct page page = {.rows = getmaxy(stdscr) - 1, .columns = getmaxx(stdscr)};
    const struct top_sink sink = {.line = draw_line, .context = &page};
    (void)erase();
    if (t->view.now.status != NULL)
        top_view_head(&t->view, &sink);
    int begins = page.row;
    page.shown = 0;
    page.skip = t->first;
    if (t->view.now.status != NULL)
        top_view_shards(&t->view, t->by_rate, &sink);
    page.row = page.rows;
    page.rows++;
    page.skip = 0;
    draw_line(&page, true, error == 0 ? KEYS_TEXT : strerror(-error));
    (void)refresh();
    return page.rows - 1 > begins ? (uint32_t)(page.rows - 1 - begins) : 1;
}

/* Returns false to end. */
static bool key_take(struct top *t, int key, uint32_t page)
{
    const json_t *list = json_object_get(t->view.now.shards, "shards");
    uint64_t count = json_array_size(list);
    uint32_t last = count > page ? (uint32_t)(count - page) : 0;
    switch (key) {
    case 'q':
        return false;
    case 's':
        t->by_rate = !t->by_rate;
        break;
    case KEY_DOWN:
    case 'j':
        t->first++;
        break;
    case KEY_UP:
    case 'k':
        t->first -= t->first != 0 ? 1 : 0;
        break;
    case KEY_NPAGE:
        t->first += page;
        break;
    case KEY_PPAGE:
        t->first -= (uint32_t)min_u64(t->first, page);
        break;
    case KEY_HOME:
        t->first = 0;
        break;
    case KEY_END:
        t->first = last;
        break;
    default:
        break;
    }
    t->first = (uint32_t)min_u64(t->first, last);
    return true;
}

/* Milliseconds until the next look is due. */
static int left_ms(const struct top *t, uint64_t asked_ns)
{
    uint64_t due = asked_ns + interval_ms(t->c) * NS_PER_MS, now = clock_boottime_ns();
    return due > now ? (int)((due - now) / NS_PER_MS) + 1 : 0;
}

static void run(struct top *t)
{
    bool goes_on = true;
    while (goes_on) {
        uint64_t asked_ns = clock_boottime_ns();
        int error = look(t); /* a daemon that is gone is attached to again by itself */
        uint32_t page = draw(t, error);
        while (goes_on && left_ms(t, asked_ns) > 0) {
            timeout(left_ms(t, asked_ns));
            int key = getch();
            goes_on = key_take(t, key, page);
            page = draw(t, error);
        }
    }
}

static int live(struct top *t)
{
    SCREEN *screen = newterm(NULL, stdout, stdin);
    if (screen == NULL)
        return cli_fail(CLI_USAGE, "top: TERM names no terminal that is known here; set it, or "
                                   "give --once");
    (void)cbreak();
    (void)noecho();
    (void)keypad(stdscr, TRUE);
    (void)curs_set(0);
    run(t);
    (void)endwin();
    delscreen(screen);
    return CLI_DONE;
}

int cli_top(const struct cli *c)
{
    struct top t = {.c = c};
    if (!c->once && (isatty(STDOUT_FILENO) == 0 || isatty(STDIN_FILENO) == 0))
        return cli_fail(CLI_USAGE, "top: standard input and output are no terminal; --once prints "
                                   "one frame as text");
    int exit_code = cli_attach(c, &t.handle);
    if (exit_code != CLI_DONE)
        return exit_code;
    exit_code = c->once ? once(&t) : live(&t);
    look_free(&t.view.before);
    look_free(&t.view.now);
    dunlin_close(t.handle);
    return exit_code;
}
