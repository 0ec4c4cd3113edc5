# The worker's loop and dispatch. One call at a time, in one thread: SecretManagement has one runspace
# a process, and a call that is never cancelled can never be answered late.
#
#   wire.ps1    lines, and JSON as plain objects
#   values.ps1  tagged values, metadata, parameters
#   faults.ps1  errors as bounded objects
#   vaults.ps1  the calls on vaults
#   store.ps1   what is SecretStore's own
#
# Plain objects: an object is an OrderedDictionary with case-sensitive keys, a list an object[], a
# number an int, long or double; strings stay strings, whatever they look like.
#
# Script mode adds itself by a module that exports `Invoke-BridgeScript` (one plain object in, one out);
# while it runs it may ask the core with `Request-BridgeAnswer`.

Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

foreach ($part in 'wire', 'values', 'faults', 'vaults', 'store') {
    . ([System.IO.Path]::Combine($PSScriptRoot, "$part.ps1"))
}

$script:ProtocolVersion = 1
$script:Guarded = $false
# Runs its argument, a script's text, in the global scope; worker.ps1 hands in one that really does.
$script:GlobalScope = { . ([scriptblock]::Create($args[0])) }
$script:AskCount = 0
# Says whether `exit` has run: see Exit-BridgeWhenAsked.
$script:ExitFlag = $null

# Each takes the call's fields and the list of its secret texts, and gives the reply's `ok`.
$script:Operations = @{
    hello = ${function:Invoke-BridgeHello}
    register = ${function:Invoke-BridgeRegister}
    unregister = ${function:Invoke-BridgeUnregister}
    configure = ${function:Invoke-BridgeConfigure}
    unlock = ${function:Invoke-BridgeUnlock}
    get = ${function:Invoke-BridgeGet}
    set = ${function:Invoke-BridgeSet}
    remove = ${function:Invoke-BridgeRemove}
    info = ${function:Invoke-BridgeInfo}
    test = ${function:Invoke-BridgeTest}
    init = { param($Fields, $Secrets) Invoke-BridgeInit $Fields $Secrets }
    invoke = { param($Fields, $Secrets) Invoke-BridgeScriptMode $Fields }
    ping = { param($Fields, $Secrets) [ordered]@{ heap = [GC]::GetTotalMemory($false) } }
    shutdown = { param($Fields, $Secrets) [ordered]@{} }
}

<#
.SYNOPSIS
Opens the channel and takes in what worker.ps1 alone can give: the streams and the global scope.
#>
function Initialize-BridgeWorker {
    param(
        [Parameter(Mandatory)] [System.IO.Stream] $Source,
        [Parameter(Mandatory)] [System.IO.Stream] $Sink,
        [bool] $Guarded,
        [scriptblock] $GlobalScope
    )
    Open-BridgeWire $Source $Sink
    $script:Guarded = $Guarded
    if ($GlobalScope) { $script:GlobalScope = $GlobalScope }
    $script:ExitFlag = Get-BridgeExitFlag
}

<#
.SYNOPSIS
Serves the channel until it ends or a shutdown is asked; the outcome is the process's exit code.
#>
function Start-BridgeWorker {
    $code = 0
    try {
        while ($null -ne ($message = Read-BridgeMessage)) {
            if (-not $message.Contains('call')) { throw 'an answer came that nothing had asked for' }
            if ((Invoke-BridgeCall $message['call']) -eq 'shutdown') { break }
        }
    }
    catch {
        # Only the wire itself gets here: there is no call to answer any more.
        [Console]::Error.WriteLine("worker: the channel broke: $($_.Exception.GetType().FullName)")
        $code = 70
    }
    $global:LASTEXITCODE = $code
}

<#
.SYNOPSIS
Carries one call out and replies; gives the operation's name.
#>
function Invoke-BridgeCall([System.Collections.IDictionary] $Call) {
    $id = $Call['id']
    $secrets = [System.Collections.Generic.List[string]]::new()
    $name = ''
    try {
        foreach ($name in $Call['op'].Keys) { break }
        $operation = $script:Operations[$name]
        if ($null -eq $operation) { throw (New-BridgeError 'BadCall' "there is no operation '$name'") }
        $ok = & $operation $Call['op'][$name] $secrets
        Exit-BridgeWhenAsked
        Write-BridgeLine @{ reply = [ordered]@{ id = $id; ok = $ok } }
    }
    catch {
        Exit-BridgeWhenAsked
        Write-BridgeLine @{ reply = [ordered]@{ id = $id; fault = ConvertTo-BridgeFault $_ $secrets } }
    }
    # Errors hold on to what they were about, and that may be a secret.
    if ($global:Error.Count) { $global:Error.Clear() }
    $name
}

