# Pode's command names over the core of secretbridge. Our own code: the commands keep Pode's names,
# parameters and messages' gist, and hold no truth of their own: each asks the core
# (docs/script-protocol.md), while the script is planned as well as in a route.
#
#   Core        asks, portable values, errors
#   Shared      objects that all blocks share, copied and told
#   ReadOnly    which blocks of a vault only read their table
#   Scope       the rewrite of `$secret:`, `$state:` and `$using:` on the syntax tree
#   Lift        which blocks the core may answer by itself
#   Unsupported what of Pode is not here, refused by name and line
#   Host        the worker's entry: plan, load, route, custom
#   and by topic: Secrets Server Routes Responses Headers Cookies State Logging Vaults

Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

# What this process knows. `Mode` is idle, plan or serve.
$script:Bridge = @{
    Mode      = 'idle'
    Script    = $null
    Root      = $null
    Config    = @{}
    Served    = $false
    Check     = $false
    Needs     = $null
    Proxied   = $false
    Tree      = $null
    Functions = [System.Collections.Generic.HashSet[string]]::new([StringComparer]::OrdinalIgnoreCase)
    Warned    = [System.Collections.Generic.HashSet[string]]::new()
    Modules   = $null
    Trusted   = [System.Collections.Generic.HashSet[string]]::new()
    Checked   = [System.Collections.Generic.HashSet[string]]::new()
}

# People's code runs in a session state of its own under the global scope: neither this module's strict
# mode nor the worker's reaches it, and what it defines is seen by every other block.
$script:UserScope = New-Module -Name 'SecretBridge.Script' -ScriptBlock { }

# The request, in routes; a function outside of one finds nothing.
$global:WebEvent = $null

# What routes use for each request is compiled: the commands in *Commands.cs and their like.
Microsoft.PowerShell.Core\Import-Module -Assembly ([SecretBridge.Worker].Assembly)

foreach ($part in 'Core', 'Shared', 'ReadOnly', 'Scope', 'Lift', 'Unsupported', 'Check', 'Host', 'Secrets', 'Server', 'Routes',
    'Responses', 'State', 'Logging', 'Vaults') {
    . ([System.IO.Path]::Combine($PSScriptRoot, "$part.ps1"))
}

Initialize-UnsupportedCommand
Export-ModuleMember -Function @('*-Pode*', 'Invoke-BridgeScript', 'Resolve-BridgeScript', 'Read-BridgeFile', 'Update-BridgeVariable', 'Step-BridgeVariable') -Cmdlet '*-Pode*' -Alias '*-Pode*'
