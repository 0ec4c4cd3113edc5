
# Vaults and keys, by the program itself. Nothing where no name may stand, or where the program does not answer.
function __fish_secretbridge_names
    set -l words (commandline -opc)
    set -l program $words[1]
    set -e words[1]
    $program complete-names --word=(commandline -ct) -- $words 2>/dev/null
end

complete -c secretbridge -f -n 'test (count (__fish_secretbridge_names)) -gt 0' -a '(__fish_secretbridge_names)'