<#
.SYNOPSIS
`exit` in an extension ends its pipeline without an error: a read looks not found, a write done. The
host was only told to end after this script. So the telling is looked for, and the process ends
before such a reply goes out.
#>
function Exit-BridgeWhenAsked {
    if ($null -ne $script:ExitFlag -and $script:ExitFlag[0].GetValue($script:ExitFlag[1])) { [Environment]::Exit(1) }
}

<#
.SYNOPSIS
The property in which the console host remembers it, and the host; nothing where there is none, since
neither is public.
#>
function Get-BridgeExitFlag {
    try {
        $hidden = [System.Reflection.BindingFlags]'Instance, Public, NonPublic'
        $console = $Host.GetType().GetProperty('ExternalHost', $hidden).GetValue($Host)
        foreach ($name in 'ShouldEndSession', 'ShouldExit') {
            $flag = $console.GetType().GetProperty($name, $hidden)
            if ($null -ne $flag -and $flag.PropertyType -eq [bool]) { return $flag, $console }
        }
    }
    catch { [Console]::Error.WriteLine('worker: this host does not show when exit was asked for') }
}

<#
.SYNOPSIS
Asks the core and waits; calls that come before the answer are carried out at once. Gives the
answer's `ok` as a plain object, or throws its fault, which passes through ConvertTo-BridgeFault whole.
#>
function Request-BridgeAnswer([System.Collections.IDictionary] $What) {
    $seq = ++$script:AskCount
    Write-BridgeLine @{ ask = [ordered]@{ seq = $seq; what = $What } }
    while ($true) {
        $message = Read-BridgeMessage
        # The core is gone, and with it whoever waits for this block.
        if ($null -eq $message) { [Environment]::Exit(0) }
        if ($message.Contains('call')) {
            $null = Invoke-BridgeCall $message['call']
            continue
        }
        $answer = $message['answer']
        # Another block's answer must never be taken for this one's.
        if ($null -eq $answer -or $answer['seq'] -ne $seq) { [Environment]::Exit(70) }
        if ($answer.Contains('fault')) { throw (ConvertFrom-BridgeFault $answer['fault']) }
        return , $answer['ok']
    }
}

<#
.SYNOPSIS
Runs script mode's own calls, if it is loaded.
#>
function Invoke-BridgeScriptMode([System.Collections.IDictionary] $Fields) {
    $command = $ExecutionContext.InvokeCommand.GetCommand('Invoke-BridgeScript', 'Function')
    if ($null -eq $command) { throw (New-BridgeError 'BadCall' 'script mode is not loaded in this worker') }
    & $command $Fields
}

<#
.SYNOPSIS
Runs an init script. Its output is nobody's; an error of either sort is a fault.
#>
function Invoke-BridgeInit([System.Collections.IDictionary] $Fields, $Secrets) {
    $text = if ($Fields.Contains('file')) {
        $path = [string]$Fields['file']
        if (-not [System.IO.File]::Exists($path)) { throw (New-BridgeError 'BadCall' "the init script '$path' is not there") }
        ". '$([System.Management.Automation.Language.CodeGeneration]::EscapeSingleQuotedStringContent($path))'"
    }
    else { Get-BridgeText $Fields 'script' }
    $errors = [System.Collections.Generic.List[object]]::new()
    try {
        . $script:GlobalScope $text *>&1 | & { process {
            if ($_ -is [System.Management.Automation.ErrorRecord]) { $errors.Add($_) }
            else { Write-BridgeRecord $_ $Secrets }
        } }
    }
    catch { $errors.Insert(0, $_) }
    if ($errors.Count) { throw (Join-BridgeError $errors) }
    [ordered]@{}
}

Export-ModuleMember -Function *-Bridge*
