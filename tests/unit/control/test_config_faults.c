/* What bad files are told: every fault, whole, with its place; and that no bytes at all do harm. */
#include "control/config_table.h"
#include "tests/unit/control/config_said.h"

#define NAME_EXPECTED                                                                              \
    "expected a name: a letter, then letters, digits, '-', '_' or '.', at most 31 bytes"
#define SPACE_KEYS                                                                                 \
    "name, id, consistency, durability, shards, quota, quota_max, partition_prefix, value_max, "   \
    "sessions, "                                                                                   \
    "session_ttl, history, history_time, ordered, read, write"
#define ROOT_KEYS "node, socket, lcores, times, agents, lease, cluster, spaces"
#define CLUSTER_KEYS                                                                               \
    "name, control, frame, transport, dpdk, rdma, replicas, key_file, encrypt, wire, rate, "       \
    "copy_rate, lost, nodes"
#define FORMER_COORDINATOR                                                                         \
    "a key 'coordinator' in cluster: a file that nodes share decides nothing any more; expected "  \
    "the section 'control' in its place: the cluster then begins anew\n"
#define PATH_EXPECTED "expected an absolute path of a file, printable ASCII, at most 255 bytes"
#define ADDRESS_EXPECTED                                                                           \
    "expected the numeric address and port of one node, like 10.0.0.1:7700 or "                    \
    "\"[fd00::1]:7700\""
#define ID_EXPECTED "expected a whole number from 1 to 4294967295"

