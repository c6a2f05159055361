# hermes-router: completion of hr and hermes-router for bash.
# `hr completions install` puts it in its place, once for each of the two names. It asks `hr`, and knows no command itself.

_hermes_router() {
    local line files=
    COMPREPLY=()
    while IFS= read -r line; do
        case $line in
            '') ;;
            :files) files=1 ;;
            *) COMPREPLY+=("$line") ;;
        esac
    done <<<"$(_HR_COMPLETE=bash _HR_LINE="${COMP_LINE:0:COMP_POINT}" _HR_BREAKS="$COMP_WORDBREAKS" "$1" 2>/dev/null </dev/null)"
    if [[ -n $files ]]; then
        compopt -o filenames 2>/dev/null
        while IFS= read -r line; do
            [[ -n $line ]] && COMPREPLY+=("$line")
        done <<<"$(compgen -f -- "$2")"
    fi
}

complete -F _hermes_router hr hermes-router
