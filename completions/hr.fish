# hermes-router: completion of hr and hermes-router for fish.
# `hr completions install` puts it in its place, once for each of the two names. It asks `hr`, and knows no command itself.

function __hermes_router_complete
    set -l words (commandline -opc)
    set -l program $words[1]
    type -q -- "$program"; or return
    set -e words[1]
    set -l current (commandline -ct)
    set -lx _HR_COMPLETE fish
    set -lx _HR_WORDS (string join \n -- $words | string collect)
    set -lx _HR_WORD "$current"
    for line in ($program 2>/dev/null </dev/null)
        if test "$line" = :files
            __fish_complete_path "$current"
        else
            printf '%s\n' $line
        end
    end
end

complete -c hr -f -a '(__hermes_router_complete)'
complete -c hermes-router -f -a '(__hermes_router_complete)'