static const struct bad {
    const char *text, *faults;
} bad_files[] = {
    {"", "t.yaml:0:0: an empty file; expected a configuration\n"},
    {"# nothing\n\n", "t.yaml:0:0: an empty file; expected a configuration\n"},
    {"- a\n", "t.yaml:1:1: a list for the file; expected a mapping of keys\n"},
    {"---\n", "t.yaml:2:1: nothing for the file; expected a mapping of keys\n"},
    {"\xef\xbb\xbf- a\n", "t.yaml:1:1: a list for the file; expected a mapping of keys\n"},
    {"{}\n", "t.yaml:1:1: no key 'node' in the file; expected a mapping of keys\n"
             "t.yaml:1:1: no key 'spaces' in the file; expected a list of 1 to 64 spaces\n"},
    {"node:\nspaces: 7\n", "t.yaml:1:6: nothing for node; expected a mapping of keys\n"
                           "t.yaml:2:9: '7' for spaces; expected a list of 1 to 64 spaces\n"},
    {"node: {}\nspaces: []\n",
     "t.yaml:1:7: no key 'name' in node; " NAME_EXPECTED "\n"
     "t.yaml:1:7: no key 'id' in node; expected a whole number from 1 to 4294967295\n"
     "t.yaml:2:9: 0 entries in spaces; expected a list of 1 to 64 spaces\n"},
    {"node: {name: n, id: 1}\nspaces: [{}, x, [y]]\n",
     "t.yaml:2:10: no key 'name' in a space; " NAME_EXPECTED "\n"
     "t.yaml:2:10: no key 'id' in a space; expected a whole number from 1 to 64\n"
     "t.yaml:2:14: 'x' for spaces; expected the keys of a space\n"
     "t.yaml:2:17: a list for spaces; expected the keys of a space\n"},
    /* keys */
    {NODE("zone: a\nspace: {a: [b, {c: d}]}\n"),
     "t.yaml:3:1: unknown key 'zone' in the file; expected " ROOT_KEYS "\n"
     "t.yaml:4:1: unknown key 'space' in the file; expected " ROOT_KEYS "\n"},
    {SPACE("    color: red\n    QUOTA: 1GiB\n"),
     "t.yaml:5:5: unknown key 'color' in a space; expected " SPACE_KEYS "\n"
     "t.yaml:6:5: unknown key 'QUOTA' in a space; expected " SPACE_KEYS "\n"},
    {NODE("lease: real\nlease: virtual\n"),
     "t.yaml:4:1: key 'lease' again, first in line 3; expected it once\n"},
    {NODE("? [a]\n: b\n? {c: d}\n"),
     "t.yaml:3:3: a list as a key in the file; expected " ROOT_KEYS "\n"
     "t.yaml:5:3: a mapping as a key in the file; expected " ROOT_KEYS "\n"},
    /* names */
    {"node: {name: 9n, id: 1}\nspaces: [{name: a b, id: 1}, {name: \"n\\0m\", id: 2}]\n",
     "t.yaml:1:14: '9n' for name; " NAME_EXPECTED "\n"
     "t.yaml:2:17: 'a b' for name; " NAME_EXPECTED "\n"
     "t.yaml:2:37: 'n\\x00m' in quotes for name; " NAME_EXPECTED "\n"},
    {"node: {name: abcdefghijklmnopqrstuvwxyz012345, id: 1}\nspaces: [{name: \xc3\xa4, id: 1}]\n",
     "t.yaml:1:14: 'abcdefghijklmnopqrstuvwxyz012345' for name; " NAME_EXPECTED "\n"
     "t.yaml:2:17: '\\xc3\\xa4' for name; " NAME_EXPECTED "\n"},
    {"node: {name: null, id: 1}\nspaces: [{name: [a], id: 1}, {name: '', id: 2}]\n",
     "t.yaml:1:14: nothing for name; " NAME_EXPECTED "\n"
     "t.yaml:2:17: a list for name; " NAME_EXPECTED "\n"
     "t.yaml:2:37: '' in quotes for name; " NAME_EXPECTED "\n"},
    /* numbers */
    {SPACE("    shards: 0\n    sessions: 4097\n    partition_prefix: 513\n"),
     "t.yaml:5:13: '0' for shards; expected a whole number from 1 to 1024\n"
     "t.yaml:6:15: '4097' for sessions; expected a whole number from 1 to 4096\n"
     "t.yaml:7:23: '513' for partition_prefix; expected a whole number from 0 to 512\n"},
    {SPACE("    shards: 010\n    sessions: 0x10\n    partition_prefix: -1\n"),
     "t.yaml:5:13: '010' for shards; expected a whole number from 1 to 1024\n"
     "t.yaml:6:15: '0x10' for sessions; expected a whole number from 1 to 4096\n"
     "t.yaml:7:23: '-1' for partition_prefix; expected a whole number from 0 to 512\n"},
    {SPACE("    shards: 1.5\n    sessions: 18446744073709551621\n    partition_prefix: "
           "\"4\"\n"),
     "t.yaml:5:13: '1.5' for shards; expected a whole number from 1 to 1024\n"
     "t.yaml:6:15: '18446744073709551621' for sessions; expected a whole number from 1 to "
     "4096\n"
     "t.yaml:7:23: '4' in quotes for partition_prefix; expected a whole number from 0 to 512\n"},
    /* sizes, durations */
    {SPACE("    quota: 64\n    value_max: 64kb\n    session_ttl: 10m\n"),
     "t.yaml:5:12: '64' for quota; expected a size with its unit (B, KiB, MiB, GiB, TiB) from 2MiB "
     "to 1023GiB\n"
     "t.yaml:6:16: '64kb' for value_max; expected a size with its unit (B, KiB, MiB, GiB, TiB) "
     "from "
     "0B to 1MiB\n"
     "t.yaml:7:18: '10m' for session_ttl; expected a duration with its unit (ns, us, ms, s, min, "
     "h) "
     "from 1s to 720h\n"},
    {SPACE("    quota: 1TiB\n    value_max: 2MiB\n    session_ttl: 0s\n"),
     "t.yaml:5:12: '1TiB' for quota; expected a size with its unit (B, KiB, MiB, GiB, TiB) from "
     "2MiB to 1023GiB\n"
     "t.yaml:6:16: '2MiB' for value_max; expected a size with its unit (B, KiB, MiB, GiB, TiB) "
     "from "
     "0B to 1MiB\n"
     "t.yaml:7:18: '0s' for session_ttl; expected a duration with its unit (ns, us, ms, s, min, h) "
     "from 1s to 720h\n"},
    {SPACE("    quota: 17179869185GiB\n"),
     "t.yaml:5:12: '17179869185GiB' for quota; expected a size with its unit (B, KiB, "
     "MiB, "
     "GiB, TiB) from 2MiB to 1023GiB\n"},
    {NODE("agents: {rate: 10000001, burst: -1, all: 1}\n"),
     "t.yaml:3:16: '10000001' for rate; expected a whole number from 0 to 10000000\n"
     "t.yaml:3:33: '-1' for burst; expected a whole number from 0 to 10000000\n"
     "t.yaml:3:42: '1' for all; expected true or false\n"},
    {NODE("agents: {speed: 1}\n"),
     "t.yaml:3:10: unknown key 'speed' in agents; expected rate, burst, all\n"},
    {NODE("times: {lease: 4ms, heartbeat: 1.5s, view: 2min}\n"),
     "t.yaml:3:16: '4ms' for lease; expected a duration with its unit (ns, us, ms, s, min, h) from "
     "5ms to 1min\n"
     "t.yaml:3:32: '1.5s' for heartbeat; expected a duration with its unit (ns, us, ms, s, min, h) "
     "from 1ms to 1min\n"
     "t.yaml:3:44: '2min' for view; expected a duration with its unit (ns, us, ms, s, min, h) from "
     "1ms to 1min\n"},
    /* words */
    {SPACE("    consistency: causal\n    durability: sync\n"),
     "t.yaml:5:18: consistency 'causal' is not in this version; expected strong\n"
     "t.yaml:6:17: durability 'sync' is not in this version; expected none\n"},
    {SPACE("    consistency: eventual\n    durability: async\n"),
     "t.yaml:5:18: consistency 'eventual' is not in this version; expected strong\n"
     "t.yaml:6:17: durability 'async' is not in this version; expected none\n"},
    {SPACE("    consistency: aggregate\n    durability: fsync\n"),
     "t.yaml:5:18: consistency 'aggregate' is not in this version; expected strong\n"
     "t.yaml:6:17: 'fsync' for durability; expected none\n"},
    {NODE("lease: imaginary\nlcores: {spin: yes}\n"),
     "t.yaml:3:8: 'imaginary' for lease; expected real or virtual\n"
     "t.yaml:4:16: 'yes' for spin; expected true or false\n"},
    /* socket */
    {NODE("socket: {path: run/x, mode: 660}\n"),
     "t.yaml:3:16: 'run/x' for path; expected an absolute path of a file, printable ASCII, at most "
     "107 bytes\n"
     "t.yaml:3:29: '660' for mode; expected permissions in octal, from 0600 to 0777\n"},
    {NODE("socket: {path: /run/, mode: 00660}\n"),
     "t.yaml:3:16: '/run/' for path; expected an absolute path of a file, printable ASCII, at most "
     "107 bytes\n"
     "t.yaml:3:29: '00660' for mode; expected permissions in octal, from 0600 to 0777\n"},
    {NODE("socket: {path: \"/run/\\tx\"}\n"), "t.yaml:3:16: '/run/\\x09x' in quotes for path; "
                                              "expected an absolute path of a file, printable "
                                              "ASCII, at most 107 bytes\n"},
    {NODE("socket: {path: /"
          "ppppppppppppppppppppppppppppppppppppppppppppppppppppp"
          "ppppppppppppppppppppppppppppppppppppppppppppppppppppp"
          "p, mode: 0680}\n"),
     "t.yaml:3:16: '/ppppppppppppppppppppppppppppppppppppppppppppppp...' for path; expected an "
     "absolute path of a file, printable ASCII, at most 107 bytes\n"
     "t.yaml:3:132: '0680' for mode; expected permissions in octal, from 0600 to 0777\n"},
    /* lists */
    {NODE("lcores: {count: 17, cpus: []}\n"),
     "t.yaml:3:17: '17' for count; expected a whole number from 1 to 16\n"
     "t.yaml:3:27: 0 entries in cpus; expected a list of 1 to 16 CPUs\n"},
    {SPACE("    read: [any, 1, 1]\n    write: 1000\n"),
     "t.yaml:5:12: 'any' for read; expected a numeric user id from 0 to 4294967294\n"
     "t.yaml:5:20: 1 twice in read; expected different ones\n"
     "t.yaml:6:12: '1000' for write; expected any, or a list of at most 16 numeric user ids\n"},
    {SPACE("    read: [1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17]\n    write: {a: b}\n"),
     "t.yaml:5:11: 17 entries in read; expected any, or a list of at most 16 numeric user ids\n"
     "t.yaml:6:12: a mapping for write; expected any, or a list of at most 16 numeric user ids\n"},
    {SPACE("    read: [4294967295]\n    write: \"any\"\n"),
     "t.yaml:5:12: '4294967295' for read; expected a numeric user id from 0 to 4294967294\n"
     "t.yaml:6:12: 'any' in quotes for write; expected any, or a list of at most 16 numeric user "
     "ids\n"},
    /* between keys */
    {SPACE("  - name: s\n    id: 1\n  - id: 2\n    name: s\n"),
     "t.yaml:5:11: space name 's' again, first in line 3; expected another\n"
     "t.yaml:6:9: space id 1 again, first in line 4; expected another\n"
     "t.yaml:8:11: space name 's' again, first in line 3; expected another\n"},
    /* cluster */
    {NODE("cluster:\n"), "t.yaml:3:9: nothing for cluster; expected a mapping of keys\n"},
    {NODE("cluster: {}\n"),
     "t.yaml:3:10: no key 'name' in cluster; " NAME_EXPECTED "\n"
     "t.yaml:3:10: no key 'control' in cluster; expected a mapping of keys\n"
     "t.yaml:3:10: no key 'nodes' in cluster; expected a list of 2 to 7 nodes\n"},
    {NODE("cluster: {name: c, coordinator: /c, control: {lease: 1ms}, key_file: /k,\n"
          "  nodes: [{id: 1, address: 10.0.0.1:1}, {id: 2, address: 10.0.0.2:1}]}\n"),
     "t.yaml:3:20: " FORMER_COORDINATOR "t.yaml:3:46: no key 'directory' in control; " PATH_EXPECTED
     "\n"
     "t.yaml:3:46: no key 'certificate' in control; " PATH_EXPECTED "\n"
     "t.yaml:3:46: no key 'key' in control; " PATH_EXPECTED "\n"
     "t.yaml:3:46: no key 'authority' in control; " PATH_EXPECTED "\n"
     "t.yaml:3:54: '1ms' for lease; expected a duration with its unit (ns, us, ms, s, min, h) from "
     "5ms to 10s\n"},
    {NODE("cluster: {name: 1, control:       5, key_file: /k/, encrypt: yes, frame: 511B, rate: "
          "2TiB,"
          "\n  nodes: [], port: 1, wire: 4, lost: maybe, replicas: 0, copy_rate: 1}\n"),
     "t.yaml:3:17: '1' for name; " NAME_EXPECTED "\n"
     "t.yaml:3:35: '5' for control; expected a mapping of keys\n"
     "t.yaml:3:48: '/k/' for key_file; " PATH_EXPECTED "\n"
     "t.yaml:3:62: 'yes' for encrypt; expected true or false\n"
     "t.yaml:3:74: '511B' for frame; expected a size with its unit (B, KiB, MiB, GiB, TiB) from "
     "512B to 8952B\n"
     "t.yaml:3:86: '2TiB' for rate; expected a size with its unit (B, KiB, MiB, GiB, TiB) from 0B "
     "to 1TiB\n"
     "t.yaml:4:10: 0 entries in nodes; expected a list of 2 to 7 nodes\n"
     "t.yaml:4:10: no node 1 in nodes, which is the id of this node; expected it among them\n"
     "t.yaml:4:14: unknown key 'port' in cluster; expected " CLUSTER_KEYS "\n"
     "t.yaml:4:29: '4' for wire; expected a whole number from 1 to 3\n"
     "t.yaml:4:38: 'maybe' for lost; expected stop or reopen\n"
     "t.yaml:4:55: '0' for replicas; expected a whole number from 1 to 7\n"
     "t.yaml:4:69: '1' for copy_rate; expected a size with its unit (B, KiB, MiB, GiB, TiB) from "
     "0B to 1TiB\n"},
    {CLUSTER("{id: 2, address: 10.0.0.2:1, zone: 2nd, weight: 0}\n"
             "  - {id: 3, address: 10.0.0.3:1, zone: , weight: 1001}",
             ""),
     "t.yaml:9:40: '2nd' for zone; " NAME_EXPECTED "\n"
     "t.yaml:9:53: '0' for weight; expected a whole number from 1 to 1000\n"
     "t.yaml:10:40: nothing for zone; " NAME_EXPECTED "\n"
     "t.yaml:10:50: '1001' for weight; expected a whole number from 1 to 1000\n"},
    {CLUSTER("{}\n  - 7\n  - {id: 0, address: 10.0.0.2, name: x}", "  frame: 8953B\n"),
     "t.yaml:9:5: no key 'id' in a node of the cluster; " ID_EXPECTED "\n"
     "t.yaml:9:5: no key 'address' in a node of the cluster; " ADDRESS_EXPECTED "\n"
     "t.yaml:10:5: '7' for nodes; expected the keys of a node of the cluster\n"
     "t.yaml:11:10: '0' for id; " ID_EXPECTED "\n"
     "t.yaml:11:22: '10.0.0.2' for address; " ADDRESS_EXPECTED "\n"
     "t.yaml:11:32: unknown key 'name' in a node of the cluster; expected id, address, control, "
     "zone, weight\n"
     "t.yaml:12:10: '8953B' for frame; expected a size with its unit (B, KiB, MiB, GiB, TiB) from "
     "512B to 8952B\n"},
    {CLUSTER("{id: 2, address: [fd00::1]}", ""),
     "t.yaml:9:22: a list for address; " ADDRESS_EXPECTED "\n"},
    {CLUSTER("{id: 1, address: 10.0.0.2:7700}", ""),
     "t.yaml:9:10: node id 1 again, first in line 8; expected another\n"},
    {CLUSTER("{id: 2, address: 10.0.0.1:7700}\n  - {id: 3, address: 10.0.0.1:7701}", ""),
     "t.yaml:9:22: port 7700 of the host in line 8, whose 1 lcores receive from port 7700 on; "
     "expected other ports, or another host\n"},
    {CLUSTER("{id: 2, address: 10.0.0.1:7701}\n  - {id: 3, address: 10.0.0.1:7698}",
             "lcores: {count: 2}\n"),
     "t.yaml:9:22: port 7701 of the host in line 8, whose 2 lcores receive from port 7700 on; "
     "expected other ports, or another host\n"},
    {CLUSTER("{id: 2, address: 10.0.0.2:65535}\n  - {id: 3, address: 10.0.0.2:65520}",
             "lcores: {count: 16}\n"),
     "t.yaml:9:22: port 65535 with 16 lcores, which receive at ports of their own from there on; "
     "expected at most port 65520\n"
     "t.yaml:10:22: port 65520 of the host in line 9, whose 16 lcores receive from port 65535 on; "
     "expected other ports, or another host\n"},
    {CLUSTER("{id: 2, address: \"[fd00::1]:7700\"}", ""),
     "t.yaml:9:22: an IPv6 address, other than the one in line 8; expected all IPv4 or all IPv6\n"},
    {CLUSTER("{id: 2, address: 10.0.0.2:7700}", "  transport: dpdk\n"),
     "t.yaml:10:14: no section 'dpdk' in cluster for transport dpdk; expected it, with a port\n"},
    {CLUSTER(
         "{id: 2, address: 10.0.0.2:7700}",
         "  transport: tcp\n  dpdk: {mtu: 575B, prefix: 33, gateway: 10.0.0.256, eal: \"\\t\"}\n"),
     "t.yaml:10:14: 'tcp' for transport; expected udp, dpdk or rdma\n"
     "t.yaml:11:9: no key 'port' in dpdk; expected printable ASCII, 1 to 1023 bytes\n"
     "t.yaml:11:15: '575B' for mtu; expected a size with its unit (B, KiB, MiB, GiB, TiB) from "
     "576B to 9000B\n"
     "t.yaml:11:29: '33' for prefix; expected a whole number from 1 to 32\n"
     "t.yaml:11:42: '10.0.0.256' for gateway; expected a numeric IPv4 address, like 10.0.0.1\n"
     "t.yaml:11:59: '\\x09' in quotes for eal; expected printable ASCII, 0 to 1023 bytes\n"},
    {CLUSTER("{id: 2, address: 10.0.0.2:7700}",
             "  transport: rdma\n  rdma: {ack_timeout: 999us, retries: 7}\n"),
     "t.yaml:11:23: '999us' for ack_timeout; expected a duration with its unit (ns, us, ms, s, "
     "min, h) from 1ms to 10s\n"
     "t.yaml:11:30: unknown key 'retries' in rdma; expected ack_timeout\n"},
    {CLUSTER("{id: 2, address: 10.0.0.2:7700}", "  rdma: {ack_timeout: 10001ms}\n"),
     "t.yaml:10:23: '10001ms' for ack_timeout; expected a duration with its unit (ns, us, ms, s, "
     "min, h) from 1ms to 10s\n"},
    {CLUSTER("{id: 2, address: 10.0.0.2:7700}",
             "  transport: dpdk\n  dpdk: {port: p, mtu: 1427B}\n"),
     "t.yaml:11:24: an mtu that carries no frame of 1400B and its headers of 28B; expected a "
     "larger "
     "one, or a smaller frame\n"},
    {CLUSTER("{id: 2, address: 10.0.0.2:7900}",
             "  transport: dpdk\n  dpdk: {port: p, mtu: 9000B, eal: \"--no-huge -m 256\"}\n"
             "lcores: {count: 3}\n"),
     "t.yaml:11:36: 256 MiB for a port of 3 lcores with an mtu of 9000B in eal; expected -m 300 or "
     "more, or nothing of memory\n"},
    {CLUSTER("{id: 2, address: 10.0.0.2:7700}",
             "  transport: dpdk\n  dpdk: {eal: --no-huge -m 32, port: p}\n"),
     "t.yaml:11:15: 32 MiB for a port of 1 lcores with an mtu of 1500B in eal; expected -m 36 or "
     "more, or nothing of memory\n"},
    {"node: {name: n, id: 1}\nspaces: [{name: s, id: 1}]\ncluster: {name: c, " CONTROL ", "
     "transport: dpdk,\n  dpdk: {port: p}, nodes: [{id: 1, address: \"[fd00::1]:1\"}, {id: 2, "
     "address: \"[fd00::2]:1\"}]}\n",
     "t.yaml:4:45: no IPv4 address for transport dpdk; expected one\n"
     "t.yaml:4:78: no IPv4 address for transport dpdk; expected one\n"},
    {"node: {name: n, id: 5}\nspaces: [{name: s, id: 1}]\ncluster: {name: c, " CONTROL ", "
     "key_file: /k,\n  nodes: [{id: 1, address: 10.0.0.1:1}, {id: 2, address: 10.0.0.2:1}]}\n",
     "t.yaml:4:10: no node 5 in nodes, which is the id of this node; expected it among them\n"},
    /* well-formed YAML that is not for us */
    {"node: &n {name: n, id: 1}\nspaces: [{name: s, id: 1}]\nsocket: *n\n",
     "t.yaml:1:7: anchor 'n'; expected the value itself: no anchors or aliases here\n"
     "t.yaml:3:9: alias 'n'; expected the value itself: no anchors or aliases here\n"},
    {NODE("<<: {a: b}\nlease: !!str real\n*a : b\n"),
     "t.yaml:3:1: unknown key '<<' in the file; expected " ROOT_KEYS "\n"
     "t.yaml:4:8: tag 'tag:yaml.org,2002:str'; expected the value alone: no tags here\n"
     "t.yaml:5:1: alias 'a'; expected the value itself: no anchors or aliases here\n"},
    {MINIMAL "---\n" MINIMAL, "t.yaml:3:1: a second document; expected one\n"},
    {NODE("x: [[[[[[[[1]]]]]]]]\n"),
     "t.yaml:3:1: unknown key 'x' in the file; expected " ROOT_KEYS "\n"
     "t.yaml:3:11: more than 8 lists or mappings inside each other; expected fewer\n"},
    /* not YAML */
    {"node: {name: n\nspaces: 7\n",
     "t.yaml:1:14: 'n spaces' for name; " NAME_EXPECTED "\n"
     "t.yaml:2:7: did not find expected ',' or '}' while parsing a flow mapping; expected YAML\n"},
    {"lease: no\nnode:\n\tname: a\n",
     "t.yaml:1:8: 'no' for lease; expected real or virtual\n"
     "t.yaml:3:1: found character that cannot start any token while scanning for the next token; "
     "expected YAML\n"},
    {"node: \"abc\n",
     "t.yaml:2:1: found unexpected end of stream while scanning a quoted scalar; expected YAML\n"},
    {"%YAML 9.9\n---\n{}\n", "t.yaml:1:1: found incompatible YAML document; expected YAML\n"},
};

