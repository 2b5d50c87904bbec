#!/bin/sh
# Has a version verified, asks a channel's gate, writes the reports and tells the CI.
#
#   GATE_REF         the version, NS/NAME or NS/NAME:vN
#   GATE_CHANNEL     the channel that it would go to; empty: verify and ask no gate
#   GATE_SUITE       a suite to verify with first; default without a channel: smoke
#   GATE_AGAINST     what the reports compare with; default: what the channel serves
#   GATE_TIMEOUT     how long to wait for verdicts (30m)
#   GATE_DIR         where the reports go (deltareg-gate)
#   GATE_ON_PENDING  warn: status 9 and 124 end with 0 and a warning; fail: they stay (fail)
#   GATE_RETRIES     how often to ask again after status 11 or 75 (2)
#   GATE_RETRY_WAIT  seconds before that (30)
#   GATE_PR          a pull request to comment on, with gh and a token where they are
#
# DELTAREG_SERVER and DELTAREG_TOKEN are the client's own; without a token the CI says
# whose job this is. The status is that of `deltareg`.
set -u

: "${GATE_REF:?name the version: GATE_REF=NS/NAME:vN}"
: "${GATE_CHANNEL:=}" "${GATE_SUITE:=}" "${GATE_AGAINST:=}" "${GATE_TIMEOUT:=30m}"
: "${GATE_DIR:=deltareg-gate}" "${GATE_ON_PENDING:=fail}" "${GATE_RETRIES:=2}"
: "${GATE_RETRY_WAIT:=30}" "${GATE_PR:=}"

case $GATE_ON_PENDING in
    warn | fail) ;;
    *) echo "error: GATE_ON_PENDING is warn or fail, not '$GATE_ON_PENDING'" >&2; exit 2 ;;
esac
mkdir -p "$GATE_DIR" || exit 2
log=$GATE_DIR/gate.log json=$GATE_DIR/gate.json md=$GATE_DIR/gate.md

ask() {
    set -- --wait --timeout "$GATE_TIMEOUT" --junit "$GATE_DIR/gate.xml" --report-md "$md" \
        --report-json "$json" --report-html "$GATE_DIR/gate.html"
    [ -z "$GATE_AGAINST" ] || set -- "$@" --against "$GATE_AGAINST"
    if [ -n "$GATE_SUITE" ] || [ -z "$GATE_CHANNEL" ]; then
        deltareg verify --suite "${GATE_SUITE:-smoke}" "$@" -- "$GATE_REF" || return
    fi
    [ -z "$GATE_CHANNEL" ] || deltareg gate check --channel "$GATE_CHANNEL" "$@" -- "$GATE_REF"
}

attempt() {
    rm -f "$json" "$md" "$GATE_DIR/gate.xml" "$GATE_DIR/gate.html"
    { ask 2>&1; echo $? > "$GATE_DIR/.status"; } | tee "$log"
    status=$(cat "$GATE_DIR/.status")
    rm -f "$GATE_DIR/.status"
}

# Give a field of the report; each stands on a line of its own.
field() {
    [ ! -f "$json" ] ||
        sed -n "s/^  \"$1\": \"\{0,1\}\([^\",]*\)\"\{0,1\},\{0,1\}\$/\1/p" "$json" | head -n 1
}

# Give what later steps and jobs read, a line each.
outputs() {
    allowed=false
    [ "$status" -ne 0 ] || allowed=true
    printf '%s\n' "allowed=$allowed" "status=$status" "verdict=$(field verdict)" \
        "ref=$(field ref)" "version=$(field version)" "digest=$(field digest)" \
        "report=$GATE_DIR/gate.html"
}

summary() {
    if [ -f "$md" ]; then
        cat "$md"
    else
        printf '%s\n\n' "❌ **No answer** (status $status)"
        tail -n 20 "$log" | cut -c 1-400 | sed 's/^/    /'
    fi
}

# Write over the comment of an earlier run, found by its hidden first line, or make one.
comment() {
    [ -n "$GATE_PR" ] && [ -n "${GH_TOKEN:-}" ] && [ -f "$md" ] || return 0
    command -v gh > /dev/null || { echo "warning: no comment: gh is not installed" >&2; return 0; }
    marker=$(head -n 1 "$md")
    comments="repos/$GITHUB_REPOSITORY/issues/$GATE_PR/comments"
    found=$(gh api "$comments" --paginate \
        --jq ".[] | select(.body | startswith(\"$marker\")) | .id") || found=
    found=$(printf '%s\n' "$found" | head -n 1)
    if [ -n "$found" ]; then
        gh api --method PATCH "repos/$GITHUB_REPOSITORY/issues/comments/$found" \
            --field "body=@$md" > /dev/null
    else
        gh pr comment "$GATE_PR" --repo "$GITHUB_REPOSITORY" --body-file "$md" > /dev/null
    fi || echo "warning: the comment could not be written; the gate's answer stands" >&2
}

attempt
left=$GATE_RETRIES
while { [ "$status" -eq 11 ] || [ "$status" -eq 75 ]; } && [ "$left" -gt 0 ]; do
    echo "status $status: the worker, the server or the network failed; asking again in $GATE_RETRY_WAIT s"
    sleep "$GATE_RETRY_WAIT"
    left=$((left - 1))
    attempt
done

[ -z "${GITHUB_OUTPUT:-}" ] || outputs >> "$GITHUB_OUTPUT"
[ -z "${GITHUB_STEP_SUMMARY:-}" ] || summary >> "$GITHUB_STEP_SUMMARY"
outputs | awk -F= '{ name = toupper($1); sub(/^[^=]*/, "GATED_" name); print }' > "$GATE_DIR/gate.env"
comment

if [ "$GATE_ON_PENDING" = warn ] && { [ "$status" -eq 9 ] || [ "$status" -eq 124 ]; }; then
    [ -z "${GITHUB_ACTIONS:-}" ] || echo "::warning title=deltareg gate::$GATE_REF has no verdict yet"
    echo "status $status: not judged yet; going on with a warning"
    exit 0
fi
exit "$status"
