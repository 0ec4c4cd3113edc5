# Vaults and keys, by the program itself. Nothing where no name may stand, or where the program does not answer.
_secretbridge_names() {
    local line="${COMP_LINE:0:COMP_POINT}" word lead name reply
    local -a words=()
    read -ra words <<< "$line"
    [[ "$line" == *[[:space:]] ]] && words+=("")
    word="${words[${#words[@]}-1]}"
    reply="$("$1" complete-names --word="$word" -- "${words[@]:1:${#words[@]}-2}" 2> /dev/null)" || return 1
    [[ -n "$reply" ]] || return 1
    # To bash a word begins behind = and : again.
    lead="${word%"$2"}"
    COMPREPLY=()
    while IFS= read -r name; do
        COMPREPLY+=("$(printf '%q' "${name#"$lead"}")")
    done <<< "$reply"
    # A key comes next.
    [[ ${#COMPREPLY[@]} -eq 1 && "${COMPREPLY[0]}" == */ ]] && compopt -o nospace 2> /dev/null
    return 0
}