static void bad_files_are_told_every_fault(void)
{
    for (size_t i = 0; i < sizeof(bad_files) / sizeof(bad_files[0]); i++)
        expect(bad_files[i].text, strlen(bad_files[i].text), -EINVAL, bad_files[i].faults);
}

/* Each alone is the address of node 2; a name and a wrong number look alike, and get the same
 * answer. */
static void addresses_that_are_none_are_refused(void)
{
    static const char *const none[] = {
        "10.0.0.1",
        "10.0.0.1:",
        "10.0.0.1:0",
        "10.0.0.1:07700",
        "10.0.0.1:65536",
        "10.0.0.1:4294974996",
        "10.0.0.1:+1",
        "10.0.0.1:77x",
        "10.0.0.1 :77",
        "10.0.0.256:77",
        "10.0.1:77",
        "010.0.0.1:77",
        "localhost:77",
        ":77",
        "0.0.0.0:77",
        "224.0.0.1:77",
        "255.255.255.255:77",
        "[fd00::1]",
        "[fd00::1]77",
        "[fd00::1:77",
        "fd00::1:77",
        "[]:77",
        "[:77",
        "[10.0.0.1]:77",
        "[::]:77",
        "[ff02::1]:77",
        "[fe80::1]:77",
        "[fe80::1%lo]:77",
        "[::ffff:10.0.0.1]:77",
        "[0000:0000:0000:0000:0000:0000:0000:0000:0000:0001]:77",
    };
    char text[512], fault[512];
    for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
        (void)snprintf(text, sizeof(text), CLUSTER("{id: 2, address: \"%s\"}", ""), none[i]);
        (void)snprintf(fault, sizeof(fault),
                       "t.yaml:9:22: '%.48s%s' in quotes for address; " ADDRESS_EXPECTED "\n",
                       none[i], strlen(none[i]) > 48 ? "..." : "");
        expect(text, strlen(text), -EINVAL, fault);
    }
}

