# The worker's PowerShell: the calls that run cmdlets and scripts. What runs on every call is compiled
# (*.cs): lines, plain objects, tagged values, faults, dispatch, reads and writes of vaults.
#
#   vaults.ps1  registering vaults, and unlocking them
#   store.ps1   what is SecretStore's own
#
# Plain objects: an object is an OrderedDictionary with case-sensitive keys, a list an object[], a
# number an int, long or double; strings stay strings, whatever they look like.
#
# Script mode adds itself by a module that exports `Invoke-BridgeScript` (one plain object in, one out);
# while it runs it may ask the core with [SecretBridge.Channel]::Ask.

Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

foreach ($part in 'vaults', 'store') {
    . ([System.IO.Path]::Combine($PSScriptRoot, "$part.ps1"))
}

# Runs its argument, a script's text, in the global scope; worker.ps1 hands in one that really does.
$script:GlobalScope = { . ([scriptblock]::Create($args[0])) }

# Each takes the call's fields and the list of its secret texts, and gives the reply's `ok`. The compiled
# worker has the others.
$script:Operations = @{
    hello = ${function:Invoke-BridgeHello}
    register = ${function:Invoke-BridgeRegister}
    unregister = ${function:Invoke-BridgeUnregister}
    configure = ${function:Invoke-BridgeConfigure}
    unlock = ${function:Invoke-BridgeUnlock}
    init = { param($Fields, $Secrets) Invoke-BridgeInit $Fields $Secrets }
    invoke = { param($Fields, $Secrets) Invoke-BridgeScriptMode $Fields }
}

<#
.SYNOPSIS
Hands the compiled worker its operations and takes in what worker.ps1 alone can give: the global scope.
#>
function Initialize-BridgeWorker {
    param([scriptblock] $GlobalScope)
    if ($GlobalScope) { $script:GlobalScope = $GlobalScope }
    foreach ($name in $script:Operations.Keys) { [SecretBridge.Worker]::Operations[$name] = $script:Operations[$name] }
    [SecretBridge.Worker]::Errors = $global:Error
    [SecretBridge.HostExit]::Watch($Host)
}

<#
.SYNOPSIS
Serves the channel until it ends or a shutdown is asked; the outcome is the process's exit code.
#>
function Start-BridgeWorker {
    Invoke-BridgeLoop
    $global:LASTEXITCODE = [SecretBridge.Worker]::ExitCode
}

<#
.SYNOPSIS
The loop: calls are carried out by the compiled worker, blocks of routes are run here. What code writes to
PowerShell's other streams meanwhile goes to the log at once, through one pipeline that never ends.
#>
function Invoke-BridgeLoop {
    & {
        while ([SecretBridge.Worker]::Next()) {
            # An unlabelled `break` of a block ends the inner loop at most.
            do {
                try { & ([SecretBridge.Pode.Route]::Runner) ([SecretBridge.Pode.Route]::Block) ([SecretBridge.Pode.Route]::Arguments) }
                catch { [SecretBridge.Pode.Route]::Failed($_) }
            } while ($false)
            [SecretBridge.Worker]::Done()
        }
    } *>&1 | & { process { [SecretBridge.Log]::Record($_) } }
}

<#
.SYNOPSIS
Runs script mode's own calls, if it is loaded.
#>
function Invoke-BridgeScriptMode([System.Collections.IDictionary] $Fields) {
    $command = $ExecutionContext.InvokeCommand.GetCommand('Invoke-BridgeScript', 'Function')
    if ($null -eq $command) { throw ([SecretBridge.BridgeException]::Record('BadCall', 'script mode is not loaded in this worker')) }
    & $command $Fields
}

<#
.SYNOPSIS
Runs an init script. Its output is nobody's; an error of either sort is a fault.
#>
function Invoke-BridgeInit([System.Collections.IDictionary] $Fields, $Secrets) {
    $text = if ($Fields.Contains('file')) {
        $path = [string]$Fields['file']
        if (-not [System.IO.File]::Exists($path)) { throw ([SecretBridge.BridgeException]::Record('BadCall', "the init script '$path' is not there")) }
        ". '$([System.Management.Automation.Language.CodeGeneration]::EscapeSingleQuotedStringContent($path))'"
    }
    else { [SecretBridge.Fields]::Text($Fields, 'script') }
    $errors = [System.Collections.Generic.List[object]]::new()
    try {
        . $script:GlobalScope $text *>&1 | & { process {
            if ($_ -is [System.Management.Automation.ErrorRecord]) { $errors.Add($_) }
            else { [SecretBridge.Log]::Record($_, $Secrets) }
        } }
    }
    catch { $errors.Insert(0, $_) }
    if ($errors.Count) { throw ([SecretBridge.Faults]::Join($errors)) }
    [ordered]@{}
}

Export-ModuleMember -Function *-Bridge*
