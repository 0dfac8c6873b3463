#!/usr/bin/env bash
# What a server has beside the programs: `meson install` lays down a unit, a user, directories, examples and man
# pages that their own tools accept; the daemon tells the service manager how it is; its configuration is read
# again; dunlin top shows a frame.
#
#   service.sh BUILD
# shellcheck source=tests/e2e/common.sh
. "$(dirname "$0")/common.sh"

# ---- installed -------------------------------------------------------------------------------------

stage=$scratch/stage
DESTDIR=$stage meson install -C "$build" --no-rebuild --quiet >"$scratch/install.log" 2>&1 || {
    cat "$scratch/install.log"
    exit 1
}
lies() { find "$stage" -path "*/$1" -type f | head -n 1; }
for file in bin/dunlind bin/dunlin lib/systemd/system/dunlind.service lib/sysusers.d/dunlin.conf \
    lib/tmpfiles.d/dunlin.conf etc/dunlin/dunlind.example.yaml etc/dunlin/dunlind.cluster.yaml \
    man/man1/dunlin.1 man/man8/dunlind.8 man/man5/dunlind.yaml.5; do
    [ -n "$(lies "$file")" ] || fault "meson install lays down no $file"
done
[ -z "$(lies etc/dunlin/dunlind.yaml)" ] || fault "it lays down a configuration, which may be somebody's"
for file in dunlind.example.yaml dunlind.cluster.yaml; do
    "$dunlind" --config "$(lies etc/dunlin/$file)" --check || fault "$file is refused"
done

if command -v systemd-analyze >/dev/null; then
    # Why another path: it looks for the program where the unit says.
    sed "s|^\(Exec[A-Za-z]*=\)[^ ]*/dunlind|\1$dunlind|" "$(lies lib/systemd/system/dunlind.service)" \
        >"$scratch/dunlind.service"
    said=$(systemd-analyze verify --man=no "$scratch/dunlind.service" 2>&1) || fault "the unit: $said"
    [ -z "$said" ] || fault "the unit: $said"
else
    echo "skipped: no systemd-analyze to judge the unit"
fi
if command -v groff >/dev/null; then
    while read -r page; do
        said=$(groff -mandoc -Tutf8 -ww -z "$page" 2>&1)
        [ -z "$said" ] || fault "$page: $said"
    done < <(find "$stage" -path '*/man/man*' -type f)
else
    echo "skipped: no groff to judge the man pages"
fi
# Every key of the table is in the page.
grep -ohE '^    *#? ?(- )?[a-z_]+:' "$(lies etc/dunlin/dunlind.example.yaml)" \
    "$(lies etc/dunlin/dunlind.cluster.yaml)" | tr -d ' #:-' | sort -u >"$scratch/keys"
while read -r key; do
    grep -qw -- "$key" "$(lies man/man5/dunlind.yaml.5)" || fault "dunlind.yaml(5) says nothing of $key"
done <"$scratch/keys"
[ "$(wc -l <"$scratch/keys")" -gt 20 ] || fault "only $(wc -l <"$scratch/keys") keys were looked for"

# ---- while it runs ---------------------------------------------------------------------------------

{ config_head 0600 && space reeds 1 2 16MiB; } >"$config"
await() {
    local tries=1000
    until "$@" 2>/dev/null; do
        [ $((tries -= 1)) -gt 0 ] || return 1
        sleep 0.02
    done
}
refused() { grep -c event=reload_failed "$log"; }
refused_more() { [ "$(refused)" -gt "$1" ]; }
heard() { grep -aqx "$1" "$scratch/heard"; }
listen_to_notify
await [ -S "$scratch/notify" ] || fault "nobody listens"
NOTIFY_SOCKET=$scratch/notify WATCHDOG_USEC=200000 "$dunlind" --config "$config" >"$log" 2>&1 &
daemon=$!
children+=("$daemon")
await heard READY=1 || fault "READY=1 is not said"
await heard WATCHDOG=1 || fault "WATCHDOG=1 is not said"

reload() {
    "$dunlind" --config "$config" --reload >"$scratch/reload" 2>&1
    status=$?
    [ $status -eq "$1" ] || fault "reload ended by $status, expected $1: $(cat "$scratch/reload")"
}
reload 0
sed -i 's/^spaces:/agents: {rate: 1000}\nspaces:/' "$config"
reload 0
grep -q ':[1-9][0-9]*:[1-9][0-9]*: agents.rate changed' "$scratch/reload" || fault "reload: $(cat "$scratch/reload")"
sed -i 's/quota: 16MiB/quota: 32MiB/' "$config"
reload 1
grep -q 'spaces\[0\].quota differs' "$scratch/reload" || fault "reload: $(cat "$scratch/reload")"
sed -i 's/quota: 32MiB/quota: much/' "$config"
reload 2
before=$(refused)
kill -HUP "$daemon"
await refused_more "$before" || fault "SIGHUP is no reload"
sed -i 's/quota: much/quota: 16MiB/' "$config"

export DUNLIN_SOCKET=$socket
"$dunlin" put reeds key value >/dev/null || fault "put"
"$dunlin" top --once --interval 100 >"$scratch/top" || fault "top --once"
grep -q '^node service (1), up' "$scratch/top" || fault "top: no node in $(cat "$scratch/top")"
[ "$(grep -c '^reeds .* active' "$scratch/top")" -eq 2 ] || fault "top: not two shards in $(cat "$scratch/top")"
"$dunlin" top </dev/null >/dev/null 2>&1
[ $? -eq 2 ] || fault "top without a terminal does not end by 2"

# On a terminal, with some of its keys; the sleeps only let each of them meet another frame.
(for key in s j '\033[6~' q; do sleep 0.2 && printf '%b' "$key"; done) |
    TERM=xterm script -qec "$dunlin top --interval 100" /dev/null >"$scratch/live" 2>&1
[ "${PIPESTATUS[1]}" -eq 0 ] || fault "top on a terminal: $(head -c 400 "$scratch/live")"
grep -aq 'q ends' "$scratch/live" || fault "top shows nothing on a terminal"

kill -TERM "$daemon"
wait "$daemon" || fault "it ended by $? after SIGTERM"
await heard STOPPING=1 || fault "STOPPING=1 is not said"
reload 3
[ $faults -eq 0 ] && echo "all as it should be"
finish $((faults != 0))