/* Seven nodes fit; the eighth is a fault of number alone. */
static void nodes_are_bounded(void)
{
    static struct config c;
    char text[1024];
    size_t used =
        (size_t)snprintf(text, sizeof(text), CLUSTER("{id: 2, address: 10.0.0.2:7700}", ""));
    for (int i = 3; i <= 7; i++)
        used += (size_t)snprintf(text + used, sizeof(text) - used,
                                 "  - {id: %d, address: 10.0.0.%d:7700}\n", i, i);
    good(text, &c);
    CU_ASSERT_EQUAL(c.cluster.node_count, 7);
    (void)snprintf(text + used, sizeof(text) - used, "  - {id: 8, address: 10.0.0.8:7700}\n");
    expect(text, strlen(text), -EINVAL,
           "t.yaml:8:3: 8 entries in nodes; expected a list of 2 to 7 nodes\n");
}

static void cpus_that_cannot_be_used_are_refused(void)
{
    char text[256], faults[512];
    cpu_set_t before, one;
    int cpu = (int)first_cpu();
    CU_ASSERT_EQUAL_FATAL(sched_getaffinity(0, sizeof(before), &before), 0);
    CPU_ZERO(&one);
    CPU_SET((size_t)cpu, &one);
    CU_ASSERT_EQUAL(sched_setaffinity(0, sizeof(one), &one), 0);
    (void)snprintf(text, sizeof(text), NODE("lcores: {cpus: [%d, 8191, 8192, x]}\n"), cpu);
    int at = (int)(strstr(text, ", 8191") - strstr(text, "lcores")) + 3;
    (void)snprintf(faults, sizeof(faults),
                   "t.yaml:3:%d: '8191' for cpus; expected a CPU that this process may use (%d)\n"
                   "t.yaml:3:%d: '8192' for cpus; expected a CPU that this process may use (%d)\n"
                   "t.yaml:3:%d: 'x' for cpus; expected a CPU that this process may use (%d)\n",
                   at, cpu, at + 6, cpu, at + 12, cpu);
    expect(text, strlen(text), -EINVAL, faults);
    CU_ASSERT_EQUAL(sched_setaffinity(0, sizeof(before), &before), 0);
}

