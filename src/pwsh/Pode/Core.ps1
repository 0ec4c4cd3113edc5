# Asks, portable values and errors.

Set-StrictMode -Version Latest

# A block travels as its text, and is compiled where it arrives.
[SecretBridge.Portable]::FromBlock = { ConvertTo-Block $args[0] $null }
[SecretBridge.Portable]::ToBlock = { (New-CompiledBlock $args[0]).ScriptBlock }

# Asks the core, which first hears what was changed in shared objects; the fault of an answer is thrown with
# the core's message.
function Request-Core([System.Collections.IDictionary] $What) {
    try {
        [SecretBridge.Pode.Shared]::BeforeAsk()
        return , ([SecretBridge.Channel]::Ask($What))
    }
    catch { throw ([SecretBridge.Faults]::Thrown($_)) }
}

# An error of a command, as Pode's `throw` of a text, with an id to tell it by.
function New-CommandError([string] $Message, [string] $Id = 'PodeCommand', [string] $Category = 'InvalidOperation') {
    [System.Management.Automation.ErrorRecord]::new([System.InvalidOperationException]::new($Message), $Id, $Category, $null)
}

# An error with a place in a script, as the core reports it.
function New-PlacedError([string] $Message, [string] $Id, $Extent) {
    $record = New-CommandError $Message $Id 'InvalidOperation'
    $position = [ordered]@{ line = $Extent.StartLineNumber; column = $Extent.StartColumnNumber }
    if ($Extent.File) { $position['script'] = $Extent.File }
    $record.Exception.Data['SecretBridge.Fault'] = [ordered]@{
        id = $Id; kind = 'System.InvalidOperationException'; category = 'InvalidOperation'; message = $Message; position = $position
    }
    $record
}

# An error whose fault is final: what passes through here is answered as it is.
function New-FaultError([System.Management.Automation.ErrorRecord] $Record) {
    $fault = [SecretBridge.ScriptFaults]::Of($Record)
    $exception = [System.InvalidOperationException]::new([string]$fault['message'])
    $exception.Data['SecretBridge.Fault'] = $fault
    [System.Management.Automation.ErrorRecord]::new($exception, [string]$fault['id'], $Record.CategoryInfo.Category, $null)
}

# Where a piece of the script stands, as it leads a message; nothing where that is not known.
function Get-PlaceText($Extent) {
    if ($null -eq $Extent -or -not $Extent.File) {
        # The line that called a command.
        foreach ($frame in Get-PSCallStack) {
            if ($frame.ScriptName -and -not $frame.ScriptName.StartsWith([System.IO.Path]::GetDirectoryName($PSScriptRoot), [StringComparison]::Ordinal)) { return "$($frame.ScriptName):$($frame.ScriptLineNumber): " }
        }
        return ''
    }
    "$($Extent.File):$($Extent.StartLineNumber): "
}

# Warns once, with the line, where a copy of a live object is all that the workers get.
function Write-CopyWarning([string] $What, $Value, $Extent) {
    if (-not [SecretBridge.Portable]::IsPlain($Value, 0) -and $script:Bridge.Warned.Add($What)) {
        Write-ScriptLog 'warning' "$(Get-PlaceText $Extent)$What is a $($Value.GetType().FullName): the workers get a copy of its properties, without its methods"
    }
}

# As above, of what is inside an object that is shared otherwise.
function Write-StayWarning([string] $What, [string[]] $Things, $Extent) {
    foreach ($thing in $Things) {
        if ($script:Bridge.Warned.Add("$What $thing")) { Write-ScriptLog 'warning' "$(Get-PlaceText $Extent)$What has $thing, which cannot leave its process: the workers get `$null in its place" }
    }
}

# A line for the log; it waits for nothing.
function Write-ScriptLog([string] $Level, [string] $Message) {
    [SecretBridge.Log]::Write($Level, $Message)
}

function Test-StreamRecord($Record) {
    $Record -is [System.Management.Automation.InformationalRecord] -or $Record -is [System.Management.Automation.InformationRecord] -or
    $Record -is [System.Management.Automation.ErrorRecord]
}
