# Vaults and keys, by the program itself. Nothing where no name may stand, or where the program does not answer.
_secretbridge_names() {
    local reply
    local -a found
    reply="$("${(Q)words[1]}" complete-names --word="${(Q)words[CURRENT]}" -- "${(@Q)words[2,CURRENT-1]}" 2> /dev/null)" || return 1
    [[ -n "$reply" ]] || return 1
    found=("${(@f)reply}")
    # Behind a vault comes a key.
    compadd -S '' -- "${(@M)found:#*/}"
    compadd -- "${(@)found:#*/}"
    return 0
}