static void a_refused_file_changes_nothing(void)
{
    static struct config c, before;
    memset(&c, 0x5a, sizeof(c));
    memcpy(&before, &c, sizeof(c));
    struct said s = parse("node: 1\n", 8, &c);
    CU_ASSERT_EQUAL(s.rc, -EINVAL);
    CU_ASSERT_EQUAL(memcmp(&c, &before, sizeof(c)), 0);
    said_free(&s);
}

/* What a fault names as enough is enough, and one byte less is not. */
static void the_quota_named_is_accepted(void)
{
    static const unsigned shards[] = {16, 100, 511, 1024};
    static struct config c;
    char text[256], fault[256];
    for (size_t i = 0; i < sizeof(shards) / sizeof(shards[0]); i++) {
        unsigned long long enough = space_quota_min(shards[i]);
        (void)snprintf(text, sizeof(text), SPACE("    shards: %u\n    quota: %lluB\n"), shards[i],
                       enough);
        good(text, &c);
        CU_ASSERT_EQUAL(c.spaces[0].quota_bytes, enough);
        (void)snprintf(text, sizeof(text), SPACE("    shards: %u\n    quota: %lluB\n"), shards[i],
                       enough - 1);
        (void)snprintf(fault, sizeof(fault),
                       "t.yaml:6:12: quota of %lluB is too small for %u shards; expected at least "
                       "%lluMiB, or fewer shards\n",
                       enough - 1, shards[i], enough >> 20);
        expect(text, strlen(text), -EINVAL, fault);
    }
}

