/* cli_doctor - dunlin doctor: what of this machine, and of a port of DPDK, is not as a node wants it.  Asks no daemon. */
#include "control/cli.h"
#include "control/doctor.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char *const state_names[] = {"ok", "warning", "fault"};

int cli_doctor_option(struct cli *c, const char *name, const char *value)
{
    if (strcmp(name, "--config") == 0) {
        c->doctor.config = value;
        return 0;
    }
    if (strcmp(name, "--port") == 0) {
        c->doctor.port = value;
        return 0;
    }
    c->doctor.dpdk = strcmp(value, "dpdk") == 0;
    c->doctor.rdma = strcmp(value, "rdma") == 0;
    return c->doctor.dpdk || c->doctor.rdma || strcmp(value, "udp") == 0
               ? 0
               : cli_fail(CLI_USAGE, "--transport: '%s' is none; expected udp, dpdk or rdma",
                          value);
}

static uint32_t count_of(const struct doctor_report *report, enum doctor_state state)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < report->count; i++)
        count += report->list[i].state == state;
    return count;
}

static void print_text(const struct doctor_report *report)
{
    for (uint32_t i = 0; i < report->count; i++) {
        const struct doctor_finding *f = &report->list[i];
        (void)printf("%-8s %s%s%s: %s\n", state_names[f->state], f->name,
                     f->subject[0] != '\0' ? " " : "", f->subject, f->is);
        if (f->state != DOCTOR_OK)
            (void)printf("         why:  %s\n         mend: %s\n", f->why, f->mend);
    }
    (void)printf("%" PRIu32 " faults, %" PRIu32 " warnings, %" PRIu32 " ok\n",
                 count_of(report, DOCTOR_FAULT), count_of(report, DOCTOR_WARNING),
                 count_of(report, DOCTOR_OK));
}

/* NULL: out of memory. */
static json_t *json_of(const struct doctor_report *report)
{
    json_t *findings = json_array();
    for (uint32_t i = 0; i < report->count; i++) {
        const struct doctor_finding *f = &report->list[i];
        (void)json_array_append_new(findings,
                                    json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "name", f->name,
                                              "subject", f->subject, "state", state_names[f->state],
                                              "is", f->is, "why", f->why, "mend", f->mend));
    }
    if (json_array_size(findings) != report->count) {
        json_decref(findings);
        return NULL;
    }
    return json_pack("{s:I, s:I, s:I, s:o}", "faults", (json_int_t)count_of(report, DOCTOR_FAULT),
                     "warnings", (json_int_t)count_of(report, DOCTOR_WARNING), "ok",
                     (json_int_t)count_of(report, DOCTOR_OK), "findings", findings);
}

int cli_doctor(const struct cli *c)
{
    static struct config config;
    static struct doctor_facts facts;
    static struct doctor_report report;
    const struct doctor_source source = {.root = "", .offloads = doctor_offloads};
    facts.dpdk = c->doctor.dpdk || c->doctor.port != NULL;
    facts.rdma.wanted = c->doctor.rdma;
    if (c->doctor.config != NULL) {
        if (config_load(c->doctor.config, &config, stderr) != 0)
            return CLI_USAGE;
        facts.config = &config;
        facts.dpdk = facts.dpdk || config.cluster.transport == CONFIG_TRANSPORT_DPDK;
        facts.rdma.wanted = facts.rdma.wanted || config.cluster.transport == CONFIG_TRANSPORT_RDMA;
        facts.config_path = c->doctor.config;
    }
    facts.port.device = c->doctor.port;
    facts.port.device_said = c->doctor.port != NULL;
    if (facts.port.device == NULL && facts.dpdk && config.cluster.dpdk.port[0] != '\0')
        facts.port.device = config.cluster.dpdk.port;
    doctor_facts_read(&facts, &source);
    if (facts.port.device != NULL)
        doctor_port_read(&facts, source.root);
    doctor_judge(&facts, &report);
    int exit_code = count_of(&report, DOCTOR_FAULT) != 0 ? CLI_NOT_FOUND : CLI_DONE;
    if (c->json)
        return cli_print_json(json_of(&report), exit_code);
    print_text(&report);
    return cli_flushed(exit_code);
}
