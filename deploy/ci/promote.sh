#!/bin/sh
# Moves a channel to a version, waits for approvals where somebody wants that, and tells the CI.
#
#   PROMOTE_REF         the version, named exactly: NS/NAME:vN
#   PROMOTE_CHANNEL     the channel that shall serve it
#   PROMOTE_REASON      why; kept in the ledger
#   PROMOTE_IF_CURRENT  move only if the channel serves this version now, vN; empty: whatever it serves
#   PROMOTE_WAIT        how long to wait for the approvals of others, such as 2h; empty: do not wait
#   PROMOTE_ON_PENDING  warn: status 9 and 124 end with 0 and a warning; fail: they stay (fail)
#   PROMOTE_RETRIES     how often to ask again after status 75 (2)
#   PROMOTE_RETRY_WAIT  seconds before that (30)
#   PROMOTE_DIR         where the answer goes (deltareg-promote)
#
# DELTAREG_SERVER and DELTAREG_TOKEN are the client's own; without a token the CI says
# whose job this is. The status is that of `deltareg`. A channel
# that serves the version already stays there, with 0: the job can be run again.
set -u

: "${PROMOTE_REF:?name the version: PROMOTE_REF=NS/NAME:vN}"
: "${PROMOTE_CHANNEL:?name the channel: PROMOTE_CHANNEL=prod}"
: "${PROMOTE_REASON:=}" "${PROMOTE_IF_CURRENT:=}" "${PROMOTE_WAIT:=}" "${PROMOTE_ON_PENDING:=fail}"
: "${PROMOTE_RETRIES:=2}" "${PROMOTE_RETRY_WAIT:=30}" "${PROMOTE_DIR:=deltareg-promote}"

case $PROMOTE_ON_PENDING in
    warn | fail) ;;
    *) echo "error: PROMOTE_ON_PENDING is warn or fail, not '$PROMOTE_ON_PENDING'" >&2; exit 2 ;;
esac
mkdir -p "$PROMOTE_DIR" || exit 2
json=$PROMOTE_DIR/promote.json log=$PROMOTE_DIR/promote.log

attempt() {
    set -- --json --channel "$PROMOTE_CHANNEL" --reason "$PROMOTE_REASON"
    [ -z "$PROMOTE_IF_CURRENT" ] || set -- "$@" --if-current "$PROMOTE_IF_CURRENT"
    [ -z "$PROMOTE_WAIT" ] || set -- "$@" --wait --timeout "$PROMOTE_WAIT"
    deltareg promote "$@" -- "$PROMOTE_REF" > "$json" 2> "$log"
    status=$?
    cat "$log" >&2
}

# Give a field of the answer; each stands on a line of its own.
field() {
    sed -n "s/^  \"$1\": \"\{0,1\}\([^\",]*\)\"\{0,1\},\{0,1\}\$/\1/p" "$json" | head -n 1 | sed 's/^null$//'
}

# Give what later steps and jobs read, a line each.
outputs() {
    promoted=false
    [ "$status" -ne 0 ] || promoted=true
    printf '%s\n' "promoted=$promoted" "status=$status"
    [ "$status" -ne 0 ] || printf '%s\n' "version=$(field version)" \
        "revision=$(field revision)" "previous=$(field previous)" "changed=$(field is_changed)" \
        "digest=$(field digest)"
    [ -z "$request" ] || printf '%s\n' "request=$request"
}

summary() {
    # shellcheck disable=SC2016  # the backquotes are Markdown
    if [ "$status" -eq 0 ] && [ "$(field is_changed)" = true ]; then
        printf '✅ **Promoted**: `%s` is served by `%s`, revision %s\n' \
            "$PROMOTE_REF" "$PROMOTE_CHANNEL" "$(field revision)"
    elif [ "$status" -eq 0 ]; then
        printf '✅ **Served already**: `%s` by `%s`\n' "$PROMOTE_REF" "$PROMOTE_CHANNEL"
    else
        printf '%s\n\n' "❌ **Not promoted** (status $status)"
        [ -z "$request" ] || echo "Others have to approve: \`deltareg request approve $request\`"
        tail -n 20 "$log" | cut -c 1-400 | sed 's/^/    /'
    fi
}

attempt
left=$PROMOTE_RETRIES
while [ "$status" -eq 75 ] && [ "$left" -gt 0 ]; do
    echo "status 75: the server or the network failed; asking again in $PROMOTE_RETRY_WAIT s"
    sleep "$PROMOTE_RETRY_WAIT"
    left=$((left - 1))
    attempt
done

request=
[ "$status" -ne 9 ] || request=$(field id) # of the request that was opened, where approvals are due

[ -z "${GITHUB_OUTPUT:-}" ] || outputs >> "$GITHUB_OUTPUT"
[ -z "${GITHUB_STEP_SUMMARY:-}" ] || summary >> "$GITHUB_STEP_SUMMARY"
outputs | awk -F= '{ name = toupper($1); sub(/^[^=]*/, "PROMOTED_" name); print }' |
    sed 's/^PROMOTED_PROMOTED=/PROMOTED=/' > "$PROMOTE_DIR/promote.env"
summary

if [ "$PROMOTE_ON_PENDING" = warn ] && { [ "$status" -eq 9 ] || [ "$status" -eq 124 ]; }; then
    [ -z "${GITHUB_ACTIONS:-}" ] ||
        echo "::warning title=deltareg promote::$PROMOTE_CHANNEL waits for approvals or a verdict"
    exit 0
fi
exit "$status"