/* Where the file names no quota, the number of shards is to blame. */
static void a_default_quota_can_be_too_small(void)
{
    char fault[256];
    const char *text = SPACE("    value_max: 1MiB\n    shards: 1024\n");
    (void)snprintf(fault, sizeof(fault),
                   "t.yaml:6:13: quota of 256MiB is too small for 1024 shards; expected at least "
                   "%lluMiB, or fewer shards\n",
                   (unsigned long long)space_quota_min(1024) >> 20);
    expect(text, strlen(text), -EINVAL, fault);
}

/* The same for the longest value, whose limit follows from quota and shards. */
static void the_value_max_named_is_accepted(void)
{
    static struct config c;
    char text[256];
    const char *too_long = SPACE("    shards: 16\n    quota: 256MiB\n    value_max: 1MiB\n");
    struct said s = parse(too_long, strlen(too_long), &c);
    CU_ASSERT_EQUAL(s.rc, -EINVAL);
    const char *named = strstr(s.text, "t.yaml:7:16: value_max of 1MiB does not fit a segment");
    named = named == NULL ? NULL : strstr(named, "at most ");
    CU_ASSERT_PTR_NOT_NULL_FATAL(named);
    unsigned long most = strtoul(named + 8, NULL, 10);
    said_free(&s);
    (void)snprintf(text, sizeof(text),
                   SPACE("    shards: 16\n    quota: 256MiB\n    value_max: %luB\n"), most);
    good(text, &c);
    CU_ASSERT_EQUAL(c.spaces[0].value_bytes_max, most);
    (void)snprintf(text, sizeof(text),
                   SPACE("    shards: 16\n    quota: 256MiB\n    value_max: %luB\n"), most + 1);
    s = parse(text, strlen(text), &c);
    CU_ASSERT_EQUAL(s.rc, -EINVAL);
    said_free(&s);
}

/* 64 spaces fit; each one more is a fault of its own; past 100 faults it stops and says so. */
static void counts_are_bounded(void)
{
    static struct config c;
    static char text[1 << 16];
    size_t used = (size_t)snprintf(text, sizeof(text), "node: {name: n, id: 1}\nspaces:\n");
    for (int i = 1; i <= 64; i++)
        used += (size_t)snprintf(text + used, sizeof(text) - used, "- {name: s%d, id: %d}\n", i, i);
    good(text, &c);
    CU_ASSERT_EQUAL(c.space_count, 64);
    CU_ASSERT_STRING_EQUAL(c.spaces[63].name, "s64");
    (void)snprintf(text + used, sizeof(text) - used, "- {name: s65, id: 1}\n");
    expect(text, strlen(text), -EINVAL,
           "t.yaml:3:1: 65 entries in spaces; expected a list of 1 to 64 spaces\n"
           "t.yaml:67:19: space id 1 again, first in line 3; expected another\n");
    used = 0;
    for (int i = 0; i < 2000; i++)
        used += (size_t)snprintf(text + used, sizeof(text) - used, "k%d: 1\n", i);
    struct said s = parse(text, used, &c);
    CU_ASSERT_EQUAL(s.rc, -EINVAL);
    CU_ASSERT_EQUAL(line_count(s.text), CONFIG_FAULTS_MAX + 1);
    CU_ASSERT_PTR_NOT_NULL(strstr(s.text, "the rest is not shown"));
    CU_ASSERT(well_formed(&s));
    said_free(&s);
}

/* ---- bytes that are no text ---- */

static void bytes_that_are_no_text_are_placed(void)
{
    static const char nul[] = "node:\n  na\0me: x\n";
    static const char latin[] = "node:\n  \xc3\xa4: \xe4 \n";
    static const char utf16[] = "\xff\xfe{\0}\0";
    static const char cut[] = "a: \xe2\x82";
    expect(nul, sizeof(nul) - 1, -EINVAL,
           "t.yaml:2:5: control characters are not allowed (0x00); expected text in UTF-8\n");
    expect(latin, sizeof(latin) - 1, -EINVAL,
           "t.yaml:2:7: invalid trailing UTF-8 octet (0x20); expected text in UTF-8\n");
    expect(utf16, sizeof(utf16) - 1, -EINVAL,
           "t.yaml:1:1: invalid leading UTF-8 octet (0xff); expected text in UTF-8\n");
    expect(cut, sizeof(cut) - 1, -EINVAL,
           "t.yaml:1:4: incomplete UTF-8 octet sequence; expected text in UTF-8\n");
}

static void repeated_bytes_end_soon(void)
{
    static const char *const units[] = {"[",   "{",     "{a: ", "- ",  "? ",  "a: ", "&a ", "*a ",
                                        "!",   "\"\\0", "'",    "#",   " ",   "\n",  "%",   "a,",
                                        "-\n", "---\n", "\r\n", "|\n", "[a,", ": ",  "\t",  "a"};
    static struct config c;
    char *text = malloc(CONFIG_FILE_BYTES_MAX);
    CU_ASSERT_PTR_NOT_NULL_FATAL(text);
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        size_t unit = strlen(units[i]);
        for (size_t j = 0; j < CONFIG_FILE_BYTES_MAX; j++)
            text[j] = units[i][j % unit];
        struct said s = parse(text, CONFIG_FILE_BYTES_MAX, &c);
        CU_ASSERT_EQUAL(s.rc, -EINVAL);
        CU_ASSERT(well_formed(&s));
        said_free(&s);
    }
    free(text);
}

static char *example_read(const char *path, size_t *size)
{
    char *text = malloc(1 << 16);
    FILE *f = fopen(path, "r");
    CU_ASSERT_FATAL(text != NULL && f != NULL);
    *size = fread(text, 1, 1 << 16, f);
    (void)fclose(f);
    return text;
}

static void damage(const char *path)
{
    static const char replacements[] = {'\0', '\n', ':', '{', '-', '"', '0', '\xff'};
    static struct config c;
    size_t size, refused = 0;
    char *text = example_read(path, &size);
    for (size_t i = 0; i < size; i++) {
        struct said s = parse(text, i, &c);
        CU_ASSERT((s.rc == 0 || s.rc == -EINVAL) && well_formed(&s));
        said_free(&s);
        char kept = text[i];
        text[i] = replacements[i % sizeof(replacements)];
        s = parse(text, size, &c);
        CU_ASSERT((s.rc == 0 || s.rc == -EINVAL) && well_formed(&s));
        refused += s.rc != 0;
        said_free(&s);
        text[i] = kept;
    }
    CU_ASSERT(refused > size / 8);
    free(text);
}

/* A good file cut anywhere, and with any byte replaced: a configuration or well-formed faults. */
static void damage_gives_faults(void)
{
    damage(CONFIG_EXAMPLE);
    damage(CONFIG_EXAMPLE_CLUSTER);
}

static const struct unit_test tests[] = {
    UNIT_TEST(bad_files_are_told_every_fault),
    UNIT_TEST(addresses_that_are_none_are_refused),
    UNIT_TEST(nodes_are_bounded),
    UNIT_TEST(a_refused_file_changes_nothing),
    UNIT_TEST(cpus_that_cannot_be_used_are_refused),
    UNIT_TEST(the_quota_named_is_accepted),
    UNIT_TEST(a_default_quota_can_be_too_small),
    UNIT_TEST(the_value_max_named_is_accepted),
    UNIT_TEST(counts_are_bounded),
    UNIT_TEST(bytes_that_are_no_text_are_placed),
    UNIT_TEST(repeated_bytes_end_soon),
    UNIT_TEST(damage_gives_faults),
};
UNIT_MAIN("config_faults", tests)
